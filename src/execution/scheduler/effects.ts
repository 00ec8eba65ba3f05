import type { ReapiError } from '../../errors.ts';
import type { AttemptRecord, Effect, LeaseHint, LeaseOrder, Notice, Outcome } from './events.ts';
import type { Slot } from './pool.ts';
import { isLive, type Lease, type Operation, type Task } from './task.ts';

/** Nobody had tried it. */
const NO_ATTEMPTS: readonly AttemptRecord[] = [];

/** Collects what one `apply` answers. */
export class Effects<Work, Result> {
  #list: Effect<Work, Result>[] = [];

  /** Hands over what was collected and starts anew. */
  take(): readonly Effect<Work, Result>[] {
    const list = this.#list;
    this.#list = [];
    return list;
  }

  /** The whole truth for a slot: the lease it has been assigned, or nothing. */
  orders(slot: Slot<Work, Result>, next?: LeaseHint<Work>): void {
    const { lease, name } = slot;
    if (lease !== undefined) {
      const hold = leaseOrderOf(lease);
      this.#list.push({ type: 'orders', slot: name, hold, waits: false, ...(next === undefined ? {} : { next }) });
    } else if (slot.isTerminating && slot.canExit) {
      this.#list.push({ type: 'orders', slot: name, waits: false, exits: true });
    } else {
      this.#list.push({ type: 'orders', slot: name, waits: slot.isPolling });
    }
  }

  /** A slot beyond the limit gets nothing. */
  nothingFor(slot: string, waits: boolean): void {
    this.#list.push({ type: 'orders', slot, waits });
  }

  /** Tells one operation where its task is. */
  stage(operation: Operation<Work, Result>, message?: string): void {
    const { task } = operation;
    const slot = task.state === 'queued' ? undefined : task.leases.findLast(isLive)?.slot;
    this.#list.push({
      type: 'stage',
      operation: operation.name,
      stage: task.state === 'queued' ? 'queued' : 'executing',
      ...(message === undefined ? {} : { message }),
      ...(slot === undefined ? {} : { slot }),
    });
  }

  /** Tells all operations of a task where it is. */
  stageAll(task: Task<Work, Result>, message?: string): void {
    for (const operation of task.operations) this.stage(operation, message);
  }

  record(lease: Lease<Work, Result>, result: Result): void {
    const { key, work } = lease.task;
    this.#list.push({ type: 'record', lease: lease.id, key, work, result });
  }

  finish(operation: string, outcome: Outcome<Result>, attempts: readonly AttemptRecord[]): void {
    this.#list.push({ type: 'finish', operation, outcome, attempts });
  }

  /** Says why an operation does not begin. */
  refuse(operation: string, error: ReapiError): void {
    this.#list.push({ type: 'finish', operation, outcome: { type: 'failed', error }, attempts: NO_ATTEMPTS });
  }

  notice(notice: Notice): void {
    this.#list.push({ type: 'notice', notice });
  }

  wake(atMs: number): void {
    this.#list.push({ type: 'wake', atMs });
  }
}

/** What was tried so far, the first attempt first. */
export function attemptsOf<Work, Result>({ leases }: Task<Work, Result>): readonly AttemptRecord[] {
  if (leases.length === 0) return NO_ATTEMPTS;
  return leases.map(({ attempt, slot, node, startedAtMs, end }) => ({
    attempt,
    slot,
    node: node.name,
    startedAtMs,
    ...(end === undefined ? {} : { end }),
  }));
}

/** What a slot is told of a lease. */
export function leaseOrderOf<Work, Result>({ id, attempt, task }: Lease<Work, Result>): LeaseOrder<Work> {
  return { lease: id, key: task.key, attempt, queuedAtMs: task.queuedAtMs, work: task.work };
}
