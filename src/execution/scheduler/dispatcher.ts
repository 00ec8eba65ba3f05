import type { Attempts } from './attempts.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import type { Demand } from './demand.ts';
import type { Effects } from './effects.ts';
import type { LeaseHint } from './events.ts';
import { firstOf } from './fair-queue.ts';
import type { Fleet } from './fleet.ts';
import type { FleetNode } from './fleet-node.ts';
import type { Placement } from './placement.ts';
import type { Pool, Slot } from './pool.ts';
import type { Queue } from './queue.ts';
import type { Stragglers } from './stragglers.ts';
import type { Task } from './task.ts';

/** What dispatching works with. */
export interface DispatcherParts<Work, Result> {
  readonly deadlines: Deadlines;
  readonly effects: Effects<Work, Result>;
  readonly queue: Queue<Work, Result>;
  readonly fleet: Fleet<Work, Result>;
  readonly placement: Placement<Work, Result>;
  readonly attempts: Attempts<Work, Result>;
  readonly stragglers: Stragglers<Work, Result>;
  readonly now: () => number;
}

/** Brings queued tasks and waiting slots together, and tells the slots. */
export class Dispatcher<Work, Result> {
  readonly #parts: DispatcherParts<Work, Result>;
  /** While it is set, nothing is started (see `reunionMs`). */
  readonly #reunion = new Deadline(() => {
    this.#hasReunited = true;
  });
  /** What waited for it is still to be given out: after everything that is due, as some slots may have gone. */
  #hasReunited = false;

  constructor(parts: DispatcherParts<Work, Result>) {
    this.#parts = parts;
  }

  /** Starts nothing for that long. */
  holdBack(forMs: number, nowMs: number): void {
    if (forMs > 0) this.#parts.deadlines.set(this.#reunion, nowMs + forMs);
  }

  /** Whether nothing is started now, as workers may come back with what they run. */
  get isHeldBack(): boolean {
    return this.#reunion.isSet;
  }

  /** Gives a newly queued task to a waiting slot, if one fits. */
  startIfPossible(task: Task<Work, Result>): void {
    if (this.#reunion.isSet) return;
    // No slot does for those of its kind that wait already: none does for it.
    if (task.demand.queue.size > 1) return;
    const slot = this.#parts.placement.slotFor(task.demand, task.inputs);
    if (slot !== undefined) this.#startNow(task, slot);
  }

  /** Gives an open slot without a lease something to do, if there is something. Its orders are for the caller to send. */
  findWork(slot: Slot<Work, Result>): boolean {
    const { placement, stragglers, attempts, now } = this.#parts;
    if (this.#reunion.isSet) return false;
    const task = placement.taskFor(slot);
    const hedged = task === undefined ? stragglers.taskFor(slot) : undefined;
    if (task !== undefined) attempts.start(task, slot, now());
    else if (hedged !== undefined) this.#hedge(hedged, slot);
    return slot.lease !== undefined;
  }

  /** What the node of a busy slot may fetch the inputs of: each task is hinted to one node. */
  hintFor(slot: Slot<Work, Result>): LeaseHint<Work> | undefined {
    const task = slot.lease === undefined ? undefined : this.#parts.placement.nextFor(slot);
    if (task?.work === undefined) return undefined;
    task.hintedNode ??= slot.node.name;
    return task.hintedNode === slot.node.name ? { key: task.key, work: task.work } : undefined;
  }

  /** To polling slots whose openness changed. */
  offerWork(slots: readonly Slot<Work, Result>[]): void {
    const { fleet, effects } = this.#parts;
    for (const slot of slots) {
      if (slot.isTerminating && slot.canExit) {
        fleet.stopPolling(slot);
        effects.orders(slot);
      } else if (fleet.isOpen(slot) && this.findWork(slot)) effects.orders(slot);
    }
  }

  /** To be called before what was queued again is placed, once everything that is due has happened. */
  endReunion(): void {
    if (!this.#hasReunited) return;
    this.#hasReunited = false;
    const waiting = [...this.#parts.fleet.pools].flatMap((pool) => [...pool.waiting]);
    this.offerWork(waiting.sort((a, b) => a.waitingSince - b.waitingSince));
  }

  /** Gives waiting slots what their nodes have got room for. */
  refillFreed(): void {
    const { attempts } = this.#parts;
    for (let freed = attempts.takeFreed(); freed.size > 0; freed = attempts.takeFreed()) {
      for (const node of freed) this.#refill(node);
    }
  }

  /** Gives waiting slots the first tasks of these demands. */
  place(demands: readonly Demand<Work, Result>[]): void {
    let open = demands.filter(canBeServed);
    while (!this.#reunion.isSet) {
      const task = firstOf(open.map(({ queue }) => queue));
      if (task === undefined) return;
      const slot = this.#parts.placement.slotFor(task.demand, task.inputs);
      if (slot === undefined) open = open.filter((demand) => demand !== task.demand);
      else {
        this.#startNow(task, slot);
        open = open.filter(canBeServed);
      }
    }
  }

  /** Gives waiting slots that nothing else needs second attempts of stragglers. */
  hedgeStragglers(): void {
    if (this.#reunion.isSet) return;
    for (const { task, slot } of this.#parts.stragglers.takeDue()) {
      this.#hedge(task, slot);
      this.#parts.effects.orders(slot);
    }
  }

  #hedge(task: Task<Work, Result>, slot: Slot<Work, Result>): void {
    const { attempts, effects, now } = this.#parts;
    attempts.start(task, slot, now(), true);
    const text = `the action takes far longer than expected; a second attempt begins on worker ${slot.name}`;
    effects.notice({ kind: 'hedge-started', key: task.key, text });
  }

  /** Gives a task to a waiting slot, whose poll is answered by these orders. */
  #startNow(task: Task<Work, Result>, slot: Slot<Work, Result>): void {
    this.#parts.attempts.start(task, slot, this.#parts.now());
    this.#parts.effects.orders(slot);
  }

  /** Slots of one pool are alike: the first that finds nothing speaks for all. */
  #refill({ slots }: FleetNode<Work, Result>): void {
    const inVain = new Set<Pool<Work, Result>>();
    for (const slot of [...slots]) {
      const { pool } = slot;
      if (!pool.waiting.has(slot) || inVain.has(pool)) continue;
      if (this.findWork(slot)) this.#parts.effects.orders(slot);
      else inVain.add(pool);
    }
  }
}

/** Whether a slot waits that fits. */
function canBeServed<Work, Result>({ queue, pools }: Demand<Work, Result>): boolean {
  if (queue.size === 0) return false;
  for (const { waiting } of pools.keys()) if (waiting.size > 0) return true;
  return false;
}
