import { actionKeyText } from '../../src/digest/action-key.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { check } from './law.ts';
import type { Model } from './model.ts';
import { fits, type ModelLease, type ModelOperation, type ModelSlot, type ModelTask } from './model-parts.ts';
import { StartLaws } from './start-laws.ts';
import type { SimEffect, SimEvent, SimResult, SimSync } from './vocabulary.ts';

/** How much longer than it may a task waits for a pool at most, as not every one is looked at by itself. */
const LOOK_MS = 1_000;

type Orders = Extract<SimEffect, { type: 'orders' }>;
type Finish = Extract<SimEffect, { type: 'finish' }>;
type Of<Type> = Extract<SimEffect, { type: Type }>;

/**
 * The laws of the scheduler, checked after every event from outside:
 *
 * - a slot holds one lease: none is displaced, taken away or started again while it runs and is wanted; work of a former
 *   server goes on during the grace of adoption, and is told to stop at its end if nobody asked for it;
 * - an action that may merge has one task, besides one being recorded, and every operation gets the result of its own task;
 * - an operation is finished once, for a reason that happened, with all its attempts; it is told every change of its stage;
 * - attempts end as their causes say: retries by cause to their limits, one on the largest machines, quarantine, isolation;
 * - nothing waits while a slot that fits polls (but for nodes a task avoids, and for what is kept for others);
 * - silence, abandonment, unanswered records and empty pools have ended by their time;
 * - every sync is answered exactly once; other orders reach polling slots only, and bring work or tell to exit;
 * - what `StartLaws` says of new leases.
 */
export class Invariants {
  readonly #model: Model;
  readonly #options: SchedulerOptions;
  readonly #starts: StartLaws;

  constructor(model: Model, options: SchedulerOptions) {
    this.#model = model;
    this.#options = options;
    this.#starts = new StartLaws(model, options);
  }

  /** One event, which the model has noted already, and what the scheduler answered. @throws Violation */
  step(event: SimEvent, effects: readonly SimEffect[], nowMs: number): void {
    let answers = 0;
    for (const effect of effects) {
      if (effect.type === 'orders') {
        const answered = event.type === 'sync' && event.slot === effect.slot ? event : undefined;
        if (answered !== undefined) answers++;
        this.#orders(effect, answered, nowMs);
      } else if (effect.type === 'stage') this.#live(effect.operation).told = effect.stage;
      else if (effect.type === 'record') this.#record(effect);
      else if (effect.type === 'finish') this.#finish(effect, nowMs);
      else if (effect.type === 'notice') this.#notice(effect, nowMs);
    }
    check(answers === (event.type === 'sync' ? 1 : 0), `a sync was answered ${answers} times`);
    this.#nothingIsMissing();
    for (const task of this.#model.tasks.tasks) this.#isInTime(task, nowMs);
    if (event.type === 'submit') this.#isBounded(event.operation);
    if (!this.#model.isReuniting(nowMs)) this.#nothingWaits();
  }

  /** After the end of all faults. @throws Violation */
  atRest(): void {
    for (const { isFinished, name, task } of this.#model.operations.values()) {
      check(isFinished, `operation ${name} never ended, its task is ${task.state}`);
    }
    for (const { name, lease } of this.#model.fleet.slots.values()) {
      check(lease === undefined, `slot ${name} still holds ${lease?.id}`);
    }
  }

  #orders(orders: Orders, answered: SimSync | undefined, nowMs: number): void {
    const { hold } = orders;
    const slot = this.#model.fleet.slots.get(orders.slot);
    if (slot === undefined) {
      check(answered !== undefined && hold === undefined, `orders for the unknown slot ${orders.slot}`);
      return;
    }
    if (answered !== undefined && this.#model.isStale) {
      check(hold === undefined && !orders.waits, `the former process of ${slot.name} is told something`);
      return;
    }
    const isNews = hold !== undefined || orders.exits === true;
    check(answered !== undefined || (slot.isPolling && isNews), `orders for ${slot.name}, which does not poll`);
    if (orders.exits === true) this.#exits(slot, orders);
    if (slot.lease !== undefined) this.#goesOn(slot, slot.lease, hold);
    else if (hold !== undefined) this.#starts.check(hold, slot, nowMs);
    if (answered !== undefined && hold === undefined) this.#waits(orders, slot, answered);
    slot.isPolling = hold === undefined && orders.waits;
  }

  #exits(slot: ModelSlot, { hold }: Orders): void {
    check(hold === undefined && slot.lease === undefined, `${slot.name} holds something and is told to exit`);
    check(slot.canExit && this.#model.fleet.isTerminating(slot), `${slot.name} is told to exit`);
  }

  #goesOn(slot: ModelSlot, lease: ModelLease, hold: Orders['hold']): void {
    if (lease.id === '' && hold !== undefined) {
      lease.id = hold.lease;
      this.#model.tasks.leases.set(lease.id, lease);
    }
    const isWanted = `${lease.id || 'what it runs'} has to go on on ${slot.name}`;
    check(hold?.lease === lease.id, `${isWanted}, which is told ${hold?.lease ?? 'to hold nothing'}`);
    check(hold.work?.madeBy === lease.task.madeBy, `${isWanted} for ${lease.task.madeBy}, not ${hold.work?.madeBy}`);
    check(hold.attempt === lease.attempt, `${isWanted} as attempt ${lease.attempt}, not ${hold.attempt}`);
  }

