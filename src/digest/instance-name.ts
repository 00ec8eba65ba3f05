import { ReapiError } from '../errors.ts';

/** The client's namespace: segments joined by `/`, possibly none (""). Checked by `parseInstanceName`. */
export type InstanceName = string & { readonly __brand: 'InstanceName' };

/** Words that end an instance name inside a resource name, hence are no segments of one (spec, section 3.1). */
export const RESERVED_SEGMENTS: ReadonlySet<string> = new Set([
  'blobs',
  'uploads',
  'actions',
  'actionResults',
  'operations',
  'capabilities',
  'compressed-blobs',
]);

/** Longest instance name in characters: it becomes part of stored keys and of operation names. */
export const MAX_INSTANCE_NAME_LENGTH = 512;

/**
 * Checks an instance name (R-XC-03).
 * @throws invalid-argument: leading, trailing or double slash, a reserved segment, control characters, too long.
 */
export function parseInstanceName(text: string): InstanceName {
  if (text === '') return text as InstanceName;
  if (text.length > MAX_INSTANCE_NAME_LENGTH) {
    throw wrong(`is longer than ${MAX_INSTANCE_NAME_LENGTH} characters`);
  }
  for (const segment of text.split('/')) {
    if (segment === '') throw wrong('has an empty segment');
    if (segment === '.' || segment === '..') throw wrong(`has the segment "${segment}"`);
    if (RESERVED_SEGMENTS.has(segment)) throw wrong(`has the reserved segment "${segment}"`);
  }
  for (const char of text) {
    if (char < ' ' || char === '\x7f') throw wrong('has a control character');
  }
  return text as InstanceName;
}

/** Which instance names a server answers for: all well-formed ones, or those under listed prefixes. */
export class InstanceNames {
  readonly #names: readonly InstanceName[] | undefined;

  /** @param names undefined serves every well-formed name; otherwise a name is served if it equals one of them or lies below it. */
  constructor(names?: readonly InstanceName[]) {
    this.#names = names;
  }

  /** @throws invalid-argument for a malformed name, and for one that is not served (R-CAP-13). */
  resolve(text: string): InstanceName {
    const name = parseInstanceName(text);
    if (this.#names === undefined) return name;
    const isServed = this.#names.some((served) => name === served || served === '' || name.startsWith(`${served}/`));
    if (isServed) return name;
    throw new ReapiError('invalid-argument', `the instance name "${name}" is not served here`, {
      field: 'instance_name',
    });
  }
}

function wrong(what: string): ReapiError {
  return new ReapiError('invalid-argument', `the instance name ${what}`, { field: 'instance_name' });
}
