import { sameDigest } from '../../digest/digest.ts';
import type { ErrorKind } from '../../errors.ts';
import type { Effects } from './effects.ts';
import type { Completion, LeaseReport } from './events.ts';
import type { Fleet, Slot } from './fleet.ts';
import type { SchedulerOptions } from './options.ts';
import type { Placement } from './placement.ts';
import type { Queue, TaskGroup } from './queue.ts';
import type { Lease, Task } from './task.ts';
import type { Tasks } from './tasks.ts';

interface Parts<Work, Result> {
  readonly queue: Queue<Work, Result>;
  readonly fleet: Fleet<Work, Result>;
  readonly placement: Placement<Work, Result>;
  readonly tasks: Tasks<Work, Result>;
  readonly effects: Effects<Work, Result>;
}

/** Leases: starting attempts, reading what slots report about them, and what follows when one is lost. */
export class Attempts<Work, Result> {
  /** Of unfinished tasks, so that a lost attempt that comes back is recognised; at most `maxAttempts` a task. */
  readonly #leases = new Map<string, Lease<Work, Result>>();
  readonly #parts: Parts<Work, Result>;
  readonly #options: SchedulerOptions;
  #requeued = new Set<TaskGroup<Work, Result>>();
  #numbers = 0;

  constructor(parts: Parts<Work, Result>, options: SchedulerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  lease(id: string): Lease<Work, Result> | undefined {
    return this.#leases.get(id);
  }

  /** The groups that got a task back since the last call. */
  takeRequeued(): ReadonlySet<TaskGroup<Work, Result>> {
    const groups = this.#requeued;
    if (groups.size > 0) this.#requeued = new Set();
    return groups;
  }

  /** Gives a queued task to a free slot. The orders are for the caller to send. */
  start(task: Task<Work, Result>, slot: Slot<Work, Result>, nowMs: number): void {
    const lease: Lease<Work, Result> = {
      id: `${this.#options.leasePrefix}${this.#numbers++}`,
      task,
      slot: slot.name,
      node: slot.node,
      attempt: task.leases.length + 1,
      state: 'sent',
      resends: 0,
    };
    this.#leases.set(lease.id, lease);
    task.leases.push(lease);
    this.#hold(slot, lease, nowMs);
  }

  /** Reads what a slot says it holds. Afterwards `slot.lease` is what it should hold, as far as known. */
  read(slot: Slot<Work, Result>, report: LeaseReport<Result> | undefined, nowMs: number): void {
    if (report !== undefined) {
      const lease = this.#find(slot, report);
      if (lease !== undefined) {
        if (report.completed !== undefined) this.#complete(lease, report.completed, nowMs);
        else this.#confirm(lease, slot, nowMs);
        if (lease === slot.lease || slot.lease === undefined) return;
      }
    }
    if (slot.lease !== undefined) this.#unanswered(slot.lease, nowMs);
  }

  /** Nothing will come of this attempt, as far as we know: the next one, or the end of the task. */
  lose(lease: Lease<Work, Result>, reason: string, nowMs: number, kind: ErrorKind = 'unavailable'): void {
    this.#release(lease, 'lost', nowMs);
    if (this.#isExhausted(lease.task)) {
      this.#parts.tasks.fail(lease.task, kind, `attempt ${lease.attempt} was the last: ${reason}`);
    } else {
      this.#again(lease, reason);
    }
  }

  /** Forgets the attempts of a task that has ended, and frees the slot that runs it. */
  forget(task: Task<Work, Result>, nowMs: number): void {
    for (const lease of task.leases) {
      this.#leases.delete(lease.id);
      this.#release(lease, 'over', nowMs);
    }
  }

  /** The lease a report is about, if it may still matter. A report without lease id can only mean the assigned one. */
  #find(slot: Slot<Work, Result>, { action, lease: id }: LeaseReport<Result>): Lease<Work, Result> | undefined {
    const lease = id === undefined ? slot.lease : this.#leases.get(id);
    const isIts = lease?.slot === slot.name && lease.state !== 'over' && sameDigest(lease.task.key.action, action);
    return isIts ? lease : undefined;
  }

  #confirm(lease: Lease<Work, Result>, slot: Slot<Work, Result>, nowMs: number): void {
    if (lease === slot.lease) {
      lease.state = 'running';
    } else if (slot.lease === undefined && this.#parts.placement.fits(lease.task.group, slot.offers)) {
      this.#revive(lease, slot, nowMs);
    }
  }

  /** A lost attempt is running after all, and its task still waits: nothing is gained by starting it again. */
  #revive(lease: Lease<Work, Result>, slot: Slot<Work, Result>, nowMs: number): void {
    if (lease.task.state !== 'queued') return;
    lease.state = 'running';
    this.#hold(slot, lease, nowMs);
  }

  #complete(lease: Lease<Work, Result>, completion: Completion<Result>, nowMs: number): void {
    const { task } = lease;
    if (completion.isWorkerFault) {
      if (lease.state !== 'lost') this.#faulted(lease, completion.result, nowMs);
      return;
    }
    if (task.state === 'queued') this.#parts.queue.remove(task);
    for (const other of task.leases) this.#release(other, 'over', nowMs);
    this.#parts.tasks.startRecording(lease, completion.result, nowMs);
  }

  #faulted(lease: Lease<Work, Result>, result: Result, nowMs: number): void {
    const { task } = lease;
    this.#release(lease, 'over', nowMs);
    if (this.#isExhausted(task)) {
      this.#parts.tasks.finish(task, { type: 'result', result });
      return;
    }
    task.faultyNodes = [...new Set([...task.faultyNodes, lease.node])].sort();
    task.group = this.#parts.queue.groupOf(task.key.instance, task.needs, task.faultyNodes);
    this.#again(lease, `worker ${lease.slot} failed`);
  }

  /** The slot does not hold what it was told to: it never learned of it, or died of it (R-BB-09). */
  #unanswered(lease: Lease<Work, Result>, nowMs: number): void {
    if (lease.state === 'running') {
      this.lose(lease, `worker ${lease.slot} dropped it`, nowMs, 'internal');
      return;
    }
    lease.resends++;
    if (lease.resends <= this.#options.maxResends) return;
    const message = `worker ${lease.slot} did not take the action, which was sent ${lease.resends} times`;
    this.#parts.tasks.fail(lease.task, 'internal', message);
  }

  #again(lease: Lease<Work, Result>, reason: string): void {
    const { task } = lease;
    task.state = 'queued';
    this.#parts.queue.push(task);
    this.#requeued.add(task.group);
    const message = `attempt ${lease.attempt} of ${this.#options.maxAttempts} did not end: ${reason}`;
    this.#parts.effects.stageAll(task, message);
  }

  #isExhausted(task: Task<Work, Result>): boolean {
    return task.leases.length >= this.#options.maxAttempts;
  }

  #hold(slot: Slot<Work, Result>, lease: Lease<Work, Result>, nowMs: number): void {
    const { task } = lease;
    this.#parts.queue.remove(task);
    task.state = 'leased';
    this.#parts.fleet.assign(slot, lease, nowMs);
    this.#parts.effects.stageAll(task);
  }

  /** Takes the lease from its slot, if that still holds it. */
  #release(lease: Lease<Work, Result>, state: 'lost' | 'over', nowMs: number): void {
    lease.state = state;
    const slot = this.#parts.fleet.slot(lease.slot);
    if (slot?.lease === lease) this.#parts.fleet.assign(slot, undefined, nowMs);
  }
}
