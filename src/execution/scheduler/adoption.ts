import { type ActionKey, actionKeyText } from '../../digest/action-key.ts';
import { type Digest, sameDigest } from '../../digest/digest.ts';
import type { Attempts } from './attempts.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import type { Effects } from './effects.ts';
import type { LeaseReport, SubmitEvent } from './events.ts';
import type { SchedulerOptions } from './options.ts';
import { type Placement, serves } from './placement.ts';
import type { Slot } from './pool.ts';
import type { Queue } from './queue.ts';
import type { Lease, Task } from './task.ts';
import type { Tasks } from './tasks.ts';

interface Parts<Work, Result> {
  readonly queue: Queue<Work, Result>;
  readonly tasks: Tasks<Work, Result>;
  readonly attempts: Attempts<Work, Result>;
  readonly placement: Placement<Work, Result>;
  readonly deadlines: Deadlines;
  readonly effects: Effects<Work, Result>;
}

/**
 * What workers run when the server starts was begun for clients of a former life of it. For a while it is left alone, as an *orphan*: a task
 * without operations. A client that asks for the same action joins it (Bazel asks again by itself); what nobody asked for by
 * the end is told to stop, and its results are recorded for later. Our worker reports the whole key; a plain
 * bb_worker only the action digest, so its work is found by that, under instance names it serves.
 */
export class Adoption<Work, Result> {
  readonly #parts: Parts<Work, Result>;
  readonly #options: SchedulerOptions;
  readonly #end = new Deadline(() => this.#stopOrphans());
  /** At most as many as there may be slots. */
  readonly #orphans = new Set<Task<Work, Result>>();
  /** Those whose instance name is unknown, by hash of the action digest. */
  readonly #keyless = new Map<string, Task<Work, Result>>();

  constructor(parts: Parts<Work, Result>, options: SchedulerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** To be called at the first event. */
  begin(nowMs: number): void {
    const { adoptionGraceMs } = this.#options;
    if (adoptionGraceMs > 0) this.#parts.deadlines.set(this.#end, nowMs + adoptionGraceMs);
  }

  /** Until when results that nobody asked for are kept; undefined: they are not. */
  get untilMs(): number | undefined {
    return this.#end.isSet ? this.#end.atMs : undefined;
  }

  /** The lease for something the slot reports and the scheduler did not order; undefined: it has to stop. */
  adopt(slot: Slot<Work, Result>, report: LeaseReport<Result>, nowMs: number): Lease<Work, Result> | undefined {
    if (!this.#end.isSet || slot.lease !== undefined || this.#isOwn(slot, report)) return undefined;
    const { attempts, placement } = this.#parts;
    if (report.lease !== undefined && attempts.lease(report.lease) !== undefined) return undefined;
    const task = this.#known(slot, report) ?? this.#orphan(slot, report, nowMs);
    if (task === undefined || task.state === 'recording' || task.state === 'kept') return undefined;
    // What somebody asked for runs only where it may, whatever a worker says.
    if (task.work !== undefined && !placement.fits(task.demand, slot.pool)) return undefined;
    const lease = attempts.adopt(task, slot, report.lease, nowMs);
    const text = `worker ${slot.name} goes on with an action begun under a former server`;
    this.#parts.effects.notice({ kind: 'adopted', slot: slot.name, text });
    return lease;
  }

  /** An orphan without a key that a client's request is about. */
  claimable({ key, merge }: SubmitEvent<Work>): Task<Work, Result> | undefined {
    if (merge === 'never' || this.#keyless.size === 0) return undefined;
    const task = this.#keyless.get(key.action.hash);
    if (task === undefined || task.state !== 'leased' || !sameBlob(task.key.action, key.action)) return undefined;
    return serves(task.key.instance, key.instance) ? task : undefined;
  }

  /** The task is no orphan any more, or over. */
  forget(task: Task<Work, Result>): void {
    if (!this.#orphans.delete(task)) return;
    const { hash } = task.key.action;
    if (this.#keyless.get(hash) === task) this.#keyless.delete(hash);
  }

  /**
   * Whether this server ordered it: then it was cancelled, or given up, and has to stop (R-BB-25). A plain worker names no
   * lease, but of a slot that has run something for this server it is clear.
   */
  #isOwn({ lastShare }: Slot<Work, Result>, { lease }: LeaseReport<Result>): boolean {
    return lease === undefined ? lastShare !== undefined : lease.startsWith(this.#options.leasePrefix);
  }

  /** The unfinished task that the report is about. */
  #known(slot: Slot<Work, Result>, { key, action }: LeaseReport<Result>): Task<Work, Result> | undefined {
    const { tasks } = this.#parts;
    if (key !== undefined) return sameDigest(key.action, action) ? tasks.inFlight(actionKeyText(key)) : undefined;
    for (const instance of tasks.instances) {
      if (!serves(slot.pool.prefix, instance)) continue;
      const task = tasks.inFlight(actionKeyText({ instance, action }));
      if (task !== undefined) return task;
    }
    return undefined;
  }

  #orphan(slot: Slot<Work, Result>, report: LeaseReport<Result>, nowMs: number): Task<Work, Result> | undefined {
    if (this.#orphans.size >= this.#options.maxSlots) return undefined;
    const { prefix, offer } = slot.pool;
    const isKeyless = report.key === undefined;
    // A plain worker has recorded its result itself, and of the rest nobody could say whose it is.
    if (isKeyless && report.completed !== undefined) return undefined;
    const key: ActionKey = report.key ?? { instance: prefix, action: report.action };
    if (!serves(prefix, key.instance) || !sameDigest(key.action, report.action)) return undefined;
    if (!offer.digestFunctions.includes(key.action.function)) return undefined;
    const needs = { properties: [], digestFunction: key.action.function, legacyOutputs: false };
    const { queue, tasks } = this.#parts;
    const demand = queue.demandOf({ instance: key.instance, needs, avoids: [], sizeClass: 0 });
    const task = tasks.createOrphan(key, demand, nowMs);
    this.#orphans.add(task);
    if (isKeyless) this.#keyless.set(key.action.hash, task);
    return task;
  }

  #stopOrphans(): void {
    for (const task of this.#orphans) {
      if (task.state !== 'leased' || task.operations.size > 0) continue;
      for (const { slot } of task.leases) {
        const text = `worker ${slot} is told to stop an action begun under a former server, which nobody asked for again`;
        this.#parts.effects.notice({ kind: 'orphan-stopped', slot, text });
      }
      this.#parts.tasks.end(task);
    }
    this.#orphans.clear();
    this.#keyless.clear();
  }
}

/** Of plain workers only hash and size are known: their function was inferred. */
function sameBlob(a: Digest, b: Digest): boolean {
  return a.hash === b.hash && a.sizeBytes === b.sizeBytes;
}
