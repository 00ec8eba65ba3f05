import { type ActionKey, actionKeyText } from '../../digest/action-key.ts';
import type { InstanceName } from '../../digest/instance-name.ts';
import { type ErrorKind, invariant, ReapiError } from '../../errors.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import type { Demand } from './demand.ts';
import { attemptsOf, type Effects } from './effects.ts';
import type { AttemptRecord, Outcome, SubmitEvent } from './events.ts';
import type { SchedulerOptions } from './options.ts';
import { orderOf, seniorityOf } from './order.ts';
import type { Queue } from './queue.ts';
import { goesBefore, type Shares } from './shares.ts';
import type { Lease, Operation, Task, TaskResult } from './task.ts';
import { Waiters } from './waiters.ts';

/** When a client may try again after a refusal that is nobody's fault. */
export const RETRY_AFTER_MS = 1_000;

/** Nothing was tried: shared, as there may be a hundred thousand tasks. */
const NONE: readonly never[] = [];

/** Where the end of a task is felt: whatever runs it must stop. */
export interface TaskListener<Work, Result> {
  onEnded(task: Task<Work, Result>): void;
  /** A result is kept, and nobody asked this server for it yet. How long it waits for somebody; undefined: not at all. */
  keepUntilMs(task: Task<Work, Result>): number | undefined;
}

interface NewTask<Work, Result> {
  readonly key: ActionKey;
  readonly demand: Demand<Work, Result>;
  readonly isMergeable: boolean;
  /** Unset for an orphan. */
  readonly event: SubmitEvent<Work> | undefined;
}

/** The unfinished operations and their tasks: merging, priorities, abandonment, ending. */
export class Tasks<Work, Result> {
  readonly #operations = new Map<string, Operation<Work, Result>>();
  /** By action key, the task that newcomers may join: the latest one, should a `fresh` one have passed one being recorded. */
  readonly #inFlight = new Map<string, Task<Work, Result>>();
  /** Unfinished tasks that nobody waits for: orphans, and results being recorded for others. */
  readonly #unwaited = new Set<Task<Work, Result>>();
  /** How many mergeable tasks there are of each instance name. */
  readonly #instances = new Map<InstanceName, number>();
  readonly #queue: Queue<Work, Result>;
  readonly #shares: Shares;
  readonly #deadlines: Deadlines;
  readonly #effects: Effects<Work, Result>;
  readonly #listener: TaskListener<Work, Result>;
  readonly #options: SchedulerOptions;
  #arrivals = 0;

  constructor(
    parts: {
      readonly queue: Queue<Work, Result>;
      readonly shares: Shares;
      readonly deadlines: Deadlines;
      readonly effects: Effects<Work, Result>;
      readonly listener: TaskListener<Work, Result>;
    },
    options: SchedulerOptions,
  ) {
    this.#queue = parts.queue;
    this.#shares = parts.shares;
    this.#deadlines = parts.deadlines;
    this.#effects = parts.effects;
    this.#listener = parts.listener;
    this.#options = options;
  }

  operation(name: string): Operation<Work, Result> | undefined {
    return this.#operations.get(name);
  }

  get operationCount(): number {
    return this.#operations.size;
  }

  /** Every unfinished task. */
  *all(): Iterable<Task<Work, Result>> {
    for (const operation of this.#operations.values()) {
      if (operation.task.operations.first === operation) yield operation.task;
    }
    yield* this.#unwaited;
  }

  get isFull(): boolean {
    return this.#operations.size >= this.#options.maxOperations;
  }

  /** The task that newcomers with this key may join. */
  inFlight(keyText: string): Task<Work, Result> | undefined {
    return this.#inFlight.get(keyText);
  }

  /** The instance names of tasks that newcomers may join. */
  get instances(): Iterable<InstanceName> {
    return this.#instances.keys();
  }

  /** The task a newcomer shares, or undefined: then it needs one of its own (R-EX-15, R-EX-16). */
  mergeable({ key, merge }: Pick<SubmitEvent<Work>, 'key' | 'merge'>): Task<Work, Result> | undefined {
    if (merge === 'never') return undefined;
    const task = this.#inFlight.get(actionKeyText(key));
    const isVisible = task?.state === 'recording' || task?.state === 'kept';
    return merge === 'fresh' && isVisible ? undefined : task;
  }

  /** A task that is neither queued nor running yet. */
  create(event: SubmitEvent<Work>, demand: Demand<Work, Result>, nowMs: number): Task<Work, Result> {
    return this.#create({ key: event.key, demand, isMergeable: event.merge !== 'never', event }, nowMs);
  }

