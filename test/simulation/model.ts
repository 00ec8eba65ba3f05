import { actionKeyText } from '../../src/digest/action-key.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { type Expectations, ModelAttempts, SECOND_LOOK_MS } from './model-attempts.ts';
import { type Due, ModelFleet, type SimPool } from './model-fleet.ts';
import type { ModelOperation, ModelSlot, ModelTask } from './model-parts.ts';
import { ModelTasks } from './model-tasks.ts';
import type { SimAction, SimEvent, SimOffer, SimSubmit, SimSync } from './vocabulary.ts';

/** What a world knows of itself and the outside may use. */
export interface WorldFacts {
  /** By what is sent for them. */
  readonly offers: ReadonlyMap<unknown, SimOffer>;
  /** By hash. */
  readonly actions: ReadonlyMap<string, SimAction>;
  readonly pools: readonly SimPool[];
}

/**
 * The truth as the outside sees it, kept from events and effects alone and by the protocol's rules, without looking into the scheduler:
 * `invariants.ts` compares. It is that of one life of the server.
 */
export class Model {
  readonly fleet: ModelFleet;
  readonly tasks: ModelTasks;
  readonly operations = new Map<string, ModelOperation>();
  /** Until when actions are refused, by key. */
  readonly quarantine = new Map<string, number>();
  /** What has to be said in this step. */
  expected: Expectations = nothing();
  unfinished = 0;
  /** The event is a sync of a process that has gone. */
  isStale = false;
  startMs: number | undefined;
  #isGraceOver = false;
  readonly #attempts: ModelAttempts;
  readonly #facts: WorldFacts;
  readonly #options: SchedulerOptions;

  constructor(facts: WorldFacts, options: SchedulerOptions) {
    this.#facts = facts;
    this.#options = options;
    this.fleet = new ModelFleet(options, facts.pools);
    this.tasks = new ModelTasks(this.fleet.slots, facts.actions, options);
    this.#attempts = new ModelAttempts(this.tasks, this.fleet, options, () => this.expected);
  }

  /** Takes note of an event, before its effects. */
  note(event: SimEvent, nowMs: number): void {
    this.startMs ??= nowMs;
    this.expected = nothing();
    this.isStale = false;
    this.#expire(nowMs);
    switch (event.type) {
      case 'submit':
        this.#submit(event, nowMs);
        break;
      case 'attach':
      case 'detach':
      case 'cancel':
        this.#noteOperation(event, nowMs);
        break;
      case 'sync':
        this.#sync(event, nowMs);
        break;
      case 'answered':
        this.#answered(event.slot, nowMs);
        break;
      case 'leave':
        this.#leave(this.fleet.slots.get(event.slot), nowMs);
        break;
      case 'recorded':
        this.#recorded(event.lease, nowMs);
        break;
      case 'drain':
        this.fleet.drain(event.pattern, event.on, event.isTermination);
        break;
      case 'forgive':
        this.fleet.forgive(event.node);
        break;
      case 'release':
        this.quarantine.delete(actionKeyText(event.key));
        break;
      case 'tick':
        break;
    }
    if (!this.isStarting(nowMs)) this.#relax();
  }

  /** Whether workers may still be about to connect for the first time. */
  isStarting(nowMs: number): boolean {
    return nowMs < (this.startMs ?? nowMs) + this.#options.platformGraceMs;
  }

  /** Whether nothing may be started yet. */
  isReuniting(nowMs: number): boolean {
    return nowMs < (this.startMs ?? nowMs) + this.#options.reunionMs;
  }

  /** Whether what workers say they run since before the start is left alone. */
  isAdopting(nowMs: number): boolean {
    return nowMs < (this.startMs ?? nowMs) + this.#options.adoptionGraceMs;
  }

  /** The operation was told its end. */
  finish(operation: ModelOperation, isCancelled: boolean): void {
    const { task } = operation;
    operation.isFinished = true;
    this.unfinished--;
    task.operations.delete(operation);
    // Of a result that is being recorded nothing is lost if nobody waits.
    const staysOn = task.state === 'over' || (isCancelled && task.state === 'recording');
    if (task.operations.size === 0 && !staysOn) this.tasks.end(task);
  }

  #expire(nowMs: number): void {
    for (;;) {
      let first: Due | undefined;
      for (const due of this.#due(nowMs)) if (first === undefined || due.atMs < first.atMs) first = due;
      if (first === undefined) return;
      first.happen();
    }
  }