  #waits({ waits, exits }: Orders, slot: ModelSlot, { holding, prefersIdle }: SimSync): void {
    const isExecuting = holding !== undefined && holding.completed === undefined;
    const isLeaving = slot.canExit && this.#model.fleet.isTerminating(slot);
    check((exits ?? false) === isLeaving, `${slot.name} is ${isLeaving ? 'not ' : ''}told to exit`);
    const mayWait = !isExecuting && !prefersIdle && !isLeaving;
    check(waits === mayWait, `the call of ${slot.name} is ${waits ? '' : 'not '}kept open`);
  }

  #record({ lease: id, key, work, result }: Of<'record'>): void {
    const { records } = this.#model.expected;
    const known = this.#model.tasks.leases.get(id);
    const lease = known ?? [...records].find((other) => other.id === '');
    check(lease !== undefined && records.delete(lease), `the result of ${id} is recorded`);
    if (lease.id === '') {
      lease.id = id;
      this.#model.tasks.leases.set(id, lease);
    }
    const { task } = lease;
    check(isResultOf(result, task), `${id} records the result of ${result.lease}`);
    check(work?.madeBy === task.madeBy, `${id} is recorded for ${work?.madeBy} instead of ${task.madeBy}`);
    check(key.action.hash === task.action.key.action.hash, `${id} is recorded under another key`);
  }

  #finish({ operation: name, outcome, attempts }: Finish, nowMs: number): void {
    const operation = this.#live(name);
    const { task } = operation;
    if (operation.refusal === undefined) {
      const numbers = attempts.map(({ attempt }) => attempt).join();
      const made = task.leases.map(({ attempt }) => attempt).join();
      check(numbers === made, `${name} ended with the attempts ${numbers} instead of ${made}`);
    }
    if (outcome.type === 'result') this.#hasResult(operation, outcome.result, nowMs);
    else this.#hasReason(operation, outcome.error.kind, nowMs);
    this.#model.expected.abandoned.delete(name);
    this.#model.finish(operation, outcome.type === 'failed' && outcome.error.kind === 'cancelled');
  }

  #hasResult(operation: ModelOperation, result: SimResult, nowMs: number): void {
    const { name, task } = operation;
    check(isResultOf(result, task), `${name} got the result of ${result.lease}`);
    // Whatever else was due in the same step may have come first.
    if (task.state === 'kept' || operation.isAbandoned) return;
    const { doom, fallback } = task;
    if (doom === undefined && fallback !== undefined && fallback.result === result) {
      this.#isUnserved(operation, 'unavailable', nowMs);
      return;
    }
    const isDue = doom !== undefined && 'result' in doom && doom.result === result;
    check(isDue, `${name} got the result of ${result.lease} while its task is ${task.state}`);
  }

  #hasReason(operation: ModelOperation, kind: string, nowMs: number): void {
    const { name, task, refusal, isCancelled, detachedAtMs } = operation;
    // Whatever else was due in the same step may have come first.
    if (operation.isAbandoned) return;
    if (refusal !== undefined) {
      check(kind === refusal, `${name} was refused as ${kind} instead of ${refusal}`);
      return;
    }
    const { doom } = task;
    if (kind === 'cancelled') {
      const isAbandoned = nowMs >= (detachedAtMs ?? Number.NaN) + this.#options.abandonAfterMs;
      check(isCancelled || isAbandoned, `${name} was cancelled by nobody`);
    } else if (doom !== undefined) {
      check('kinds' in doom && doom.kinds.some((due) => due === kind), `${name} ended as ${kind}`);
    } else if (kind === 'queue-full') {
      const { length } = this.#model.tasks.queued();
      check(length > this.#options.maxQueuedTasks && task.leases.length === 0, `the queue is not full for ${name}`);
    } else this.#isUnserved(operation, kind, nowMs);
  }

  #isUnserved({ name, task }: ModelOperation, kind: string, nowMs: number): void {
    check(kind === 'no-such-platform' || kind === 'unavailable', `${name} ended as ${kind}`);
    check(task.state === 'queued', `${name} ended as ${kind} while its task is ${task.state}`);
    const served = this.#model.fleet.served(task);
    if (served === 'configured') {
      const { waitMs, sinceMs } = this.#model.fleet.patience(task);
      // A pool that fell empty in this very step may have been given up before.
      check(nowMs >= sinceMs + waitMs || sinceMs === nowMs, `${name} waited for a pool for less than ${waitMs} ms`);
      return;
    }
    check(!this.#model.isStarting(nowMs), `${name} was refused during the start-up grace`);
    check(served === 'none', `${name} was refused although a worker can run it`);
  }

  #notice({ notice }: Of<'notice'>, nowMs: number): void {
    const { expected, quarantine } = this.#model;
    if (notice.kind === 'node-isolated') check(expected.isolated.delete(notice.node), `${notice.node} was isolated`);
    if (notice.kind === 'adopted') check(expected.adopted.delete(notice.slot), `${notice.slot} was adopted`);
    if (notice.kind === 'orphan-stopped') {
      expected.stopped.delete(notice.slot);
      check(expected.mayBeStopped.has(notice.slot), `work of ${notice.slot} was stopped`);
    }
    if (notice.kind !== 'action-quarantined') return;
    const text = actionKeyText(notice.key);
    const at = expected.quarantined.indexOf(text);
    check(at >= 0, `${text} was quarantined`);
    expected.quarantined.splice(at, 1);
    quarantine.set(text, nowMs + this.#options.retries.quarantineMs);
  }

  #nothingIsMissing(): void {
    const { expected } = this.#model;
    for (const { id, task } of expected.records) check(false, `the result of ${id} for ${task.id} was not recorded`);
    for (const node of expected.isolated) check(false, `${node} failed differently and was not isolated`);
    for (const slot of expected.adopted) check(false, `nobody was told that work of ${slot} goes on`);
    for (const name of expected.abandoned) check(false, `${name} was not abandoned in time`);
    for (const slot of expected.stopped) check(false, `nobody was told that work of ${slot} was stopped`);
  }

  /** Whatever has a deadline has met it, and everybody knows where it is. */
  #isInTime(task: ModelTask, nowMs: number): void {
    check(task.doom === undefined, `${task.id} had to end in this step, and is ${task.state}`);
    const stage = task.state === 'queued' ? 'queued' : 'executing';
    for (const { name, told } of task.operations) {
      check(task.state !== 'kept', `${name} waits for a result that is there`);
      check(told === stage, `${name} was told that it is ${told}, and its task is ${task.state}`);
    }
    if (task.state === 'queued') this.#isServedInTime(task, nowMs);
    else task.absentSinceMs = Number.POSITIVE_INFINITY;
  }

  #isServedInTime(task: ModelTask, nowMs: number): void {
    const served = this.#model.fleet.served(task);
    task.absentSinceMs = served === 'configured' ? Math.min(task.absentSinceMs, nowMs) : Number.POSITIVE_INFINITY;
    if (served === 'configured') {
      const { waitMs, sinceMs } = this.#model.fleet.patience(task);
      check(
        nowMs <= Math.max(task.absentSinceMs, sinceMs) + waitMs + LOOK_MS,
        `${task.id} waits longer than its pools allow`,
      );
    }
    check(served !== 'none' || this.#model.isStarting(nowMs - 1), `${task.id} waits for a worker that nobody has`);
  }

  #isBounded(name: string): void {
    const operation = this.#model.operations.get(name);
    const { maxOperations, maxQueuedTasks } = this.#options;
    check(this.#model.unfinished <= maxOperations, `there are ${this.#model.unfinished} operations`);
    if (operation === undefined || operation.isFinished) return;
    check(operation.refusal === undefined, `${name} was not refused as ${operation.refusal}`);
    const { state, madeBy } = operation.task;
    const isNew = state === 'queued' && madeBy === name;
    check(!isNew || this.#model.tasks.queued().length <= maxQueuedTasks, `${name} was queued above the limit`);
  }

  #nothingWaits(): void {
    const queued = this.#model.tasks.queued();
    if (queued.length === 0) return;
    for (const slot of this.#model.fleet.slots.values()) {
      if (!slot.isPolling || !this.#model.fleet.isOpen(slot)) continue;
      for (const task of queued) {
        if (!fits(task, slot.offer) || !this.#starts.hasRoom(task, slot)) continue;
        if (this.#starts.mayBeKept(task, slot, queued)) continue;
        const isAvoided = task.faultyNodes.has(slot.node.name) && this.#model.fleet.hasOtherNode(task);
        check(isAvoided, `${task.id} waits while ${slot.name} polls`);
      }
    }
  }

  #live(name: string): ModelOperation {
    const operation = this.#model.operations.get(name);
    check(operation !== undefined, `operation ${name} is unknown`);
    check(!operation.isFinished, `operation ${name} was finished before`);
    return operation;
  }
}

/** A worker that knows no lease ids may report an earlier run of the same action: nothing tells them apart. */
function isResultOf(result: SimResult, task: ModelTask): boolean {
  if (result.isPlain) return result.action === task.action.key.action.hash;
  return task.leases.some(({ id }) => id === result.lease);
}
