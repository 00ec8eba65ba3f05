import { actionKeyText } from '../../digest/action-key.ts';
import { type ErrorKind, invariant, ReapiError } from '../../errors.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import type { Effects } from './effects.ts';
import type { Outcome, SchedulerEvent } from './events.ts';
import type { SchedulerOptions } from './options.ts';
import type { Queue } from './queue.ts';
import type { Lease, Operation, Task } from './task.ts';

type Submit<Work, Result> = Extract<SchedulerEvent<Work, Result>, { readonly type: 'submit' }>;

/** When a client may try again after a refusal that is nobody's fault. */
export const RETRY_AFTER_MS = 1_000;

/** Where the end of a task is felt: whatever runs it must stop. */
export interface TaskListener<Work, Result> {
  onEnded(task: Task<Work, Result>): void;
}

/** The unfinished operations and their tasks: merging, priorities, abandonment, ending. */
export class Tasks<Work, Result> {
  readonly #operations = new Map<string, Operation<Work, Result>>();
  /** By action key, the task that newcomers may join: the latest one, should a `fresh` one have passed one being recorded. */
  readonly #inFlight = new Map<string, Task<Work, Result>>();
  readonly #queue: Queue<Work, Result>;
  readonly #deadlines: Deadlines;
  readonly #effects: Effects<Work, Result>;
  readonly #listener: TaskListener<Work, Result>;
  readonly #options: SchedulerOptions;
  #arrivals = 0;

  constructor(
    parts: {
      readonly queue: Queue<Work, Result>;
      readonly deadlines: Deadlines;
      readonly effects: Effects<Work, Result>;
      readonly listener: TaskListener<Work, Result>;
    },
    options: SchedulerOptions,
  ) {
    this.#queue = parts.queue;
    this.#deadlines = parts.deadlines;
    this.#effects = parts.effects;
    this.#listener = parts.listener;
    this.#options = options;
  }

  operation(name: string): Operation<Work, Result> | undefined {
    return this.#operations.get(name);
  }

  get isFull(): boolean {
    return this.#operations.size >= this.#options.maxOperations;
  }

  /** The task a newcomer shares, or undefined: then it needs one of its own (R-EX-15, R-EX-16). */
  mergeable({ key, merge }: Submit<Work, Result>): Task<Work, Result> | undefined {
    if (merge === 'never') return undefined;
    const task = this.#inFlight.get(actionKeyText(key));
    return merge === 'fresh' && task?.state === 'recording' ? undefined : task;
  }

  /** A task that is neither queued nor running yet. */
  create(event: Submit<Work, Result>, nowMs: number): Task<Work, Result> {
    const task: Task<Work, Result> = {
      heapIndex: -1,
      key: event.key,
      keyText: actionKeyText(event.key),
      needs: event.needs,
      work: event.work,
      isMergeable: event.merge !== 'never',
      arrival: this.#arrivals++,
      queuedAtMs: nowMs,
      operations: new Set(),
      priority: event.priority,
      state: 'queued',
      group: this.#queue.groupOf(event.key.instance, event.needs, []),
      leases: [],
      faultyNodes: [],
      result: undefined,
    };
    if (task.isMergeable) this.#inFlight.set(task.keyText, task);
    return task;
  }

