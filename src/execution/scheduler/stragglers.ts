import { Deadline, type Deadlines } from './deadlines.ts';
import type { Demand } from './demand.ts';
import type { Fleet } from './fleet.ts';
import type { HedgingOptions, SchedulerOptions } from './options.ts';
import type { Placement } from './placement.ts';
import type { Slot } from './pool.ts';
import { isLive, type Lease, type Task } from './task.ts';

/** Kinds of stragglers that a slot which becomes idle is compared with. */
const MAX_LOOKS = 8;

/** Attempts that take far longer than expected. An idle slot may run such a task a second time; the first good result counts. */
export class Stragglers<Work, Result> {
  readonly #deadlines: Deadlines;
  readonly #fleet: Fleet<Work, Result>;
  readonly #placement: Placement<Work, Result>;
  readonly #options: HedgingOptions;
  readonly #maxAttempts: number;
  /** Those that wait for an idle slot, the longest overdue first. */
  readonly #waiting = new Set<Lease<Work, Result>>();
  #hedges = 0;
  #isDue = false;

  constructor(
    deadlines: Deadlines,
    fleet: Fleet<Work, Result>,
    placement: Placement<Work, Result>,
    { hedging, retries }: Pick<SchedulerOptions, 'hedging' | 'retries'>,
  ) {
    this.#deadlines = deadlines;
    this.#fleet = fleet;
    this.#placement = placement;
    this.#options = hedging;
    this.#maxAttempts = retries.maxAttempts;
  }

  /** An attempt begins. */
  watch(lease: Lease<Work, Result>, nowMs: number): void {
    if (!this.#options.isOn) return;
    if (lease.isHedge) this.#hedges++;
    const { expectedMs, isMergeable } = lease.task;
    // Without history there is no telling what is long. What must not be shared is not run twice either.
    if (lease.isHedge || expectedMs === undefined || !isMergeable) return;
    lease.straggling = new Deadline(() => {
      this.#waiting.add(lease);
      this.#isDue = true;
    });
    const { factor, minMs } = this.#options;
    this.#deadlines.set(lease.straggling, nowMs + Math.max(minMs, factor * expectedMs));
  }

  /** An attempt is over, one way or another. */
  unwatch(lease: Lease<Work, Result>): void {
    if (!this.#options.isOn) return;
    if (lease.isHedge) this.#hedges--;
    if (lease.straggling !== undefined) this.#deadlines.clear(lease.straggling);
    lease.straggling = undefined;
    this.#waiting.delete(lease);
  }

  /** Straggling tasks that have become so since the last call, and the idle slots for them. */
  *takeDue(): Iterable<{ readonly task: Task<Work, Result>; readonly slot: Slot<Work, Result> }> {
    if (!this.#isDue) return;
    this.#isDue = false;
    for (const { task } of [...this.#waiting]) {
      if (!this.#mayHedge(task)) continue;
      const slot = this.#placement.hedgeFor(task);
      if (slot !== undefined) yield { task, slot };
    }
  }

  /** What a slot that would be idle should run beside another, or undefined. */
  taskFor(slot: Slot<Work, Result>): Task<Work, Result> | undefined {
    if (this.#waiting.size === 0 || this.#isFull) return undefined;
    const inVain = new Set<Demand<Work, Result>>();
    for (const { task } of this.#waiting) {
      const { demand, leases } = task;
      if (inVain.has(demand) || !this.#mayHedge(task) || leases.some(({ node }) => node === slot.node)) continue;
      if (this.#placement.couldRun(demand, slot)) return task;
      inVain.add(demand);
      if (inVain.size === MAX_LOOKS) return undefined;
    }
    return undefined;
  }

  get #isFull(): boolean {
    return this.#hedges >= Math.max(1, Math.floor(this.#options.maxShare * this.#fleet.size));
  }

  #mayHedge(task: Task<Work, Result>): boolean {
    if (this.#isFull || task.state !== 'leased' || task.leases.length >= this.#maxAttempts) return false;
    return task.leases.filter(isLive).length === 1;
  }
}
