import type { ActionKey } from '../../digest/action-key.ts';
import type { ReapiError } from '../../errors.ts';
import type { InputSketch } from '../../platform/locality.ts';
import type { Amount } from '../../platform/platform.ts';
import type { Age } from './ages.ts';
import type { Deadline } from './deadlines.ts';
import type { Demand } from './demand.ts';
import type { AttemptEnd } from './events.ts';
import type { FleetNode } from './fleet-node.ts';
import type { HeapItem } from './indexed-heap.ts';
import type { Share } from './shares.ts';
import type { Waiters } from './waiters.ts';

/** One client's handle on a task, while it is unfinished. */
export interface Operation<Work, Result> {
  readonly name: string;
  readonly priority: number;
  readonly task: Task<Work, Result>;
  /** When nobody waited any more; undefined while somebody does. */
  detachedAtMs: number | undefined;
  /** Made when it is needed first: most operations are never left. */
  abandonment: Deadline | undefined;
}

/** One unit of work. Its states and moves are described in `scheduler.ts`. */
export interface Task<Work, Result> extends HeapItem {
  key: ActionKey;
  /** `actionKeyText` of the key. */
  keyText: string;
  /** Unset for an orphan: work of a former server that nobody asked this one for. */
  work: Work | undefined;
  /** Newcomers may join it. */
  readonly isMergeable: boolean;
  /** Breaks ties of order: the lower came first, and keeps its place when it is queued again. */
  readonly arrival: number;
  readonly queuedAtMs: number;
  /** Those who wait, in the order in which they came. */
  readonly operations: Waiters<Operation<Work, Result>>;
  /** The best of its operations (R-EX-24). */
  priority: number;
  /** Its place in the innermost share: lower goes first. */
  order: number;
  /** Its order without what is expected of it: what it adds to the claim of its share. */
  seniority: number;
  expectedMs: number | undefined;
  /** The innermost share it is counted for: of those who wait for it, whose turn was sooner when they came. */
  share: Share;
  inputs: InputSketch | undefined;
  state: 'queued' | 'leased' | 'recording' | 'kept' | 'over';
  /** Where it is queued, or was last. */
  demand: Demand<Work, Result>;
  /** Its place in its demand by `queuedAtMs`, while it is queued. */
  age: Age<Task<Work, Result>> | undefined;
  /** Every attempt so far; at most `maxAttempts`, and those that were adopted. */
  leases: readonly Lease<Work, Result>[];
  /** What went wrong so far; undefined if nothing did. */
  trouble: Trouble<Result> | undefined;
  /** The node that was told to fetch the inputs. */
  hintedNode: string | undefined;
  /** While recording, and while kept. */
  result: TaskResult<Result> | undefined;
}

/** The result of a task that is not over yet. */
export interface TaskResult<Result> {
  readonly value: Result;
  /** The attempt it came from. */
  readonly lease: string;
  readonly deadline: Deadline;
  /** Why it could not be recorded; only while kept. */
  readonly recordFailed?: ReapiError;
}

/** What went wrong with a task. */
export interface Trouble<Result> {
  lost: number;
  faults: number;
  exhausted: number;
  /** The size class in which a failure is looked at a second time; 0: none. */
  largerClass: number;
  /** Nodes whose worker was at fault, sorted: avoided while another may do. */
  faultyNodes: readonly string[];
  /** Nodes whose worker was lost while it ran there. */
  readonly tookDown: Set<string>;
  /** How often that happened. */
  downs: number;
  /** What to answer if the attempt in the largest size class comes to nothing: the failure of the smaller one. */
  fallback: Fallback<Result> | undefined;
}

/** A failure that is looked at a second time. */
export interface Fallback<Result> {
  readonly result: Result;
  /** Until then the second attempt has to begin. */
  readonly patience: Deadline;
}

/** One attempt of one task on one slot. */
export interface Lease<Work, Result> {
  readonly id: string;
  readonly task: Task<Work, Result>;
  readonly slot: string;
  /** The machine of its slot, as it is known now: one that was forgotten and came back is another. */
  node: FleetNode<Work, Result>;
  readonly attempt: number;
  readonly startedAtMs: number;
  /** A second attempt beside one that takes too long. */
  readonly isHedge: boolean;
  /** The size class of its slot. */
  readonly sizeClass: number;
  /** Taken from the node until the lease ends. */
  takes: readonly Amount[];
  /**
   * `sent`: in the orders of its slot, which has not said yet that it runs; `running`: the slot has said so;
   * `lost`: another attempt was called for, but this one may still come back; `over`: nothing can come of it.
   */
  state: 'sent' | 'running' | 'lost' | 'over';
  /** How often it was sent again before the slot confirmed it. */
  resends: number;
  end: AttemptEnd | undefined;
  /** When it counts as a straggler; undefined if it never does. */
  straggling: Deadline | undefined;
}

/** Whether something may come of the lease without further doing. */
export function isLive<Work, Result>(lease: Lease<Work, Result>): boolean {
  return lease.state === 'sent' || lease.state === 'running';
}

/** Nothing went wrong yet. */
export function noTrouble<Result>(): Trouble<Result> {
  const counts = { lost: 0, faults: 0, exhausted: 0, downs: 0, largerClass: 0 };
  return { ...counts, faultyNodes: [], tookDown: new Set(), fallback: undefined };
}
