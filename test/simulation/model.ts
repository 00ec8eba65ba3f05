import { actionKeyText } from '../../src/digest/action-key.ts';
import type { LeaseReport } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import type { SimAction, SimEvent, SimOffer, SimResult } from './vocabulary.ts';

/** What the outside can know of a task. */
export interface ModelTask {
  /** The operation that made it. */
  readonly id: string;
  readonly action: SimAction;
  readonly arrival: number;
  readonly operations: Set<ModelOperation>;
  state: 'queued' | 'leased' | 'recording' | 'over';
  attempts: number;
  readonly faultyNodes: Set<string>;
  recordedAtMs: number | undefined;
}

/** What the outside can know of an operation. */
export interface ModelOperation {
  readonly name: string;
  readonly priority: number;
  readonly task: ModelTask;
  detachedAtMs: number | undefined;
  isCancelled: boolean;
  isFinished: boolean;
}

/** What the outside can know of a slot: what it said last, and what it was told. */
export interface ModelSlot {
  readonly name: string;
  node: string;
  offer: SimOffer;
  prefersIdle: boolean;
  isPolling: boolean;
  lastHeardMs: number;
  report: LeaseReport<SimResult> | undefined;
  lease: ModelLease | undefined;
}

/** What the outside can know of a lease. */
export interface ModelLease {
  readonly id: string;
  readonly task: ModelTask;
  readonly slot: string;
  readonly attempt: number;
  isConfirmed: boolean;
  /** Times it was sent since it was confirmed last. */
  sends: number;
}

/**
 * The truth as the outside sees it, kept from events and effects alone and by the protocol's rules, without looking into the scheduler:
 * `invariants.ts` compares.
 */
export class Model {
  readonly operations = new Map<string, ModelOperation>();
  readonly tasks = new Map<string, ModelTask>();
  readonly slots = new Map<string, ModelSlot>();
  readonly leases = new Map<string, ModelLease>();
  readonly drained = new Set<string>();
  readonly #joinable = new Map<string, ModelTask>();
  readonly #offers: ReadonlyMap<unknown, SimOffer>;

  /** Leases of slots that fell silent in this step: their tasks must have moved on at its end. */
  expired: ModelLease[] = [];
  readonly #options: SchedulerOptions;

  /** @param offers the world's offers by what is sent for them. */
  constructor(offers: ReadonlyMap<unknown, SimOffer>, options: SchedulerOptions) {
    this.#offers = offers;
    this.#options = options;
  }

  /** Takes note of an event, before its effects. */
  note(event: SimEvent, nowMs: number): void {
    this.#expire(nowMs);
    switch (event.type) {
      case 'submit':
        this.#submit(event);
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
        this.slots.delete(event.slot);
        break;
      case 'drain':
        if (event.on) this.drained.add(event.node);
        else this.drained.delete(event.node);
        break;
      case 'recorded':
      case 'tick':
        break;
    }
  }

  /** Whether the slot's last word was that it runs this lease. */
  isRunning(slot: ModelSlot, lease: ModelLease): boolean {
    return slot.report !== undefined && slot.report.completed === undefined && isAbout(slot.report, lease);
  }

  /** Queued tasks, as their operations were told. */
  queued(): readonly ModelTask[] {
    return [...this.tasks.values()].filter((task) => task.state === 'queued');
  }

  /** The best priority of those who wait. */
  priorityOf(task: ModelTask): number {
    return Math.min(...[...task.operations].map((operation) => operation.priority));
  }

  /** Takes the task out of the account. */
  end(task: ModelTask): void {
    task.state = 'over';
    this.tasks.delete(task.id);
    const text = actionKeyText(task.action.key);
    if (this.#joinable.get(text) === task) this.#joinable.delete(text);
  }

  #expire(nowMs: number): void {
    this.expired = [];
    for (const slot of this.slots.values()) {
      const wanted = slot.lease?.task.state === 'leased' ? slot.lease : undefined;
      const { leaseTimeoutMs, slotTimeoutMs } = this.#options;
      if (nowMs < slot.lastHeardMs + (wanted === undefined ? slotTimeoutMs : leaseTimeoutMs)) continue;
      this.slots.delete(slot.name);
      if (wanted !== undefined) this.expired.push(wanted);
    }
  }

  #submit(event: Extract<SimEvent, { type: 'submit' }>): void {
    const text = actionKeyText(event.key);
    const known = event.merge === 'never' ? undefined : this.#joinable.get(text);
    const joined = event.merge === 'fresh' && known?.state === 'recording' ? undefined : known;
    const task: ModelTask = joined ?? {
      id: event.operation,
      action: event.work.action,
      arrival: this.operations.size,
      operations: new Set(),
      state: 'queued',
      attempts: 0,
      faultyNodes: new Set(),
      recordedAtMs: undefined,
    };
    const isRefused = this.#unfinished() >= this.#options.maxOperations;
    if (joined === undefined) this.tasks.set(task.id, task);
    if (event.merge !== 'never' && !isRefused) this.#joinable.set(text, task);
    const operation: ModelOperation = {
      name: event.operation,
      priority: event.priority,
      task,
      detachedAtMs: undefined,
      isCancelled: false,
      isFinished: false,
    };
    this.operations.set(operation.name, operation);
    task.operations.add(operation);
  }

  #unfinished(): number {
    let count = 0;
    for (const { operations } of this.tasks.values()) count += operations.size;
    return count;
  }

  #noteOperation(event: Extract<SimEvent, { operation: string }>, nowMs: number): void {
    const operation = this.operations.get(event.operation);
    if (operation === undefined) return;
    if (event.type === 'attach') operation.detachedAtMs = undefined;
    if (event.type === 'detach') operation.detachedAtMs ??= nowMs;
    if (event.type === 'cancel') operation.isCancelled = true;
  }

  #sync(event: Extract<SimEvent, { type: 'sync' }>, nowMs: number): void {
    const offer = this.#offers.get(event.offer);
    if (offer === undefined) throw new Error('the world sent an offer it does not know');
    const known = this.slots.get(event.slot);
    if (known === undefined && this.slots.size >= this.#options.maxSlots) return;
    const slot: ModelSlot = {
      name: event.slot,
      node: event.node,
      offer,
      prefersIdle: event.prefersIdle,
      isPolling: false,
      lastHeardMs: nowMs,
      report: event.holding,
      lease: known?.lease,
    };
    this.slots.set(slot.name, slot);
    const { lease } = slot;
    if (lease === undefined || event.holding === undefined || !isAbout(event.holding, lease)) return;
    if (event.holding.completed?.isWorkerFault) lease.task.faultyNodes.add(slot.node);
    lease.isConfirmed = true;
    lease.sends = 0;
  }

  #answered(name: string, nowMs: number): void {
    const slot = this.slots.get(name);
    if (slot === undefined) return;
    slot.isPolling = false;
    slot.lastHeardMs = nowMs;
  }
}

function isAbout(report: LeaseReport<SimResult>, lease: ModelLease): boolean {
  if (report.lease !== undefined) return report.lease === lease.id;
  return report.action.hash === lease.task.action.key.action.hash;
}
