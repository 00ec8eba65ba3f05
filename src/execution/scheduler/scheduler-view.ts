import { actionKeyText } from '../../digest/action-key.ts';
import { attemptsOf, leaseOrderOf } from './effects.ts';
import { Explainer, type ExplainParts } from './explain.ts';
import type { SchedulerOptions } from './options.ts';
import type { Pool, Slot } from './pool.ts';
import type { Quarantine } from './quarantine.ts';
import { pathOf } from './shares.ts';
import { isLive, type Task } from './task.ts';
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
} from './view.ts';

/** What the view looks at. */
export interface ViewParts<Work, Result> extends ExplainParts<Work, Result> {
  readonly quarantine: Quarantine;
  readonly now: () => number;
}

/** The view of a scheduler that works. */
export class LiveView<Work, Result> implements SchedulerView<Work> {
  readonly #parts: ViewParts<Work, Result>;
  readonly #explainer: Explainer<Work, Result>;

  constructor(parts: ViewParts<Work, Result>, options: SchedulerOptions) {
    this.#parts = parts;
    this.#explainer = new Explainer(parts, options);
  }

  get counts(): SchedulerCounts {
    const { tasks, queue, fleet } = this.#parts;
    let recordingTasks = 0;
    let executingTasks = 0;
    for (const { state } of tasks.all()) {
      if (state === 'leased') executingTasks++;
      else if (state === 'recording') recordingTasks++;
    }
    let [waitingSlots, drainedSlots] = [0, 0];
    for (const pool of fleet.pools) {
      waitingSlots += pool.waiting.size;
      for (const slot of pool.slots) if (isDrained(slot)) drainedSlots++;
    }
    return {
      operations: tasks.operationCount,
      queuedTasks: queue.size,
      executingTasks,
      recordingTasks,
      slots: fleet.size,
      busySlots: fleet.busyCount,
      waitingSlots,
      drainedSlots,
    };
  }

  get busySlots(): number {
    return this.#parts.fleet.busyCount;
  }

  taskOf(operation: string): TaskView<Work> | undefined {
    const found = this.#parts.tasks.operation(operation);
    return found && this.#task(found.task);
  }

  taskFor(key: Parameters<SchedulerView<Work>['taskFor']>[0]): TaskView<Work> | undefined {
    const found = this.#parts.tasks.inFlight(actionKeyText(key));
    return found && this.#task(found);
  }

  *tasks(): Iterable<TaskView<Work>> {
    for (const task of this.#parts.tasks.all()) yield this.#task(task);
  }

  *slots(): Iterable<SlotView<Work>> {
    for (const slot of this.#parts.fleet.slots) yield this.#slot(slot);
  }

  slot(name: string): SlotView<Work> | undefined {
    const found = this.#parts.fleet.slot(name);
    return found && this.#slot(found);
  }

  *pools(): Iterable<PoolView> {
    for (const pool of this.#parts.fleet.pools) yield poolView(pool);
  }

  *demands(): Iterable<DemandView> {
    for (const demand of this.#parts.queue.demands) {
      yield {
        id: demand.text,
        instance: demand.instance,
        needs: demand.needs,
        sizeClass: demand.sizeClass,
        queued: demand.queue.size,
        queuedWorkMs: demand.queuedWorkMs,
        oldestQueuedAtMs: demand.ages.oldest?.queuedAtMs ?? this.#parts.now(),
        pools: [...demand.pools.keys()].map(({ text }) => text),
      };
    }
  }

  *shares(): Iterable<ShareView> {
    for (const share of this.#parts.shares.all()) {
      yield {
        path: pathOf(share).map(({ id, weight }) => ({ id, weight })),
        tasks: share.tasks,
        running: share.running,
      };
    }
  }

  drains(): readonly DrainView[] {
    return this.#parts.fleet.drains.all();
  }

  isolated(): readonly IsolatedView[] {
    const isolated: IsolatedView[] = [];
    for (const { name, isolation } of this.#parts.fleet.nodes) {
      if (isolation !== undefined) isolated.push({ node: name, reason: isolation.reason, sinceMs: isolation.sinceMs });
    }
    return isolated;
  }

  quarantined(): readonly QuarantineView[] {
    return this.#parts.quarantine.all(this.#parts.now());
  }

  explain(operation: string, nowMs: number): Explanation | undefined {
    const found = this.#parts.tasks.operation(operation);
    return found && this.#explainer.explain(found.task, nowMs);
  }

  #task(task: Task<Work, Result>): TaskView<Work> {
    const live = task.leases.findLast(isLive);
    const slot = live && this.#parts.fleet.slot(live.slot);
    return {
      key: task.key,
      needs: task.demand.needs,
      work: task.work,
      state: task.state === 'queued' ? 'queued' : task.state === 'leased' ? 'executing' : 'recording',
      priority: task.priority,
      queuedAtMs: task.queuedAtMs,
      expectedMs: task.expectedMs,
      operations: [...task.operations].map(({ name }) => name),
      shares: pathOf(task.share).map(({ id, weight }) => ({ id, weight })),
      pool: slot?.pool.text,
      demand: task.demand.text,
      sizeClass: task.demand.sizeClass,
      attempts: attemptsOf(task),
    };
  }

  #slot(slot: Slot<Work, Result>): SlotView<Work> {
    const { lease } = slot;
    return {
      name: slot.name,
      node: slot.node.name,
      labels: slot.labels,
      pool: slot.pool.text,
      hold: lease && leaseOrderOf(lease),
      task: lease && this.#task(lease.task),
      isPolling: slot.isPolling,
      prefersIdle: slot.prefersIdle,
      isDrained: isDrained(slot),
      isTerminating: slot.isTerminating,
      lastHeardMs: slot.lastHeardMs,
      expiresAtMs: this.#parts.fleet.silenceEndMs(slot),
      lastShares: slot.lastShare === undefined ? [] : pathOf(slot.lastShare).map(({ id, weight }) => ({ id, weight })),
    };
  }
}

function isDrained<Work, Result>({ drains, node }: Slot<Work, Result>): boolean {
  return drains > 0 || node.isolation !== undefined;
}

function poolView<Work, Result>(pool: Pool<Work, Result>): PoolView {
  const nodes = new Set<string>();
  let [busySlots, drainedSlots] = [0, 0];
  for (const slot of pool.slots) {
    nodes.add(slot.node.name);
    if (slot.lease !== undefined) busySlots++;
    if (isDrained(slot)) drainedSlots++;
  }
  return {
    id: pool.text,
    name: pool.home?.name ?? '',
    isConfigured: pool.configured !== undefined,
    prefix: pool.prefix,
    offer: pool.offer,
    slots: pool.slots.size,
    busySlots,
    waitingSlots: pool.waiting.size,
    drainedSlots,
    nodes: nodes.size,
  };
}
