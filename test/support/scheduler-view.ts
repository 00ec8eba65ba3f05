import type { ActionKey } from '../../src/digest/action-key.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { type InstanceName, parseInstanceName } from '../../src/digest/instance-name.ts';
import { BugError } from '../../src/errors.ts';
import type { AttemptRecord, Labels, ShareKey } from '../../src/execution/scheduler/events.ts';
import type {
  DemandView,
  DrainView,
  Explanation,
  IsolatedView,
  PoolView,
  QuarantineView,
  SchedulerCounts,
  SchedulerView,
  ShareView,
  SlotView,
  TaskView,
} from '../../src/execution/scheduler/view.ts';
import type { PropertySet, Requirement, WorkerOffer } from '../../src/platform/platform.ts';

/** What a task of the fake is; everything has a default. */
export interface FakeTask<Work> {
  /** Unset: an action of its own. */
  readonly action?: Digest;
  readonly instance?: string;
  /** Platform properties it needs. */
  readonly properties?: Readonly<Record<string, string>>;
  readonly work?: Work;
  readonly isRecording?: boolean;
  readonly priority?: number;
  readonly queuedAtMs?: number;
  readonly expectedMs?: number;
  /** Unset: one of its own. */
  readonly operations?: readonly string[];
  /** Ids from the outermost to the innermost; all have weight 1. */
  readonly shares?: readonly string[];
  readonly sizeClass?: number;
  readonly attempts?: readonly AttemptRecord[];
}

/** What a slot of the fake is; everything but the pool has a default. */
export interface FakeSlot<Work> {
  /** `PoolView.id`. */
  readonly pool: string;
  /** Unset: `thread=<number>`, with the node as `host`. */
  readonly labels?: Labels;
  readonly node?: string;
  /** What it runs. Such a task is not queued. */
  readonly task?: TaskView<Work>;
  readonly isPolling?: boolean;
  readonly prefersIdle?: boolean;
  readonly isDrained?: boolean;
  readonly isTerminating?: boolean;
  readonly lastHeardMs?: number;
  readonly expiresAtMs?: number;
  readonly lastShares?: readonly string[];
}

/** How long a slot of the fake may be silent. */
const SLOT_TIMEOUT_MS = 90_000;

/** What a task without history counts for in `queuedWorkMs`. */
const UNKNOWN_MS = 10_000;

/**
 * A `SchedulerView` that a test fills by hand. Pools, tasks and slots are what was added; counts, demands and the numbers
 * of each pool follow from them. It may be changed between reads, as a scheduler's view does.
 */
export class FakeSchedulerView<Work> implements SchedulerView<Work> {
  readonly #pools = new Map<
    string,
    { readonly name: string; readonly prefix: InstanceName; readonly offer: WorkerOffer }
  >();
  readonly #tasks = new Set<TaskView<Work>>();
  readonly #slots = new Map<string, SlotView<Work>>();
  readonly #drains: DrainView[] = [];
  readonly #isolated: IsolatedView[] = [];
  readonly #quarantined: QuarantineView[] = [];
  readonly #explanations = new Map<string, Explanation>();
  #made = 0;

  /** Adds a pool. `alternatives` are property sets; one without properties by default. @returns its id. */
  addPool(options: {
    readonly name?: string;
    readonly prefix?: string;
    readonly alternatives?: readonly Readonly<Record<string, string>>[];
    readonly offer?: Partial<WorkerOffer>;
  }): string {
    const id = `pool-${this.#pools.size + 1}`;
    const alternatives = (options.alternatives ?? [{}]).map(propertySet);
    const offer: WorkerOffer = { alternatives, digestFunctions: ['sha256'], legacyOutputs: false, ...options.offer };
    this.#pools.set(id, { name: options.name ?? '', prefix: parseInstanceName(options.prefix ?? ''), offer });
    return id;
  }

