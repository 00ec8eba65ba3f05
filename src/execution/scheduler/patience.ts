import type { Deadlines } from './deadlines.ts';
import type { Demand } from './demand.ts';
import type { Placement } from './placement.ts';
import type { Pool } from './pool.ts';
import type { Task } from './task.ts';
import type { Tasks } from './tasks.ts';

interface Parts<Work, Result> {
  readonly deadlines: Deadlines;
  readonly placement: Placement<Work, Result>;
  readonly tasks: Tasks<Work, Result>;
}

/** Not every task needs a look of its own. */
const MIN_LOOK_MS = 1_000;

/** How long tasks wait for configured pools that have no workers. */
export class Patience<Work, Result> {
  readonly #parts: Parts<Work, Result>;

  constructor(parts: Parts<Work, Result>) {
    this.#parts = parts;
  }

  /** To be called when a demand got a task, or a pool lost its last worker. */
  check(demand: Demand<Work, Result>, nowMs: number): void {
    if (demand.patience.isSet || demand.queue.size === 0) return;
    if (this.#parts.placement.hasWorkers(demand) !== 'configured') return;
    this.#parts.deadlines.set(demand.patience, nowMs + waitMsOf(demand));
  }

  /** Fails what has waited long enough; looks again when the next one has. */
  over(demand: Demand<Work, Result>, nowMs: number): void {
    if (demand.queue.size === 0 || this.#parts.placement.hasWorkers(demand) !== 'configured') return;
    const waitMs = waitMsOf(demand);
    const message = `${this.poolsOf(demand)} had no worker for ${Math.round(waitMs / 1000)} s`;
    for (let { oldest } = demand.ages; oldest !== undefined; { oldest } = demand.ages) {
      const dueMs = waitingSinceMs(oldest) + waitMs;
      if (dueMs > nowMs) {
        this.#parts.deadlines.set(demand.patience, Math.max(dueMs, nowMs + MIN_LOOK_MS));
        return;
      }
      this.#parts.tasks.fail(oldest, 'unavailable', message);
    }
  }

  /** The configured pools that could run it, for people. */
  poolsOf(demand: Demand<Work, Result>): string {
    const names = configuredPools(demand).map(({ configured }) => configured?.name ?? '');
    return `${names.length === 1 ? 'pool' : 'the pools'} ${names.join(', ')}`;
  }
}

/** Until when a task may wait, if it waits for configured pools only; the longest of theirs. */
export function waitMsOf<Work, Result>(demand: Demand<Work, Result>): number {
  return Math.max(0, ...configuredPools(demand).map(({ configured }) => configured?.waitMs ?? 0));
}

/** Since when it waits for a pool without workers. */
export function waitingSinceMs<Work, Result>({ queuedAtMs, demand }: Task<Work, Result>): number {
  const empty = configuredPools(demand).map(({ emptySinceMs }) => emptySinceMs ?? Number.NEGATIVE_INFINITY);
  return Math.max(queuedAtMs, ...empty);
}

function configuredPools<Work, Result>(demand: Demand<Work, Result>): readonly Pool<Work, Result>[] {
  return [...demand.pools.keys()].filter(({ configured }) => configured !== undefined);
}
