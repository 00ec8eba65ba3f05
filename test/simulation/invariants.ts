import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import type { Model, ModelLease, ModelOperation, ModelSlot, ModelTask } from './model.ts';
import { canRun, type SimEffect, type SimEvent, type SimResult } from './vocabulary.ts';

/** A law that does not hold. */
export class Violation extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Violation';
  }
}

function check(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Violation(message);
}

type Orders = Extract<SimEffect, { type: 'orders' }>;
type Finish = Extract<SimEffect, { type: 'finish' }>;

/**
 * The laws of the scheduler, checked after every event from outside:
 *
 * - a lease goes to a slot that satisfies it, serves its instance name, is not drained and wants work;
 * - a slot holds one lease: none is displaced, taken away or started again while it runs and is wanted;
 * - an action that may merge has one task, besides one being recorded, and every operation gets the result of its own task;
 * - an operation is finished once, for a reason that happened; nothing is said about it afterwards;
 * - nothing waits while a slot that fits polls, and the better priority goes first (but for nodes a task avoids after a fault);
 * - attempts count up one by one to their limit; a lease is sent again no more often than the limit says;
 * - silence, abandonment and unanswered records have ended by their time;
 * - every sync is answered exactly once; other orders reach polling slots only, and bring work.
 */
export class Invariants {
  readonly #model: Model;
  readonly #options: SchedulerOptions;

  constructor(model: Model, options: SchedulerOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** One event, which the model has noted already, and what the scheduler answered. @throws Violation */
  step(event: SimEvent, effects: readonly SimEffect[], nowMs: number): void {
    let answers = 0;
    for (const effect of effects) {
      if (effect.type === 'orders') {
        const isAnswer = event.type === 'sync' && event.slot === effect.slot;
        if (isAnswer) answers++;
        this.#orders(effect, isAnswer, nowMs);
      } else if (effect.type === 'stage') this.#stage(effect, event);
      else if (effect.type === 'record') this.#record(effect, nowMs);
      else if (effect.type === 'finish') this.#finish(effect, event, nowMs);
    }
    if (event.type === 'recorded') this.#endUnwaited(event.lease);
    check(answers === (event.type === 'sync' ? 1 : 0), `a sync was answered ${answers} times`);
    this.#nothingWaits();
    this.#nothingIsLate(nowMs);
  }

  /** After the end of all faults. @throws Violation */
  atRest(): void {
    for (const operation of this.#model.operations.values()) {
      check(operation.isFinished, `operation ${operation.name} never ended, its task is ${operation.task.state}`);
    }
    for (const slot of this.#model.slots.values()) {
      check(slot.lease === undefined, `slot ${slot.name} still holds ${slot.lease?.id}`);
    }
  }

  #orders(orders: Orders, isAnswer: boolean, nowMs: number): void {
    const slot = this.#model.slots.get(orders.slot);
    if (slot === undefined) {
      check(isAnswer && orders.hold === undefined, `orders for the unknown slot ${orders.slot}`);
      return;
    }
    check(isAnswer || (slot.isPolling && orders.hold !== undefined), `orders for ${slot.name}, which does not poll`);
    const { lease } = slot;
    if (orders.hold?.lease === lease?.id) {
      if (lease !== undefined) this.#sentAgain(lease);
    } else {
      if (lease !== undefined && lease.task.state === 'leased') {
        check(!this.#model.isRunning(slot, lease), `${lease.id} runs on ${slot.name} and was displaced`);
      }
      slot.lease = orders.hold === undefined ? undefined : this.#leaseOf(orders.hold, slot);
    }
    slot.isPolling = orders.hold === undefined && orders.waits;
    if (orders.hold !== undefined) slot.lastHeardMs = nowMs;
  }

  #sentAgain(lease: ModelLease): void {
    if (lease.sends > 0 || !lease.isConfirmed) lease.sends++;
    const limit = this.#options.maxResends + 1;
    check(lease.sends <= limit, `${lease.id} was sent ${lease.sends} times, the limit is ${limit}`);
  }

  #leaseOf(hold: NonNullable<Orders['hold']>, slot: ModelSlot): ModelLease {
    const { madeBy, action } = hold.work;
    const task = this.#model.tasks.get(madeBy);
    check(task !== undefined, `${hold.lease} is for ${madeBy}, which has no task of its own`);
    check(canRun(slot.offer, action), `${slot.name} does not satisfy ${hold.lease}`);
    const known = this.#model.leases.get(hold.lease);
    if (known !== undefined) {
      check(known.slot === slot.name && this.#model.isRunning(slot, known), `${known.id} came back on another slot`);
      task.state = 'leased';
      return known;
    }
    check(!this.#model.drained.has(slot.node), `${slot.name} is drained and got ${hold.lease}`);
    check(!slot.prefersIdle, `${slot.name} prefers to be idle and got ${hold.lease}`);
    check(hold.attempt === task.attempts + 1, `attempt ${hold.attempt} of ${madeBy} follows ${task.attempts}`);
    check(hold.attempt <= this.#options.maxAttempts, `attempt ${hold.attempt} of ${madeBy} is above the limit`);
    this.#goesFirst(task, slot);
    task.attempts = hold.attempt;
    task.state = 'leased';
    const lease = { id: hold.lease, task, slot: slot.name, attempt: hold.attempt, isConfirmed: false, sends: 1 };
    this.#model.leases.set(lease.id, lease);
    return lease;
  }

  #goesFirst(task: ModelTask, slot: ModelSlot): void {
    const priority = this.#model.priorityOf(task);
    for (const other of this.#model.queued()) {
      if (other === task || other.faultyNodes.has(slot.node) || !canRun(slot.offer, other.action)) continue;
      const theirs = this.#model.priorityOf(other);
      const isFirst = priority < theirs || (priority === theirs && task.arrival < other.arrival);
      check(isFirst, `${slot.name} got ${task.id} before ${other.id}`);
    }
  }

  #stage({ operation: name, stage }: Extract<SimEffect, { type: 'stage' }>, event: SimEvent): void {
    const operation = this.#live(name);
    const { task } = operation;
    if (stage === 'queued' && task.state === 'leased') {
      for (const slot of this.#model.slots.values()) {
        if (slot.lease?.task !== task) continue;
        check(this.#mayBeLost(slot, slot.lease, event), `${slot.lease.id} was lost without a cause`);
        slot.lease = undefined;
      }
      task.state = 'queued';
    }
    // `executing` comes before the orders of the same step, which carry the lease.
    if (stage === 'executing' && task.state === 'queued') task.state = 'leased';
  }

  #mayBeLost(slot: ModelSlot, lease: ModelLease, event: SimEvent): boolean {
    return event.type === 'sync' && event.slot === slot.name && !this.#model.isRunning(slot, lease);
  }

