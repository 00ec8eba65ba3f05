import type { InstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import type { Principal } from './principal.ts';

/**
 * What a principal may do under an instance name. `worker`: take work; `operate`: drain, look into queues, stores and the
 * history of misses; `admin`: throw away what is stored.
 */
export type Permission = 'cas:read' | 'cas:write' | 'ac:read' | 'ac:write' | 'execute' | 'worker' | 'operate' | 'admin';

/** May `who` do `what` under `where`? Answers false instead of throwing; throws only if it cannot tell. */
export interface Authorizer {
  allows(who: Principal, what: Permission, where: InstanceName): Promise<boolean>;
}

/** Everyone may do everything: the default of a server that listens on loopback only. */
export class OpenAuthorizer implements Authorizer {
  allows(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

/** What changes what a server answers. */
const CHANGING: ReadonlySet<Permission> = new Set(['cas:write', 'ac:write', 'execute', 'worker', 'admin']);

/** Narrows another authorizer to reading (`--read-only`): no uploads, no action results, hence no execution; no removals. */
export class ReadOnlyAuthorizer implements Authorizer {
  readonly #inner: Authorizer;

  constructor(inner: Authorizer) {
    this.#inner = inner;
  }

  async allows(who: Principal, what: Permission, where: InstanceName): Promise<boolean> {
    if (CHANGING.has(what)) return false;
    return this.#inner.allows(who, what, where);
  }
}

/** @throws denied, without a hint of what exists, unless the authorizer allows it. */
export async function demand(
  authorizer: Authorizer,
  who: Principal,
  what: Permission,
  where: InstanceName,
): Promise<void> {
  if (await authorizer.allows(who, what, where)) return;
  throw new ReapiError('denied', `${who.name} may not use ${what} under the instance name "${where}"`);
}
