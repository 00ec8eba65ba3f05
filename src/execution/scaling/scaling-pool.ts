import type { Amount, WorkerOffer } from '../../platform/platform.ts';
import type { PoolOptions } from '../scheduler/options.ts';
import type { PoolView, SchedulerView } from '../scheduler/view.ts';

/** What is read of a scheduler to scale its fleet. */
export type ScalingView = Pick<SchedulerView<unknown>, 'pools' | 'demands' | 'slots'>;

/** How many workers a pool may have, and how eagerly. A worker is what is started and stopped as one, with all its slots. */
export interface ScalingLimits {
  readonly slotsPerWorker: number;
  /** Wanted also without work. */
  readonly minWorkers: number;
  readonly maxWorkers: number;
  /** So many workers are wanted that what is queued takes so long. */
  readonly drainMs: number;
  /** How long workers stay wanted that are not needed any more. */
  readonly scaleDownMs: number;
}

/** A configured pool whose workers come and go. */
export type ScalingPool = Pick<PoolOptions, 'name' | 'offer'> & ScalingLimits;

/** Pools of the scheduler that are scaled as one: a configured pool with all that belongs to it, or what workers brought. */
export interface PoolGroup extends ScalingLimits {
  /** The configured name; else the properties, with prefix and size class if there are some. */
  readonly name: string;
  readonly isConfigured: boolean;
  /** What its workers offer, as text like `ISA=x86-64,OSFamily=linux`, sorted. */
  readonly properties: string;
  readonly sizeClass: number;
  /** `PoolView.id` of its pools. */
  readonly ids: readonly string[];
  /** What the slots of one worker share. */
  readonly capacity: readonly Amount[];
  readonly slots: number;
  readonly nodes: number;
}

/** Nobody said what to want of workers that came by themselves: as the defaults of a configured pool, without an upper bound. */
const BROUGHT = {
  minWorkers: 0,
  maxWorkers: Number.MAX_SAFE_INTEGER,
  drainMs: 60_000,
  scaleDownMs: 300_000,
} as const;

/** Configured pools in their order, each with what the scheduler counts with it; then what workers brought. */
export function groupPools(view: Pick<ScalingView, 'pools'>, configured: readonly ScalingPool[]): readonly PoolGroup[] {
  const members = new Map<string, PoolView[]>(configured.map(({ name }) => [name, []]));
  const brought = new Map<string, PoolView[]>();
  for (const pool of view.pools()) {
    const own = members.get(pool.name);
    if (own !== undefined) own.push(pool);
    else entryOf(brought, broughtName(pool)).push(pool);
  }
  return [
    ...configured.map((pool) => configuredGroup(pool, members.get(pool.name) ?? [])),
    ...[...brought].map(([name, pools]) => broughtGroup(name, pools)),
  ];
}

/** `ISA=x86-64,OSFamily=linux`: sorted, values escaped as in URLs; alternatives with `|` between. */
function propertiesText({ alternatives }: WorkerOffer): string {
  return alternatives
    .map(({ properties }) => {
      const pairs = properties.flatMap(({ name, values }) => values.map((value) => pairText(name, value)));
      return pairs.sort().join(',');
    })
    .join('|');
}

/** One property as `propertiesText` writes it. */
export function pairText(name: string, value: string): string {
  return `${encodeURIComponent(name)}=${encodeURIComponent(value)}`;
}

function configuredGroup(pool: ScalingPool, members: readonly PoolView[]): PoolGroup {
  const { name, slotsPerWorker, minWorkers, maxWorkers, drainMs, scaleDownMs } = pool;
  return {
    ...{ name, isConfigured: true, slotsPerWorker, minWorkers, maxWorkers, drainMs, scaleDownMs },
    ...membersOf(pool.offer, members),
  };
}

function broughtGroup(name: string, members: readonly PoolView[]): PoolGroup {
  const [first] = members;
  const common = membersOf(first?.offer, members);
  const slotsPerWorker = Math.max(1, Math.ceil(common.slots / Math.max(1, common.nodes)));
  return { name, isConfigured: false, slotsPerWorker, ...BROUGHT, ...common };
}

function membersOf(offer: WorkerOffer | undefined, members: readonly PoolView[]) {
  const capacity = members.find((pool) => pool.offer.capacity !== undefined)?.offer.capacity ?? offer?.capacity ?? [];
  return {
    properties: offer === undefined ? '' : propertiesText(offer),
    sizeClass: offer === undefined ? 0 : sizeClassOf(offer),
    ids: members.map(({ id }) => id),
    capacity,
    slots: members.reduce((sum, { slots }) => sum + slots, 0),
    nodes: members.reduce((sum, { nodes }) => sum + nodes, 0),
  };
}

function broughtName({ prefix, offer }: PoolView): string {
  const under = prefix === '' ? [] : [`under ${encodeURIComponent(prefix)}`];
  const size = sizeClassOf(offer) === 0 ? [] : [`class ${sizeClassOf(offer)}`];
  return [propertiesText(offer), ...under, ...size].join(' ');
}

function sizeClassOf({ sizeClass }: WorkerOffer): number {
  return sizeClass ?? 0;
}

function entryOf(map: Map<string, PoolView[]>, key: string): PoolView[] {
  const list = map.get(key) ?? [];
  map.set(key, list);
  return list;
}
