import type { InstanceName } from '../../digest/instance-name.ts';
import type { CacheSketch } from '../../platform/locality.ts';
import type { WorkerOffer } from '../../platform/platform.ts';
import type { Deadline } from './deadlines.ts';
import type { Demand } from './demand.ts';
import type { Labels } from './events.ts';
import type { FleetNode } from './fleet-node.ts';
import type { PoolResults } from './node-record.ts';
import type { PoolOptions } from './options.ts';
import type { Share } from './shares.ts';
import type { Lease } from './task.ts';

/** Slots with the same offer under the same instance name prefix; or a configured pool, which may have none. */
export interface Pool<Work, Result> {
  readonly text: string;
  readonly prefix: InstanceName;
  readonly offer: WorkerOffer;
  /** 0: none. */
  readonly sizeClass: number;
  /** Unset for what workers brought by themselves. */
  readonly configured: PoolOptions | undefined;
  /** The configured pool its slots are counted with: the first that its offer satisfies. */
  home: PoolOptions | undefined;
  readonly slots: Set<Slot<Work, Result>>;
  /** Those that poll and may get work, the longest-waiting first. */
  readonly waiting: Set<Slot<Work, Result>>;
  /** Demands with queued tasks that fit. */
  readonly demands: Set<Demand<Work, Result>>;
  /** Set while there is no slot: then the pool is forgotten, unless it is configured. */
  readonly departure: Deadline;
  /** When it, or a pool whose slots are counted with it, lost its last slot; undefined while it has some. */
  emptySinceMs: number | undefined;
  /** The last results of its nodes. */
  readonly results: PoolResults;
}

/** Room for one lease, known since its first `sync`. */
export interface Slot<Work, Result> {
  readonly name: string;
  readonly node: FleetNode<Work, Result>;
  readonly pool: Pool<Work, Result>;
  readonly labels: Labels;
  prefersIdle: boolean;
  /** The drains that select it. */
  drains: number;
  isTerminating: boolean;
  /** Understands being told to exit. */
  canExit: boolean;
  /** Tells the slot's process from those before; undefined if the slot does not say. */
  incarnation: string | undefined;
  /** Of the process before. */
  formerIncarnation: string | undefined;
  lease: Lease<Work, Result> | undefined;
  /** A long poll is open: orders reach it at once. */
  isPolling: boolean;
  /** Number of the poll: the lower has waited longer. */
  waitingSince: number;
  lastHeardMs: number;
  readonly silence: Deadline;
  /** Of what it ran last. */
  lastShare: Share | undefined;
}

/** What a `sync` says about its slot. */
export interface SlotFacts {
  readonly slot: string;
  readonly node: string;
  readonly labels?: Labels;
  readonly offer: WorkerOffer;
  readonly instancePrefix: InstanceName;
  readonly prefersIdle: boolean;
  readonly canExit?: boolean;
  readonly incarnation?: string;
  readonly cached?: CacheSketch;
}

/** The text that tells pools apart. */
export function poolText(prefix: InstanceName, offer: WorkerOffer): string {
  const { alternatives, digestFunctions, legacyOutputs, sizeClass, capacity } = offer;
  const sets = alternatives.map(({ properties }) => properties.map(({ name, values }) => [name, values]));
  const amounts = capacity?.map(({ name, amount }) => [name, amount]) ?? 0;
  return JSON.stringify([prefix, sets, digestFunctions, legacyOutputs, sizeClass ?? 0, amounts]);
}
