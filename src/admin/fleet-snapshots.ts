import type { PoolView, SchedulerView, SlotView } from '../execution/scheduler/view.ts';
import type { FleetSnapshot, Node, RunningLease, Share } from '../gen/gantry/v1/fleet.ts';
import {
  demandToWire,
  drainToWire,
  isolatedToWire,
  leaseToWire,
  poolToWire,
  quarantinedToWire,
  shareToWire,
  slotToWire,
} from './fleet-messages.ts';

/** What snapshots are made of. */
export interface SnapshotSource<Work> {
  readonly view: SchedulerView<Work>;
  /** The scheduler's time. */
  readonly nowMs: () => number;
  /** Wall time, since the Unix epoch, of a time of the scheduler. */
  readonly wallMs: (schedulerMs: number) => number;
  /** What the build tool calls the work, for people; empty if it does not say. */
  readonly title: (work: Work) => string;
}

/** What of a snapshot is wanted. */
export interface SnapshotSelection {
  /** Most entries of each list. */
  readonly limit: number;
  readonly hasNodes: boolean;
}

/** Most entries of each list that can be asked for: more than there are slots. */
export const MAX_LISTED = 20_000;

/** Entries of each list for those who name no number. */
export const DEFAULT_LISTED = 1_000;

/** A snapshot is given to all who ask within this time. */
const MIN_KEPT_MS = 500;

/** And for so many times as long as it took to make: whoever looks, the scheduler has nearly all of the time. */
const KEPT_PER_COST = 20;

/** Everything, without a limit. */
type Whole = Omit<FleetSnapshot, 'nodes'>;

/** A thing that is made again when it is too old. */
interface Kept<T> {
  readonly value: T;
  readonly untilMs: number;
}

/** Makes snapshots of a fleet, and gives one to many so that watching costs the scheduler a bounded part of its time. */
export class FleetSnapshots<Work> {
  readonly #source: SnapshotSource<Work>;
  #whole: Kept<Whole> | undefined;
  #nodes: Kept<readonly Node[]> | undefined;

  constructor(source: SnapshotSource<Work>) {
    this.#source = source;
  }

  /** The fleet as it is, or was a moment ago. */
  get({ limit, hasNodes }: SnapshotSelection): FleetSnapshot {
    this.#whole = this.#renewed(this.#whole, () => this.#makeWhole());
    if (hasNodes) this.#nodes = this.#renewed(this.#nodes, () => this.#makeNodes());
    const { value: whole } = this.#whole;
    return {
      ...whole,
      pools: whole.pools.slice(0, limit),
      demands: whole.demands.slice(0, limit),
      running: whole.running.slice(0, limit),
      shares: whole.shares.slice(0, limit),
      drains: whole.drains.slice(0, limit),
      isolated: whole.isolated.slice(0, limit),
      quarantined: whole.quarantined.slice(0, limit),
      nodes: hasNodes ? (this.#nodes?.value ?? []).slice(0, limit) : [],
    };
  }

  /** Forgets what was made: something has just been changed, and whoever did that wants to see it. */
  forget(): void {
    this.#whole = undefined;
    this.#nodes = undefined;
  }

  #renewed<T>(kept: Kept<T> | undefined, make: () => T): Kept<T> {
    const { nowMs } = this.#source;
    const startMs = nowMs();
    if (kept !== undefined && startMs < kept.untilMs) return kept;
    const value = make();
    const endMs = nowMs();
    return { value, untilMs: endMs + Math.max(MIN_KEPT_MS, KEPT_PER_COST * (endMs - startMs)) };
  }

  #makeWhole(): Whole {
    const { view, nowMs, wallMs } = this.#source;
    const now = nowMs();
    const pools = new Map<string, PoolView>();
    for (const pool of view.pools()) pools.set(pool.id, pool);
    const demands = [...view.demands()].sort((a, b) => a.oldestQueuedAtMs - b.oldestQueuedAtMs);
    const { running, nodes } = this.#slots(now);
    const shares = [...view.shares()].map(shareToWire).sort(byLevel);
    const drains = view.drains();
    const isolated = view.isolated();
    const quarantined = view.quarantined();
    return {
      unixSeconds: wallMs(now) / 1000,
      counts: { ...view.counts },
      pools: [...pools.values()].sort((a, b) => b.slots - a.slots).map(poolToWire),
      demands: demands.slice(0, MAX_LISTED).map((demand) => demandToWire(demand, pools, now)),
      running: running.sort((a, b) => b.runningSeconds - a.runningSeconds),
      shares: shares.slice(0, MAX_LISTED),
      drains: drains.map((drain) => drainToWire(drain, now)),
      isolated: isolated.map((node) => isolatedToWire(node, now)),
      quarantined: quarantined.map((action) => quarantinedToWire(action, now)),
      totals: {
        pools: pools.size,
        demands: demands.length,
        running: running.length,
        shares: shares.length,
        nodes,
        drains: drains.length,
        isolated: isolated.length,
        quarantined: quarantined.length,
      },
    };
  }

  #slots(nowMs: number): { readonly running: RunningLease[]; readonly nodes: number } {
    const running: RunningLease[] = [];
    const nodes = new Set<string>();
    for (const slot of this.#source.view.slots()) {
      nodes.add(slot.node);
      const lease = leaseToWire(slot, this.#source.title, nowMs);
      if (lease !== undefined) running.push(lease);
    }
    return { running, nodes: nodes.size };
  }

  #makeNodes(): readonly Node[] {
    const { view, nowMs } = this.#source;
    const now = nowMs();
    const isolated = new Set(view.isolated().map(({ node }) => node));
    const byName = Map.groupBy<string, SlotView<Work>>(view.slots(), ({ node }) => node);
    return [...byName]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, slots]) => ({
        name,
        isIsolated: isolated.has(name),
        slots: slots.map((slot) => slotToWire(slot, now)),
      }));
  }
}

/** Outer shares before those within them; of one level those that run most first. */
function byLevel(a: Share, b: Share): number {
  return a.path.length - b.path.length || b.running - a.running || b.queued - a.queued;
}
