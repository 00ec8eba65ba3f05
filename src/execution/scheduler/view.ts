import type { ActionKey } from '../../digest/action-key.ts';
import type { InstanceName } from '../../digest/instance-name.ts';
import type { Requirement, WorkerOffer } from '../../platform/platform.ts';
import type { AttemptRecord, Labels, LeaseOrder, ShareKey } from './events.ts';

/**
 * What may be known of a scheduler from outside, as it is right now. Reading changes nothing. Iterables must be used up before
 * the next event; they cost by the number of things they yield, `explain` by the number of queued tasks that compete.
 * Times are the scheduler's milliseconds.
 */
export interface SchedulerView<Work> {
  readonly counts: SchedulerCounts;
  /** Slots that hold a lease, without counting. */
  readonly busySlots: number;
  /** The task an unfinished operation waits for. */
  taskOf(operation: string): TaskView<Work> | undefined;
  /** The unfinished task of an action that newcomers would join. */
  taskFor(key: ActionKey): TaskView<Work> | undefined;
  /** Queued, running and recording ones, in no particular order. */
  tasks(): Iterable<TaskView<Work>>;
  /** In the order in which they came. */
  slots(): Iterable<SlotView<Work>>;
  slot(name: string): SlotView<Work> | undefined;
  /** Slots with the same offer and instance name prefix, and pools without slots. */
  pools(): Iterable<PoolView>;
  /** Queued tasks with the same demands. */
  demands(): Iterable<DemandView>;
  /** Who has unfinished tasks, outer shares before inner ones. */
  shares(): Iterable<ShareView>;
  drains(): readonly DrainView[];
  /** Nodes that get nothing because they failed differently from the rest. */
  isolated(): readonly IsolatedView[];
  /** Actions that are refused because they took down workers. */
  quarantined(): readonly QuarantineView[];
  /** Why an unfinished operation is where it is. */
  explain(operation: string, nowMs: number): Explanation | undefined;
}

/** Sizes, for metrics. */
export interface SchedulerCounts {
  readonly operations: number;
  readonly queuedTasks: number;
  readonly executingTasks: number;
  readonly recordingTasks: number;
  readonly slots: number;
  readonly busySlots: number;
  readonly waitingSlots: number;
  readonly drainedSlots: number;
}

/** One unit of work. */
export interface TaskView<Work> {
  readonly key: ActionKey;
  readonly needs: Requirement;
  /** Unset for work of a former server that nobody asked this one for. */
  readonly work: Work | undefined;
  readonly state: 'queued' | 'executing' | 'recording';
  /** The best of its operations (R-EX-24). */
  readonly priority: number;
  readonly queuedAtMs: number;
  readonly expectedMs: number | undefined;
  /** Names of those who wait; empty for work of a former server. */
  readonly operations: readonly string[];
  /** From the outermost to the innermost. */
  readonly shares: readonly ShareKey[];
  /** `PoolView.id` of where it runs; unset while queued. */
  readonly pool: string | undefined;
  /** `DemandView.id`. */
  readonly demand: string;
  /** 0: none. */
  readonly sizeClass: number;
  readonly attempts: readonly AttemptRecord[];
}

/** One slot. */
export interface SlotView<Work> {
  readonly name: string;
  readonly node: string;
  readonly labels: Labels;
  /** `PoolView.id`. */
  readonly pool: string;
  /** What it holds. */
  readonly hold: LeaseOrder<Work> | undefined;
  readonly task: TaskView<Work> | undefined;
  /** Waits in an open call. */
  readonly isPolling: boolean;
  readonly prefersIdle: boolean;
  /** By a drain, or as its node is isolated. */
  readonly isDrained: boolean;
  readonly isTerminating: boolean;
  readonly lastHeardMs: number;
  /** When it is forgotten unless it says something. */
  readonly expiresAtMs: number;
  /** Shares of what it ran last, from the outermost to the innermost; empty if nothing. */
  readonly lastShares: readonly ShareKey[];
}

/** Slots that offer the same under the same instance name prefix. */
export interface PoolView {
  readonly id: string;
  /** Name of the configured pool that its slots are counted with, which may have several; empty if there is none. */
  readonly name: string;
  /** It is in the configuration, and stays without slots. */
  readonly isConfigured: boolean;
  readonly prefix: InstanceName;
  readonly offer: WorkerOffer;
  readonly slots: number;
  readonly busySlots: number;
  readonly waitingSlots: number;
  readonly drainedSlots: number;
  readonly nodes: number;
}

/** Queued tasks that any slot treats alike. */
export interface DemandView {
  readonly id: string;
  readonly instance: InstanceName;
  readonly needs: Requirement;
  readonly sizeClass: number;
  readonly queued: number;
  /** Sum of what the queued tasks are expected to take, those without history counted as `unknownMs` each. */
  readonly queuedWorkMs: number;
  readonly oldestQueuedAtMs: number;
  /** `PoolView.id` of those that could run them. */
  readonly pools: readonly string[];
}

/** One share of the fleet. */
export interface ShareView {
  /** From the outermost to this one. */
  readonly path: readonly ShareKey[];
  /** Unfinished tasks of it and of what is below it. */
  readonly tasks: number;
  /** Leases of them. */
  readonly running: number;
}

/** A drain in force. */
export interface DrainView {
  readonly pattern: Labels;
  readonly reason: string;
  readonly isTermination: boolean;
  readonly sinceMs: number;
}

/** A node that was isolated. */
export interface IsolatedView {
  readonly node: string;
  readonly reason: string;
  readonly sinceMs: number;
}

/** An action that is refused. */
export interface QuarantineView {
  readonly key: ActionKey;
  readonly reason: string;
  readonly untilMs: number;
}

/** Why an operation is where it is. */
export interface Explanation {
  readonly state: TaskView<never>['state'];
  /** 1 is next of those that compete for the same slots; unset unless queued, or if there are too many to count. */
  readonly rank: number | undefined;
  /** Tasks that compete for the same slots, this one among them. */
  readonly competitors: number | undefined;
  /** What it waits for, the weightiest first; empty unless queued. */
  readonly blocks: readonly Block[];
  /** When it will probably start, from what is expected of those before it; unset if that is not known. */
  readonly expectedStartMs: number | undefined;
  readonly attempts: readonly AttemptRecord[];
  /** All of it in a sentence or two, for people. */
  readonly text: string;
}

/** One thing that keeps a task from starting. */
export type Block =
  /** No connected worker could run it; `text` has the nearest one and the property that fails. */
  | { readonly kind: 'no-such-worker'; readonly text: string }
  /** A configured pool could run it, and has no worker now. */
  | { readonly kind: 'pool-empty'; readonly pool: string; readonly untilMs: number }
  | { readonly kind: 'all-busy'; readonly slots: number }
  /** Slots that fit, are drained, isolated or prefer to be idle. */
  | { readonly kind: 'drained'; readonly slots: number; readonly reason: string }
  /** Slots are free, and their nodes have too little left of something. */
  | { readonly kind: 'resource'; readonly resource: string; readonly wanted: number; readonly mostFree: number }
  /** Nodes that failed it before are left out while another may do. */
  | { readonly kind: 'avoids-nodes'; readonly nodes: readonly string[] }
  /** Other shares have a better claim: theirs run less. */
  | { readonly kind: 'turn'; readonly share: string; readonly running: number };
