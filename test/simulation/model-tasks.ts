import { actionKeyText } from '../../src/digest/action-key.ts';
import type { LeaseReport } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { FairRule, shareTexts } from './fair-rule.ts';
import type { ModelLease, ModelOperation, ModelSlot, ModelTask } from './model-parts.ts';
import { isServed, type SimAction, type SimResult, type SimSubmit } from './vocabulary.ts';

/** Unfinished tasks, who may join them, and their leases. */
export class ModelTasks {
  readonly tasks = new Set<ModelTask>();
  /** Of unfinished tasks. */
  readonly leases = new Map<string, ModelLease>();
  /** Work of a former server that nobody asked this one for. */
  readonly orphans = new Set<ModelTask>();
  /** When something of a share began last, while it has unfinished tasks. */
  readonly servedMs = new Map<string, number>();
  readonly #keyless = new Map<string, ModelTask>();
  readonly #joinable = new Map<string, ModelTask>();
  /** How many tasks that may be joined there are of each instance name. */
  readonly #instances = new Map<string, number>();
  readonly #slots: ReadonlyMap<string, ModelSlot>;
  readonly #actions: ReadonlyMap<string, SimAction>;
  readonly #options: SchedulerOptions;
  #arrivals = 0;

  /** @param actions the world's actions by hash. */
  constructor(
    slots: ReadonlyMap<string, ModelSlot>,
    actions: ReadonlyMap<string, SimAction>,
    options: SchedulerOptions,
  ) {
    this.#slots = slots;
    this.#actions = actions;
    this.#options = options;
  }

  /** Queued tasks. */
  queued(): readonly ModelTask[] {
    return [...this.tasks].filter(({ state }) => state === 'queued');
  }

  /** The task a newcomer shares, by its merge policy. */
  shared({ key, merge }: SimSubmit): ModelTask | undefined {
    if (merge === 'never') return undefined;
    const task = this.#joinable.get(actionKeyText(key));
    const isVisible = task?.state === 'recording' || task?.state === 'kept';
    if (task !== undefined && !(merge === 'fresh' && isVisible)) return task;
    const keyless = this.#keyless.get(key.action.hash);
    return keyless?.state === 'leased' && isServed(keyless.instance, key.instance) ? keyless : undefined;
  }

  /** A task of its own. @param sizeClass that it asks for. */
  create(event: SimSubmit, sizeClass: number, nowMs: number): ModelTask {
    const { operation, expectedMs, shares = [] } = event;
    const facts = { madeBy: operation, expectedMs, shares, sizeClass, isMergeable: event.merge !== 'never' };
    return this.#create(operation, event.work.action, facts, nowMs);
  }

  /** A client asks for what a worker does since before the start. */
  claim(task: ModelTask, event: SimSubmit, sizeClass: number): void {
    this.forget(task);
    this.#unregister(task);
    task.keyText = task.action.keyText;
    task.instance = task.action.key.instance;
    this.#register(task);
    task.madeBy = event.operation;
    task.expectedMs = event.expectedMs;
    this.#countFor(task, event.shares ?? []);
    task.sizeClass = sizeClass;
    for (const lease of task.live) lease.cores = task.action.cores ?? 0;
  }

