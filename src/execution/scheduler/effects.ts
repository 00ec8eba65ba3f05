import type { Effect, LeaseOrder, Outcome } from './events.ts';
import type { Slot } from './fleet.ts';
import type { Lease, Operation, Task } from './task.ts';

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
  orders(slot: Slot<Work, Result>): void {
    const { lease } = slot;
    if (lease === undefined) this.#list.push({ type: 'orders', slot: slot.name, waits: slot.isPolling });
    else this.#list.push({ type: 'orders', slot: slot.name, hold: orderOf(lease), waits: false });
  }

  /** A slot beyond the limit gets nothing. */
  nothingFor(slot: string, waits: boolean): void {
    this.#list.push({ type: 'orders', slot, waits });
  }

  /** Tells one operation where its task is. */
  stage(operation: Operation<Work, Result>, message?: string): void {
    const stage = operation.task.state === 'queued' ? 'queued' : 'executing';
    this.#list.push({ type: 'stage', operation: operation.name, stage, ...(message === undefined ? {} : { message }) });
  }

  /** Tells all operations of a task where it is. */
  stageAll(task: Task<Work, Result>, message?: string): void {
    for (const operation of task.operations) this.stage(operation, message);
  }

  record(lease: Lease<Work, Result>, result: Result): void {
    const { key, work } = lease.task;
    this.#list.push({ type: 'record', lease: lease.id, key, work, result });
  }

  finish(operation: string, outcome: Outcome<Result>): void {
    this.#list.push({ type: 'finish', operation, outcome });
  }

  wake(atMs: number): void {
    this.#list.push({ type: 'wake', atMs });
  }
}

function orderOf<Work, Result>({ id, attempt, task }: Lease<Work, Result>): LeaseOrder<Work> {
  return { lease: id, key: task.key, attempt, queuedAtMs: task.queuedAtMs, work: task.work };
}