  /** All that is due, in no order. */
  *#due(nowMs: number): Iterable<Due> {
    const graceEndMs = (this.startMs ?? nowMs) + this.#options.adoptionGraceMs;
    if (graceEndMs <= nowMs && !this.#isGraceOver) yield { atMs: graceEndMs, happen: () => this.#endGrace() };
    yield* this.fleet.due(nowMs);
    for (const slot of this.fleet.slots.values()) {
      const atMs = this.fleet.silentAtMs(slot);
      if (atMs <= nowMs) yield { atMs, happen: () => this.#leave(slot, nowMs) };
    }
    for (const task of this.tasks.tasks) if (task.doom === undefined) yield* this.#dueOf(task, nowMs);
  }

  *#dueOf(task: ModelTask, nowMs: number): Iterable<Due> {
    const { state, recording, operations, fallback } = task;
    const { abandonAfterMs, recordTimeoutMs } = this.#options;
    if (state === 'recording' && recording !== undefined && recording.atMs + recordTimeoutMs <= nowMs) {
      yield { atMs: recording.atMs + recordTimeoutMs, happen: () => this.#recorded(recording.lease.id, nowMs) };
    }
    if (fallback !== undefined && fallback.giveUpAtMs <= nowMs) {
      yield { atMs: fallback.giveUpAtMs, happen: () => giveUp(task, nowMs) };
    }
    for (const operation of operations) {
      const atMs = (operation.detachedAtMs ?? Number.NaN) + abandonAfterMs;
      if (atMs <= nowMs) yield { atMs, happen: () => this.#abandon(operation) };
    }
  }

  #abandon(operation: ModelOperation): void {
    const { task, name } = operation;
    operation.isAbandoned = true;
    this.expected.abandoned.add(name);
    task.operations.delete(operation);
    if (task.operations.size === 0 && task.state !== 'recording') this.tasks.end(task);
  }

  /** What was learned of classes that are gone does not count. */
  #relax(): void {
    for (const task of this.tasks.tasks) {
      if (task.state !== 'queued' || task.sizeClass === 0) continue;
      if (this.fleet.served(task) !== 'none') continue;
      if (task.fallback === undefined) task.sizeClass = 0;
      else task.doom = { result: task.fallback.result };
    }
  }

  #endGrace(): void {
    this.#isGraceOver = true;
    for (const task of this.tasks.orphans) {
      if (task.state !== 'leased') continue;
      for (const { slot } of task.leases) this.expected.mayBeStopped.add(slot);
      for (const { slot } of task.live) this.expected.stopped.add(slot);
      this.tasks.end(task);
    }
    for (const task of this.tasks.tasks) if (task.state === 'kept') this.tasks.end(task);
    for (const task of this.tasks.orphans) this.tasks.forget(task);
  }

  #submit(event: SimSubmit, nowMs: number): void {
    const isRefused = this.unfinished >= this.#options.maxOperations;
    const untilMs = this.quarantine.get(actionKeyText(event.key));
    const isQuarantined = untilMs !== undefined && nowMs < untilMs;
    const refusal = isRefused ? 'queue-full' : isQuarantined ? 'precondition' : undefined;
    this.unfinished++;
    const task = refusal === undefined ? this.#taskFor(event, nowMs) : this.tasks.refused(event, nowMs);
    this.operations.set(event.operation, this.tasks.join(task, event, refusal));
  }

  #taskFor(event: SimSubmit, nowMs: number): ModelOperation['task'] {
    const shared = this.tasks.shared(event);
    if (shared?.state === 'queued') this.tasks.recount(shared, event);
    if (shared !== undefined && shared.madeBy !== undefined) return shared;
    const task = shared ?? this.tasks.create(event, event.sizeClass ?? 0, nowMs);
    if (shared !== undefined) this.tasks.claim(shared, event, event.sizeClass ?? 0);
    if (this.fleet.served(task) === 'none') task.sizeClass = 0;
    return task;
  }

  #noteOperation(event: Extract<SimEvent, { operation: string }>, nowMs: number): void {
    const operation = this.operations.get(event.operation);
    if (operation === undefined) return;
    if (event.type === 'attach') operation.detachedAtMs = undefined;
    if (event.type === 'detach') operation.detachedAtMs ??= nowMs;
    if (event.type === 'cancel') operation.isCancelled = true;
  }

  #sync(event: SimSync, nowMs: number): void {
    const offer = this.#facts.offers.get(event.offer);
    if (offer === undefined) throw new Error('the world sent an offer it does not know');
    this.isStale = this.fleet.isStale(event);
    const slot = this.isStale ? undefined : this.fleet.heard(event, offer, nowMs);
    if (slot === undefined) return;
    const { incarnation } = slot;
    if (incarnation !== event.incarnation) slot.formerIncarnation = incarnation;
    slot.incarnation = event.incarnation;
    const isReborn = incarnation !== undefined && event.incarnation !== undefined && incarnation !== event.incarnation;
    if (isReborn && slot.lease !== undefined) this.#attempts.lose(slot.lease, 'died', nowMs);
    this.#attempts.read(slot, this.isAdopting(nowMs), nowMs);
  }

  #answered(name: string, nowMs: number): void {
    const slot = this.fleet.slots.get(name);
    if (slot === undefined) return;
    slot.isPolling = false;
    slot.lastHeardMs = nowMs;
  }

  #leave(slot: ModelSlot | undefined, nowMs: number): void {
    if (slot === undefined) return;
    if (slot.lease !== undefined) this.#attempts.lose(slot.lease, 'silent', nowMs);
    this.fleet.remove(slot, nowMs);
  }

  #recorded(id: string, nowMs: number): void {
    const lease = this.tasks.leases.get(id);
    const task = lease?.task;
    const { recording } = task ?? {};
    if (task?.state !== 'recording' || recording === undefined || recording.lease !== lease) return;
    if (task.operations.size > 0) task.doom = { result: recording.result };
    else if (this.isAdopting(nowMs) && task.madeBy === undefined) task.state = 'kept';
    else this.tasks.end(task);
  }
}

/** The second look at a failure has to have begun by now, or it stands. */
function giveUp(task: ModelTask, nowMs: number): void {
  const { fallback } = task;
  if (fallback === undefined) return;
  if (task.state === 'queued') task.doom = { result: fallback.result };
  else fallback.giveUpAtMs = nowMs + SECOND_LOOK_MS;
}

function nothing(): Expectations {
  return {
    records: new Set(),
    isolated: new Set(),
    quarantined: [],
    stopped: new Set(),
    mayBeStopped: new Set(),
    abandoned: new Set(),
    adopted: new Set(),
  };
}