  /** Lets a new operation wait for a task. */
  join(task: Task<Work, Result>, event: Submit<Work, Result>): Operation<Work, Result> {
    invariant(!this.#operations.has(event.operation), `operation ${event.operation} was submitted twice`);
    const operation: Operation<Work, Result> = {
      name: event.operation,
      priority: event.priority,
      task,
      detachedAtMs: undefined,
      abandonment: new Deadline((nowMs) => this.#onAbandonmentDue(operation, nowMs)),
    };
    this.#operations.set(operation.name, operation);
    task.operations.add(operation);
    this.#prioritise(task);
    return operation;
  }

  attach(name: string): void {
    const operation = this.#operations.get(name);
    if (operation !== undefined) operation.detachedAtMs = undefined;
  }

  detach(name: string, nowMs: number): void {
    const operation = this.#operations.get(name);
    if (operation === undefined || operation.detachedAtMs !== undefined) return;
    operation.detachedAtMs = nowMs;
    const { abandonment } = operation;
    if (!abandonment.isSet) this.#deadlines.set(abandonment, nowMs + this.#options.abandonAfterMs);
  }

  /** Ends this operation only; its task ends with it if nobody else waits and no result is being recorded (R-OP-02). */
  cancel(name: string, message: string): void {
    const operation = this.#operations.get(name);
    if (operation === undefined) return;
    const { task } = operation;
    this.#finish(operation, { type: 'failed', error: new ReapiError('cancelled', message) });
    if (task.operations.size > 0) this.#prioritise(task);
    else if (task.state !== 'recording') this.#end(task);
  }

  /** Finishes every operation of the task, and the task. */
  finish(task: Task<Work, Result>, outcome: Outcome<Result>): void {
    for (const operation of [...task.operations]) this.#finish(operation, outcome);
    this.#end(task);
  }

  fail(task: Task<Work, Result>, kind: ErrorKind, message: string): void {
    const facts = kind === 'unavailable' || kind === 'queue-full' ? { retryAfterMs: RETRY_AFTER_MS } : {};
    this.finish(task, { type: 'failed', error: new ReapiError(kind, message, facts) });
  }

  /** Waits for `recorded`: the attempt is over, newcomers may still share the result. */
  startRecording(lease: Lease<Work, Result>, value: Result, nowMs: number): void {
    const { task } = lease;
    const deadline = new Deadline(() => {
      const message = `the result was not recorded within ${this.#options.recordTimeoutMs} ms`;
      this.recorded(lease, new ReapiError('unavailable', message));
    });
    task.state = 'recording';
    task.result = { value, lease: lease.id, deadline };
    this.#deadlines.set(deadline, nowMs + this.#options.recordTimeoutMs);
    this.#effects.record(lease, value);
  }

  /** The result was kept, or could not be. A second answer for a lease changes nothing. */
  recorded(lease: Lease<Work, Result>, failed: ReapiError | undefined): void {
    const { result } = lease.task;
    if (result === undefined || result.lease !== lease.id) return;
    const outcome = { type: 'result' as const, result: result.value };
    this.finish(lease.task, failed === undefined ? outcome : { ...outcome, recordFailed: failed });
  }

  #finish(operation: Operation<Work, Result>, outcome: Outcome<Result>): void {
    this.#operations.delete(operation.name);
    operation.task.operations.delete(operation);
    this.#deadlines.clear(operation.abandonment);
    this.#effects.finish(operation.name, outcome);
  }

  #end(task: Task<Work, Result>): void {
    if (task.heapIndex >= 0) this.#queue.remove(task);
    if (task.result !== undefined) this.#deadlines.clear(task.result.deadline);
    task.result = undefined;
    task.state = 'over';
    if (this.#inFlight.get(task.keyText) === task) this.#inFlight.delete(task.keyText);
    this.#listener.onEnded(task);
  }

  /** The best priority of those who wait counts (R-EX-24). */
  #prioritise(task: Task<Work, Result>): void {
    let best = Number.POSITIVE_INFINITY;
    for (const { priority } of task.operations) best = Math.min(best, priority);
    if (best === task.priority) return;
    task.priority = best;
    if (task.heapIndex >= 0) task.group.tasks.update(task);
  }

  #onAbandonmentDue(operation: Operation<Work, Result>, nowMs: number): void {
    const { abandonAfterMs } = this.#options;
    if (operation.detachedAtMs === undefined) return;
    const dueMs = operation.detachedAtMs + abandonAfterMs;
    if (dueMs > nowMs) this.#deadlines.set(operation.abandonment, dueMs);
    else this.cancel(operation.name, `nobody waited for the operation for ${abandonAfterMs} ms`);
  }
}