  /** Adds a queued task, or one being recorded. A slot makes it an executing one: `addSlot` answers with the task as it is then. */
  addTask(options: FakeTask<Work> = {}): TaskView<Work> {
    const number = ++this.#made;
    const key: ActionKey = {
      instance: parseInstanceName(options.instance ?? ''),
      action: options.action ?? { function: 'sha256', hash: number.toString(16).padStart(64, '0'), sizeBytes: number },
    };
    const needs = {
      ...propertySet(options.properties ?? {}),
      digestFunction: key.action.function,
      legacyOutputs: false,
    };
    const sizeClass = options.sizeClass ?? 0;
    const task: TaskView<Work> = {
      key,
      needs,
      work: options.work,
      state: options.isRecording ? 'recording' : 'queued',
      priority: options.priority ?? 0,
      queuedAtMs: options.queuedAtMs ?? 0,
      expectedMs: options.expectedMs,
      operations: options.operations ?? [`operations/${number}`],
      shares: shareKeys(options.shares ?? []),
      pool: undefined,
      demand: demandId(key.instance, needs, sizeClass),
      sizeClass,
      attempts: options.attempts ?? [],
    };
    this.#tasks.add(task);
    return task;
  }

  /** Adds a slot. */
  addSlot(options: FakeSlot<Work>): SlotView<Work> {
    const number = ++this.#made;
    const node = options.node ?? `node-${number}`;
    const labels = options.labels ?? { host: node, thread: String(number) };
    const name = Object.entries(labels)
      .map(([label, value]) => `${label}=${value}`)
      .sort()
      .join(',');
    const task = options.task && this.#run(options.task, options.pool);
    const lastHeardMs = options.lastHeardMs ?? 0;
    const slot: SlotView<Work> = {
      name: `${name} ${options.pool}`,
      node,
      labels,
      pool: options.pool,
      hold: task && {
        lease: `lease-${number}`,
        key: task.key,
        attempt: 1,
        queuedAtMs: task.queuedAtMs,
        work: task.work,
      },
      task,
      isPolling: options.isPolling ?? false,
      prefersIdle: options.prefersIdle ?? false,
      isDrained: options.isDrained ?? false,
      isTerminating: options.isTerminating ?? false,
      lastHeardMs,
      expiresAtMs: options.expiresAtMs ?? lastHeardMs + SLOT_TIMEOUT_MS,
      lastShares: options.lastShares === undefined ? (task?.shares ?? []) : shareKeys(options.lastShares),
    };
    this.#slots.set(slot.name, slot);
    return slot;
  }

  /** Replaces what is known of a slot. @returns it as it is now. */
  changeSlot(name: string, changes: Partial<Omit<SlotView<Work>, 'name'>>): SlotView<Work> {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new BugError(`no slot ${name}`);
    const changed = { ...slot, ...changes };
    this.#slots.set(name, changed);
    return changed;
  }

  removeSlot(name: string): void {
    this.#slots.delete(name);
  }

  removeTask(task: TaskView<Work>): void {
    this.#tasks.delete(task);
  }

  addDrain(drain: DrainView): void {
    this.#drains.push(drain);
  }

  /** Takes back what `addDrain` added for this pattern. Slots stay as they are. */
  removeDrain(pattern: Labels): void {
    const text = JSON.stringify(Object.entries(pattern).sort());
    const index = this.#drains.findIndex((drain) => JSON.stringify(Object.entries(drain.pattern).sort()) === text);
    if (index >= 0) this.#drains.splice(index, 1);
  }

  addIsolated(isolated: IsolatedView): void {
    this.#isolated.push(isolated);
  }

  addQuarantined(quarantined: QuarantineView): void {
    this.#quarantined.push(quarantined);
  }

  /** What `explain` answers for an operation. */
  addExplanation(operation: string, explanation: Explanation): void {
    this.#explanations.set(operation, explanation);
  }

  get busySlots(): number {
    return this.counts.busySlots;
  }