  /** Work that a slot does and nobody asked this server for. */
  createOrphan(key: ActionKey, demand: Demand<Work, Result>, nowMs: number): Task<Work, Result> {
    const task = this.#create({ key, demand, isMergeable: true, event: undefined }, nowMs);
    this.#unwaited.add(task);
    return task;
  }

  /** A client asks for what an orphan does: from now on it is an ordinary task. */
  claim(task: Task<Work, Result>, event: SubmitEvent<Work>, demand: Demand<Work, Result>): void {
    invariant(task.work === undefined, 'only orphans are claimed');
    this.#unregister(task);
    task.key = event.key;
    task.keyText = actionKeyText(event.key);
    this.#register(task);
    task.work = event.work;
    task.demand = demand;
    task.expectedMs = event.expectedMs;
    task.order = orderOf(task, this.#options.fairness);
    task.inputs = event.inputs;
    const share = this.#shares.enter(event.shares);
    const live = task.leases.filter(({ state }) => state === 'sent' || state === 'running').length;
    for (let count = 0; count < live; count++) {
      this.#shares.ran(task.share, -1);
      this.#shares.ran(share, 1);
    }
    this.#shares.leave(task.share);
    task.share = share;
  }

  /**
   * Somebody else is about to wait for a queued task. It is counted for the one whose turn is sooner: a small build that shares actions with
   * a huge one must not wait until that comes to them.
   */
  recount(task: Task<Work, Result>, { shares }: SubmitEvent<Work>): void {
    const share = this.#shares.enter(shares);
    const before = task.share;
    if (!goesBefore(share, before, task.queuedAtMs)) {
      this.#shares.leave(share);
      return;
    }
    const { queue } = task.demand;
    queue.remove(task);
    task.share = share;
    queue.push(task);
    this.#shares.leave(before);
  }

  /** Lets a new operation wait for a task. */
  join(task: Task<Work, Result>, event: SubmitEvent<Work>): Operation<Work, Result> {
    invariant(!this.#operations.has(event.operation), `operation ${event.operation} was submitted twice`);
    const operation: Operation<Work, Result> = {
      name: event.operation,
      priority: event.priority,
      task,
      detachedAtMs: undefined,
      abandonment: undefined,
    };
    this.#operations.set(operation.name, operation);
    task.operations.add(operation);
    this.#unwaited.delete(task);
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
    operation.abandonment ??= new Deadline(() => this.#onAbandonmentDue(operation));
    const { abandonment } = operation;
    if (!abandonment.isSet) this.#deadlines.set(abandonment, nowMs + this.#options.abandonAfterMs);
  }

  /** Ends this operation only; its task ends with it if nobody else waits and no result is being recorded (R-OP-02). */
  cancel(name: string, message: string): void {
    const operation = this.#operations.get(name);
    if (operation === undefined) return;
    const { task } = operation;
    // Before the operation: its attempts have ended too when it is told.
    if (task.operations.size === 1 && task.state !== 'recording') this.end(task);
    const outcome: Outcome<Result> = { type: 'failed', error: new ReapiError('cancelled', message) };
    this.#finish(operation, outcome, attemptsOf(task));
    if (task.operations.size > 0) this.#prioritise(task);
  }

  /** Finishes every operation of the task, and the task. */
  finish(task: Task<Work, Result>, outcome: Outcome<Result>): void {
    this.end(task);
    const attempts = attemptsOf(task);
    for (const operation of task.operations.take()) this.#finish(operation, outcome, attempts);
  }

  /** Ends a task for a reason that is not its own. A failure that was to be looked at a second time is the answer then. */
  fail(task: Task<Work, Result>, kind: ErrorKind, message: string): void {
    if (task.trouble?.fallback !== undefined && kind !== 'precondition') {
      this.giveUp(task);
      return;
    }
    const facts = kind === 'unavailable' || kind === 'queue-full' ? { retryAfterMs: RETRY_AFTER_MS } : {};
    this.finish(task, { type: 'failed', error: new ReapiError(kind, message, facts) });
  }

  /** Nothing comes of a second look at a failure: it stands. */
  giveUp(task: Task<Work, Result>): void {
    const fallback = task.trouble?.fallback;
    invariant(fallback !== undefined, 'there is a failure to fall back to');
    this.finish(task, { type: 'result', result: fallback.result });
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
    const { task } = lease;
    const { result } = task;
    if (result === undefined || result.lease !== lease.id || task.state !== 'recording') return;
    const untilMs = task.operations.size === 0 ? this.#listener.keepUntilMs(task) : undefined;
    if (untilMs !== undefined) {
      this.#keep(task, failed === undefined ? result : { ...result, recordFailed: failed }, untilMs);
      return;
    }
    this.finish(task, outcomeOf({ value: result.value, ...(failed && { recordFailed: failed }) }));
  }

  /** Answers an operation with a result that was waiting for somebody. */
  answerKept(operation: Operation<Work, Result>): void {
    const { task } = operation;
    const { result } = task;
    invariant(result !== undefined, 'a kept task has a result');
    // Once: a failure is not in the cache, and whoever asks after that wants another try.
    this.finish(task, outcomeOf(result));
  }

  /** Takes the task out of the account. */
  end(task: Task<Work, Result>): void {
    if (task.heapIndex >= 0) this.#queue.remove(task);
    if (task.result !== undefined) this.#deadlines.clear(task.result.deadline);
    task.result = undefined;
    if (task.trouble?.fallback !== undefined) this.#deadlines.clear(task.trouble.fallback.patience);
    task.state = 'over';
    this.#unwaited.delete(task);
    this.#unregister(task);
    this.#listener.onEnded(task);
    this.#shares.leave(task.share);
  }

  #create({ key, demand, isMergeable, event }: NewTask<Work, Result>, nowMs: number): Task<Work, Result> {
    const facts = { priority: event?.priority ?? 0, queuedAtMs: nowMs, expectedMs: event?.expectedMs };
    const task: Task<Work, Result> = {
      heapIndex: -1,
      key,
      keyText: actionKeyText(key),
      work: event?.work,
      isMergeable,
      arrival: this.#arrivals++,
      priority: facts.priority,
      queuedAtMs: facts.queuedAtMs,
      expectedMs: facts.expectedMs,
      operations: new Waiters<Operation<Work, Result>>(),
      order: orderOf(facts, this.#options.fairness),
      seniority: seniorityOf(facts, this.#options.fairness),
      share: this.#shares.enter(event?.shares),
      inputs: event?.inputs,
      state: 'queued',
      demand,
      age: undefined,
      leases: NONE,
      trouble: undefined,
      hintedNode: undefined,
      result: undefined,
    };
    this.#register(task);
    return task;
  }

  /** A result that nobody asked for waits for a client that does: it was begun for one of a former server. */
  #keep(task: Task<Work, Result>, result: TaskResult<Result>, untilMs: number): void {
    this.#deadlines.clear(result.deadline);
    const deadline = new Deadline(() => this.end(task));
    this.#deadlines.set(deadline, untilMs);
    task.result = { ...result, deadline };
    task.state = 'kept';
  }

  #register(task: Task<Work, Result>): void {
    if (!task.isMergeable) return;
    this.#inFlight.set(task.keyText, task);
    const { instance } = task.key;
    this.#instances.set(instance, (this.#instances.get(instance) ?? 0) + 1);
  }

  #unregister(task: Task<Work, Result>): void {
    if (!task.isMergeable) return;
    if (this.#inFlight.get(task.keyText) === task) this.#inFlight.delete(task.keyText);
    const { instance } = task.key;
    const count = (this.#instances.get(instance) ?? 0) - 1;
    if (count > 0) this.#instances.set(instance, count);
    else this.#instances.delete(instance);
  }

  #finish(operation: Operation<Work, Result>, outcome: Outcome<Result>, attempts: readonly AttemptRecord[]): void {
    const { task } = operation;
    this.#operations.delete(operation.name);
    task.operations.delete(operation);
    if (task.operations.size === 0 && task.state !== 'over') this.#unwaited.add(task);
    if (operation.abandonment !== undefined) this.#deadlines.clear(operation.abandonment);
    this.#effects.finish(operation.name, outcome, attempts);
  }

  /** The best priority of those who wait counts (R-EX-24). */
  #prioritise(task: Task<Work, Result>): void {
    const { best } = task.operations;
    if (best === task.priority) return;
    task.priority = best;
    task.order = orderOf(task, this.#options.fairness);
    task.seniority = seniorityOf(task, this.#options.fairness);
    if (task.heapIndex >= 0) task.demand.queue.update(task);
  }

  #onAbandonmentDue(operation: Operation<Work, Result>): void {
    const { abandonAfterMs } = this.#options;
    if (operation.detachedAtMs === undefined || operation.abandonment === undefined) return;
    const dueMs = operation.detachedAtMs + abandonAfterMs;
    if (dueMs > operation.abandonment.atMs) this.#deadlines.set(operation.abandonment, dueMs);
    else this.cancel(operation.name, `nobody waited for the operation for ${abandonAfterMs} ms`);
  }
}

function outcomeOf<Result>({
  value,
  recordFailed,
}: Pick<TaskResult<Result>, 'value' | 'recordFailed'>): Outcome<Result> {
  return { type: 'result', result: value, ...(recordFailed && { recordFailed }) };
}
