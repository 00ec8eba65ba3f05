import type { ActionKey } from '../../digest/action-key.ts';
import type { Requirement } from '../../platform/platform.ts';
import type { Deadline } from './deadlines.ts';
import type { HeapItem } from './indexed-heap.ts';
import type { TaskGroup } from './queue.ts';

/** One client's handle on a task, while it is unfinished. */
export interface Operation<Work, Result> {
  readonly name: string;
  readonly priority: number;
  readonly task: Task<Work, Result>;
  /** When nobody waited any more; undefined while somebody does. */
  detachedAtMs: number | undefined;
  readonly abandonment: Deadline;
}

/** One unit of work. Its states and moves are described in `scheduler.ts`. */
export interface Task<Work, Result> extends HeapItem {
  readonly key: ActionKey;
  readonly keyText: string;
  readonly needs: Requirement;
  readonly work: Work;
  readonly isMergeable: boolean;
  /** Breaks ties of priority: the lower came first, and keeps its place when it is queued again. */
  readonly arrival: number;
  readonly queuedAtMs: number;
  readonly operations: Set<Operation<Work, Result>>;
  /** The best of its operations (R-EX-24). */
  priority: number;
  state: 'queued' | 'leased' | 'recording' | 'over';
  /** Where it is queued, or was last. */
  group: TaskGroup<Work, Result>;
  /** Every attempt so far; at most `maxAttempts`. */
  readonly leases: Lease<Work, Result>[];
  /** Nodes whose worker was at fault, sorted. */
  faultyNodes: readonly string[];
  /** While recording. */
  result: { readonly value: Result; readonly lease: string; readonly deadline: Deadline } | undefined;
}

/** One attempt of one task on one slot. */
export interface Lease<Work, Result> {
  readonly id: string;
  readonly task: Task<Work, Result>;
  readonly slot: string;
  readonly node: string;
  readonly attempt: number;
  /**
   * `sent`: in the orders of its slot, which has not said yet that it runs; `running`: the slot has said so;
   * `lost`: another attempt was called for, but this one may still come back; `over`: nothing can come of it.
   */
  state: 'sent' | 'running' | 'lost' | 'over';
  /** How often it was sent again before the slot confirmed it. */
  resends: number;
}