  /** Somebody else waits for a queued task: it is counted for the one whose turn is sooner. */
  recount(task: ModelTask, { shares = [] }: SimSubmit): void {
    // What ends in this step is not there any more, and its shares have forgotten when they were served.
    const open = [...this.tasks].filter(({ doom }) => doom === undefined);
    const known = new Set(open.flatMap(shareTexts));
    const servedMs = new Map([...this.servedMs].filter(([text]) => known.has(text)));
    if (!new FairRule(open, servedMs, this.#options.fairness).isSooner(shares, task)) return;
    this.#countFor(task, shares);
  }

  /** The unfinished task a report of a former server's work is about. */
  reported(slot: ModelSlot, { key, action }: LeaseReport<SimResult>): ModelTask | undefined {
    if (key !== undefined) return this.#joinable.get(actionKeyText(key));
    // Nothing tells its tasks under several instance names apart: the name that is known longest counts.
    const tasks = [...this.#joinable.values()].filter(
      (task) => task.action.key.action.hash === action.hash && isServed(slot.offer.prefix, task.instance),
    );
    for (const instance of this.#instances.keys()) {
      const task = tasks.find((other) => other.instance === instance);
      if (task !== undefined) return task;
    }
    return undefined;
  }

  /** A task for work of a former server. */
  orphan(slot: ModelSlot, report: LeaseReport<SimResult>, nowMs: number): ModelTask | undefined {
    const action = this.#actions.get(report.action.hash);
    if (action === undefined || this.orphans.size >= this.#options.maxSlots) return undefined;
    const isKeyless = report.key === undefined;
    if (isKeyless && report.completed !== undefined) return undefined;
    const { prefix } = slot.offer;
    const instance = report.key?.instance ?? prefix;
    if (!isServed(prefix, instance)) return undefined;
    const facts = { madeBy: undefined, expectedMs: undefined, shares: [], sizeClass: 0, isMergeable: true };
    const task = this.#create(`orphan${this.#arrivals}`, action, facts, nowMs, instance);
    this.orphans.add(task);
    if (isKeyless) this.#keyless.set(report.action.hash, task);
    return task;
  }

  /** A new attempt on a slot that holds nothing. */
  start(
    task: ModelTask,
    slot: ModelSlot,
    facts: { readonly id: string; readonly isConfirmed: boolean; readonly isHedge: boolean },
    nowMs: number,
  ): ModelLease {
    const lease: ModelLease = {
      ...facts,
      task,
      slot: slot.name,
      node: slot.node,
      attempt: task.leases.length + 1,
      startedAtMs: nowMs,
      sizeClass: slot.offer.sizeClass,
      cores: task.madeBy === undefined ? 0 : (task.action.cores ?? 0),
      state: 'live',
      resends: 0,
    };
    task.leases.push(lease);
    if (lease.id !== '') this.leases.set(lease.id, lease);
    this.hold(lease, slot, nowMs);
    return lease;
  }

  /** The slot holds the lease (again). */
  hold(lease: ModelLease, slot: ModelSlot, nowMs: number): void {
    slot.lastHeardMs = nowMs;
    for (const text of shareTexts(lease.task)) this.servedMs.set(text, nowMs);
    lease.node = slot.node;
    lease.state = 'live';
    lease.task.live.add(lease);
    lease.task.state = 'leased';
    slot.lease = lease;
    slot.hasHeld = true;
  }

  /** The lease ends. */
  drop(lease: ModelLease, state: 'lost' | 'over'): void {
    lease.state = state;
    lease.task.live.delete(lease);
    const slot = this.#slots.get(lease.slot);
    if (slot?.lease === lease) slot.lease = undefined;
  }

  /** Takes the task out of the account. */
  end(task: ModelTask): void {
    this.forget(task);
    task.state = 'over';
    this.tasks.delete(task);
    this.#unregister(task);
    for (const lease of task.leases) {
      this.drop(lease, 'over');
      this.leases.delete(lease.id);
    }
    this.#forgetShares(shareTexts(task));
  }

  /** The task is no orphan any more. */
  forget(task: ModelTask): void {
    this.orphans.delete(task);
    const { hash } = task.action.key.action;
    if (this.#keyless.get(hash) === task) this.#keyless.delete(hash);
  }

  /** An operation that waits for the task. */
  join(task: ModelTask, { operation: name, priority }: SimSubmit, refusal: ModelOperation['refusal']): ModelOperation {
    const facts = {
      told: undefined,
      detachedAtMs: undefined,
      isCancelled: false,
      isAbandoned: false,
      isFinished: false,
    };
    const operation: ModelOperation = { name, priority, task, refusal, ...facts };
    task.operations.add(operation);
    return operation;
  }

  /** A task that never was, for an operation that is refused. */
  refused(event: SimSubmit, nowMs: number): ModelTask {
    const facts = { madeBy: undefined, expectedMs: undefined, shares: [], sizeClass: 0, isMergeable: false };
    const task = this.#create(event.operation, event.work.action, facts, nowMs);
    this.tasks.delete(task);
    task.state = 'over';
    return task;
  }

  #register(task: ModelTask): void {
    if (!task.isMergeable) return;
    this.#joinable.set(task.keyText, task);
    this.#instances.set(task.instance, (this.#instances.get(task.instance) ?? 0) + 1);
  }

  #unregister(task: ModelTask): void {
    if (!task.isMergeable) return;
    if (this.#joinable.get(task.keyText) === task) this.#joinable.delete(task.keyText);
    const count = (this.#instances.get(task.instance) ?? 0) - 1;
    if (count > 0) this.#instances.set(task.instance, count);
    else this.#instances.delete(task.instance);
  }

  #countFor(task: ModelTask, shares: ModelTask['shares']): void {
    const before = shareTexts(task);
    task.shares = shares;
    this.#forgetShares(before);
  }

  /** Of those that have no unfinished tasks any more. */
  #forgetShares(left: readonly string[]): void {
    const texts = left.filter((text) => this.servedMs.has(text));
    if (texts.length === 0) return;
    const others = new Set([...this.tasks].flatMap(shareTexts));
    for (const text of texts) if (!others.has(text)) this.servedMs.delete(text);
  }

  #create(
    id: string,
    action: SimAction,
    facts: Pick<ModelTask, 'madeBy' | 'expectedMs' | 'shares' | 'sizeClass' | 'isMergeable'>,
    nowMs: number,
    instance: string = action.key.instance,
  ): ModelTask {
    const task: ModelTask = {
      ...facts,
      id,
      action,
      keyText: instance === action.key.instance ? action.keyText : `keyless ${instance} ${action.keyText}`,
      instance,
      arrival: this.#arrivals++,
      queuedAtMs: nowMs,
      operations: new Set(),
      state: 'queued',
      live: new Set(),
      leases: [],
      lost: 0,
      faults: 0,
      exhausted: 0,
      largerClass: 0,
      fallback: undefined,
      faultyNodes: new Set(),
      tookDown: new Set(),
      downs: 0,
      recording: undefined,
      doom: undefined,
      absentSinceMs: Number.POSITIVE_INFINITY,
    };
    this.tasks.add(task);
    this.#register(task);
    return task;
  }
}