  get counts(): SchedulerCounts {
    const tasks = [...this.#tasks];
    const slots = [...this.#slots.values()];
    const inState = (state: TaskView<Work>['state']): number => tasks.filter((task) => task.state === state).length;
    return {
      operations: tasks.reduce((sum, { operations }) => sum + operations.length, 0),
      queuedTasks: inState('queued'),
      executingTasks: inState('executing'),
      recordingTasks: inState('recording'),
      slots: slots.length,
      busySlots: slots.filter(({ hold }) => hold !== undefined).length,
      waitingSlots: slots.filter(isWaiting).length,
      drainedSlots: slots.filter(({ isDrained }) => isDrained).length,
    };
  }

  taskOf(operation: string): TaskView<Work> | undefined {
    return [...this.#tasks].find(({ operations }) => operations.includes(operation));
  }

  taskFor(key: ActionKey): TaskView<Work> | undefined {
    return [...this.#tasks].find(
      ({ key: { instance, action } }) => instance === key.instance && action.hash === key.action.hash,
    );
  }

  tasks(): Iterable<TaskView<Work>> {
    return this.#tasks;
  }

  slots(): Iterable<SlotView<Work>> {
    return this.#slots.values();
  }

  slot(name: string): SlotView<Work> | undefined {
    return this.#slots.get(name);
  }

  *pools(): Iterable<PoolView> {
    for (const [id, pool] of this.#pools) {
      const slots = [...this.#slots.values()].filter((slot) => slot.pool === id);
      yield {
        id,
        ...pool,
        isConfigured: pool.name !== '',
        slots: slots.length,
        busySlots: slots.filter(({ hold }) => hold !== undefined).length,
        waitingSlots: slots.filter(isWaiting).length,
        drainedSlots: slots.filter(({ isDrained }) => isDrained).length,
        nodes: new Set(slots.map(({ node }) => node)).size,
      };
    }
  }

  *demands(): Iterable<DemandView> {
    const queued = Map.groupBy(
      [...this.#tasks].filter(({ state }) => state === 'queued'),
      ({ demand }) => demand,
    );
    for (const [id, tasks] of queued) {
      const [first] = tasks;
      if (first === undefined) continue;
      const { key, needs, sizeClass } = first;
      yield {
        id,
        instance: key.instance,
        needs,
        sizeClass,
        queued: tasks.length,
        queuedWorkMs: tasks.reduce((sum, { expectedMs }) => sum + (expectedMs ?? UNKNOWN_MS), 0),
        oldestQueuedAtMs: Math.min(...tasks.map(({ queuedAtMs }) => queuedAtMs)),
        pools: this.#poolsFor(first),
      };
    }
  }

  *shares(): Iterable<ShareView> {
    const known = new Map<string, { readonly path: readonly ShareKey[]; tasks: number; running: number }>();
    for (const task of this.#tasks) {
      const running = [...this.#slots.values()].filter((slot) => slot.task === task).length;
      for (let length = 1; length <= task.shares.length; length++) {
        const path = task.shares.slice(0, length);
        const text = JSON.stringify([task.shares.length, path.map(({ id }) => id)]);
        const share = known.get(text) ?? { path, tasks: 0, running: 0 };
        share.tasks++;
        share.running += running;
        known.set(text, share);
      }
    }
    yield* [...known.values()].sort((a, b) => a.path.length - b.path.length);
  }

  drains(): readonly DrainView[] {
    return this.#drains;
  }

  isolated(): readonly IsolatedView[] {
    return this.#isolated;
  }

  quarantined(): readonly QuarantineView[] {
    return this.#quarantined;
  }

  explain(operation: string): Explanation | undefined {
    return this.#explanations.get(operation);
  }

  #run(task: TaskView<Work>, pool: string): TaskView<Work> {
    this.#tasks.delete(task);
    const running: TaskView<Work> = { ...task, state: task.state === 'recording' ? 'recording' : 'executing', pool };
    this.#tasks.add(running);
    return running;
  }

  /** By prefix, size class and equal properties: the fake knows no rules. */
  #poolsFor({ key: { instance }, needs, sizeClass }: TaskView<Work>): string[] {
    const fitting = [...this.#pools].filter(([, { prefix, offer }]) => {
      if (prefix !== '' && instance !== prefix && !instance.startsWith(`${prefix}/`)) return false;
      if ((offer.sizeClass ?? 0) < sizeClass) return false;
      return offer.alternatives.some((alternative) => hasAll(alternative, needs));
    });
    return fitting.map(([id]) => id);
  }
}

function isWaiting({ isPolling, hold, isDrained, prefersIdle }: SlotView<unknown>): boolean {
  return isPolling && hold === undefined && !isDrained && !prefersIdle;
}

function hasAll(alternative: PropertySet, needs: Requirement): boolean {
  return needs.properties.every(({ name, values }) => {
    const offered = alternative.properties.find((property) => property.name === name)?.values ?? [];
    return values.every((value) => offered.includes(value));
  });
}

function propertySet(properties: Readonly<Record<string, string>>): PropertySet {
  const sorted = Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1));
  return { properties: sorted.map(([name, value]) => ({ name, values: [value] })) };
}

function shareKeys(ids: readonly string[]): ShareKey[] {
  return ids.map((id) => ({ id, weight: 1 }));
}

function demandId(instance: InstanceName, needs: Requirement, sizeClass: number): string {
  return JSON.stringify([instance, needs.properties, sizeClass]);
}