  #record({ lease: id, result }: Extract<SimEffect, { type: 'record' }>, nowMs: number): void {
    const lease = this.#model.leases.get(id);
    check(lease !== undefined, `a result is recorded for the unknown ${id}`);
    const { task } = lease;
    check(isResultOf(result, task), `${id} records the result of ${result.madeBy}`);
    check(task.state === 'leased' || task.state === 'queued', `${task.id} is ${task.state} and is recorded`);
    check(!result.isFault, `${id} records a fault of its worker`);
    task.state = 'recording';
    task.recordedAtMs = nowMs;
    for (const slot of this.#model.slots.values()) if (slot.lease?.task === task) slot.lease = undefined;
  }

  #finish({ operation: name, outcome }: Finish, event: SimEvent, nowMs: number): void {
    const operation = this.#live(name);
    const { task } = operation;
    if (outcome.type === 'result') {
      check(isResultOf(outcome.result, task), `${name} got the result of ${outcome.result.madeBy}`);
      if (outcome.result.isFault) check(task.attempts === this.#options.maxAttempts, `${name} got a fault too early`);
      else check(task.state === 'recording' && this.#isRecorded(task, event, nowMs), `${name} ended before its record`);
    } else if (outcome.error.kind === 'cancelled') {
      const isAbandoned = nowMs >= (operation.detachedAtMs ?? Number.NaN) + this.#options.abandonAfterMs;
      check(operation.isCancelled || isAbandoned, `${name} was cancelled by nobody`);
    } else if (outcome.error.kind === 'no-such-platform') {
      check(nowMs >= this.#options.platformGraceMs, `${name} was refused during the start-up grace`);
      check(!this.#isServed(task), `${name} was refused although a worker can run it`);
    }
    operation.isFinished = true;
    task.operations.delete(operation);
    if (task.operations.size === 0 && task.state !== 'recording') this.#model.end(task);
    if (task.operations.size === 0 && outcome.type === 'result') this.#model.end(task);
  }

  /** A result that was recorded for nobody. */
  #endUnwaited(id: string): void {
    const task = this.#model.leases.get(id)?.task;
    if (task?.state === 'recording' && task.operations.size === 0) this.#model.end(task);
  }

  #isRecorded(task: ModelTask, event: SimEvent, nowMs: number): boolean {
    if (event.type === 'recorded') return this.#model.leases.get(event.lease)?.task === task;
    return nowMs >= (task.recordedAtMs ?? Number.NaN) + this.#options.recordTimeoutMs;
  }

  #isServed(task: ModelTask): boolean {
    return [...this.#model.slots.values()].some((slot) => canRun(slot.offer, task.action));
  }

  #live(name: string): ModelOperation {
    const operation = this.#model.operations.get(name);
    check(operation !== undefined, `operation ${name} is unknown`);
    check(!operation.isFinished, `operation ${name} was finished before`);
    return operation;
  }

  #nothingWaits(): void {
    const queued = this.#model.queued();
    if (queued.length === 0) return;
    for (const slot of this.#model.slots.values()) {
      if (!slot.isPolling || this.#model.drained.has(slot.node)) continue;
      const waits = queued.find((task) => canRun(slot.offer, task.action) && !task.faultyNodes.has(slot.node));
      check(waits === undefined, `${waits?.id} waits while ${slot.name} polls`);
    }
  }

  #nothingIsLate(nowMs: number): void {
    const { abandonAfterMs, recordTimeoutMs } = this.#options;
    for (const { id, slot, attempt, task } of this.#model.expired) {
      const isStuck = task.state === 'leased' && task.attempts === attempt;
      check(!isStuck, `${slot} is silent and keeps ${id}`);
    }
    for (const task of this.#model.tasks.values()) {
      const isLate = task.state === 'recording' && nowMs >= (task.recordedAtMs ?? Number.NaN) + recordTimeoutMs;
      if (isLate && task.operations.size === 0) this.#model.end(task);
      else check(!isLate, `${task.id} is still being recorded`);
      for (const { detachedAtMs, name } of task.operations) {
        check(!(nowMs >= (detachedAtMs ?? Number.NaN) + abandonAfterMs), `${name} was not abandoned in time`);
      }
    }
  }
}

/** A worker that knows no lease ids may report an earlier run of the same action: nothing tells them apart. */
function isResultOf(result: SimResult, task: ModelTask): boolean {
  return result.madeBy === task.id || (result.isPlain && result.action === task.action.key.action.hash);
}
