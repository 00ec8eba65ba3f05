import { ReapiError } from '../../errors.ts';
import { pairText } from './scaling-pool.ts';
import type { PoolPlan } from './wanted-workers.ts';

/** What the `metadata` of a KEDA trigger asks for. */
export interface Trigger {
  /** Name of a group of pools. */
  readonly pool: string;
  /** In place of what is configured. */
  readonly drainMs: number | undefined;
  readonly workersPerReplica: number;
}

/** A number among the metadata, which are all text. */
interface NumberKey {
  readonly key: string;
  readonly max: number;
}

const DRAIN_SECONDS: NumberKey = { key: 'drainSeconds', max: 86_400 };

/** More workers than that in one replica are a mistake. */
const TARGET_SIZE: NumberKey = { key: 'targetSize', max: 1_000_000 };

/** Pools that a message names. */
const MAX_NAMED_POOLS = 20;

/** Characters of something from outside that a message repeats. */
const MAX_SHOWN_CHARACTERS = 200;

/**
 * Reads the metadata of a trigger: `pool`, optional `drainSeconds` and `targetSize`; other keys are KEDA's own.
 * @throws invalid-argument naming the key, and the pools there are.
 */
export function parseTrigger(metadata: ReadonlyMap<string, string>, plans: readonly PoolPlan[]): Trigger {
  const asked = metadata.get('pool') ?? '';
  if (asked === '') throw wrong('pool', `is required: a pool by name, or platform properties; ${poolsText(plans)}`);
  const pool = planOf(plans, asked) ?? onlyWith(plans, sortedProperties(asked));
  if (pool === undefined) throw wrong('pool', `is ${shown(asked)}, which is not one of them; ${poolsText(plans)}`);
  const drainSeconds = numberOf(metadata, DRAIN_SECONDS);
  return {
    pool: pool.group.name,
    drainMs: drainSeconds === undefined ? undefined : drainSeconds * 1000,
    workersPerReplica: numberOf(metadata, TARGET_SIZE) ?? 1,
  };
}

/** The plan of a group of pools by its name. */
export function planOf(plans: readonly PoolPlan[], pool: string): PoolPlan | undefined {
  return plans.find(({ group }) => group.name === pool);
}

/** Undefined also if there are several: then only the name says which. */
function onlyWith(plans: readonly PoolPlan[], properties: string): PoolPlan | undefined {
  const [only, ...others] = plans.filter(({ group }) => group.properties === properties);
  return others.length === 0 ? only : undefined;
}

/** Properties in any order, escaped or not, as groups are named by them. */
function sortedProperties(text: string): string {
  const pairs = text.split(',').map((pair) => {
    const at = pair.indexOf('=');
    return at < 0 ? pair : pairText(unescaped(pair.slice(0, at).trim()), unescaped(pair.slice(at + 1).trim()));
  });
  return pairs.sort().join(',');
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

function numberOf(metadata: ReadonlyMap<string, string>, { key, max }: NumberKey): number | undefined {
  const text = metadata.get(key);
  if (text === undefined) return undefined;
  const value = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= max) return value;
  throw wrong(key, `is ${shown(text)}, not a whole number from 1 to ${max}`);
}

function poolsText(plans: readonly PoolPlan[]): string {
  if (plans.length === 0) return 'there are no pools: none is configured, and no worker is connected';
  const names = plans.slice(0, MAX_NAMED_POOLS).map(({ group }) => shown(group.name));
  const more = plans.length - names.length;
  return `there are: ${names.join(', ')}${more === 0 ? '' : ` and ${more} more`}`;
}

function shown(text: string): string {
  return JSON.stringify(text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text);
}

function wrong(key: string, what: string): ReapiError {
  return new ReapiError('invalid-argument', `the scaler metadata ${key} ${what}`, { field: `scalerMetadata.${key}` });
}
