import { isDeepStrictEqual } from 'node:util';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { ReapiError } from '../../errors.ts';
import type { Worker } from '../../gen/google/devtools/remoteworkers/v1test2/worker.ts';
import type { PlatformMatcher, PlatformProperty, PropertySet, WorkerOffer } from '../../platform/platform.ts';

/** Most leases that a bot may hold at a time (R-RW-13). */
export const MAX_CAPACITY = 1024;

/** Most alternatives made of keys with several values that a worker cannot have at once. */
export const MAX_ALTERNATIVES = 64;

/** What a bot says of its machine is kept while it lives. In characters; real ones have hundreds. */
const MAX_CHARACTERS = 64 * 1024;

/** Names the number of parallel leases (R-RW-13). */
const CAPACITY_KEY = 'capacity';

/** A bot's machine under the rules of the platform. */
export interface Machine {
  /** As the bot said it. */
  readonly worker: Worker | undefined;
  /** Number of leases it can hold at a time. */
  readonly capacity: number;
  readonly offer: WorkerOffer;
}

/** Reads what bots say of their machines. */
export class Machines {
  readonly #matcher: PlatformMatcher;
  readonly #digestFunctions: readonly DigestFunction[];

  /** @param digestFunctions what bots are taken to hash with: they do not say. */
  constructor(matcher: PlatformMatcher, digestFunctions: readonly DigestFunction[]) {
    this.#matcher = matcher;
    this.#digestFunctions = digestFunctions;
  }

  /**
   * What a bot's machine is. Bots say the same with every call: then it is `known`, the one they had before, which spares the
   * scheduler the comparison too. @throws invalid-argument.
   */
  read(worker: Worker | undefined, known: Machine | undefined): Machine {
    if (known !== undefined && (worker === undefined || isDeepStrictEqual(worker, known.worker))) return known;
    const alternatives = alternativesOf(this.#matcher, worker);
    const capacity = this.#matcher.capacityOf(alternatives);
    // The runners of buildbox take Commands of the API's first version as well.
    const offer = { alternatives, capacity, digestFunctions: this.#digestFunctions, legacyOutputs: true };
    return { worker, capacity: capacityOf(worker), offer };
  }
}

/** Number of leases the bot can hold at a time: 1 unless it says so. @throws invalid-argument. */
export function capacityOf(worker: Worker | undefined): number {
  const config = worker?.configs.find(({ key }) => key === CAPACITY_KEY);
  if (config === undefined) return 1;
  const capacity = Number(config.value);
  if (/^[1-9]\d*$/.test(config.value) && capacity <= MAX_CAPACITY) return capacity;
  throw wrong(`${CAPACITY_KEY} is not a number from 1 to ${MAX_CAPACITY}`);
}

/**
 * What the primary device, the worker's properties and its configurations offer (R-RW-12). A repeated key means that any of
 * its values will do: they stay together where the platform's rules take several values, and otherwise each makes an
 * alternative. @throws invalid-argument: too much of it, or a value that does not parse.
 */
export function alternativesOf(matcher: PlatformMatcher, worker: Worker | undefined): readonly PropertySet[] {
  const properties = propertiesOf(worker);
  const byName = Map.groupBy(properties, ({ name }) => name);
  let alternatives: PlatformProperty[][] = [[]];
  for (const values of byName.values()) {
    if (isParsed(matcher, values)) {
      // In place: each of thousands of names would copy all those before it.
      for (const set of alternatives) set.push(...values);
      continue;
    }
    if (alternatives.length * values.length > MAX_ALTERNATIVES) {
      throw wrong(`there are more than ${MAX_ALTERNATIVES} alternatives`);
    }
    alternatives = alternatives.flatMap((set) => values.map((value) => [...set, value]));
  }
  return alternatives.map((set) => matcher.parseOffer(set));
}

function propertiesOf(worker: Worker | undefined): readonly PlatformProperty[] {
  const [primary, ...others] = worker?.devices ?? [];
  const configs = (worker?.configs ?? []).filter(({ key }) => key !== CAPACITY_KEY);
  const pairs = [...(primary?.properties ?? []), ...(worker?.properties ?? []), ...configs];
  // The other devices offer nothing, and are kept with the rest. An empty one takes room too.
  const unused = others.flatMap(({ handle, properties }) => [{ key: handle, value: '' }, ...properties]);
  const characters = [...pairs, ...unused].reduce((sum, { key, value }) => sum + key.length + value.length + 1, 0);
  if (characters > MAX_CHARACTERS) throw wrong(`the properties have more than ${MAX_CHARACTERS} characters together`);
  return pairs.map(({ key, value }) => ({ name: key, value }));
}

function isParsed(matcher: PlatformMatcher, values: readonly PlatformProperty[]): boolean {
  if (values.length === 1) return true;
  try {
    matcher.parseOffer(values);
    return true;
  } catch (error) {
    if (error instanceof ReapiError) return false;
    throw error;
  }
}

function wrong(why: string): ReapiError {
  return new ReapiError('invalid-argument', `the bot's worker: ${why}`, { field: 'bot_session.worker' });
}
