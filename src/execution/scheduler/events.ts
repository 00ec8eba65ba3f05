import type { ActionKey } from '../../digest/action-key.ts';
import type { Digest } from '../../digest/digest.ts';
import type { InstanceName } from '../../digest/instance-name.ts';
import type { ReapiError } from '../../errors.ts';
import type { CacheSketch, InputSketch } from '../../platform/locality.ts';
import type { Requirement, WorkerOffer } from '../../platform/platform.ts';

/**
 * Vocabulary of the scheduler. An *operation* is one client's handle, a *task* one unit of work for an action (many
 * operations may wait for one task), a *lease* one attempt of a task on one slot. `Work` is what a slot needs to run
 * a task and `Result` what it reports; both are opaque to the scheduler.
 */
export type SchedulerEvent<Work, Result> =
  | SubmitEvent<Work>
  /** The last stream of this operation has gone. Another `attach` in time keeps it. */
  | { readonly type: 'detach'; readonly operation: string }
  /** A stream waits for this operation (again). */
  | { readonly type: 'attach'; readonly operation: string }
  /** `message` is what its client is told; by default that it was cancelled. */
  | { readonly type: 'cancel'; readonly operation: string; readonly message?: string }
  | SyncEvent<Result>
  /** The long poll of this slot was answered without work: until its next `sync` no orders can reach it. */
  | { readonly type: 'answered'; readonly slot: string }
  /** The slot's connection ended in an orderly way: nothing more will come of it. */
  | { readonly type: 'leave'; readonly slot: string }
  /** Always follows `record`, within a deadline; a failed write still finishes the operation, with the cause. */
  | { readonly type: 'recorded'; readonly lease: string; readonly failed?: ReapiError }
  | DrainEvent
  /** Ends the isolation of a node that `notice` told of, or the quarantine of an action. */
  | { readonly type: 'forgive'; readonly node: string }
  | { readonly type: 'release'; readonly key: ActionKey }
  | { readonly type: 'tick' };

/** A client asks for an action. */
export interface SubmitEvent<Work> {
  readonly type: 'submit';
  readonly operation: string;
  readonly key: ActionKey;
  readonly needs: Requirement;
  /** Lower runs sooner; 0 is the default (R-EX-24). */
  readonly priority: number;
  readonly merge: MergePolicy;
  readonly work: Work;
  /** Who asks, from the outermost share to the innermost: principal, correlated invocations, invocation. Absent: one for all. */
  readonly shares?: readonly ShareKey[];
  /** How long such actions took before. Absent: unknown. */
  readonly expectedMs?: number;
  /** The smallest size class that has not failed such actions before. Absent: any. */
  readonly sizeClass?: number;
  /** The largest inputs, to find nodes that hold them. */
  readonly inputs?: InputSketch;
}

/** One share among its siblings. */
export interface ShareKey {
  readonly id: string;
  /** Above 0; 2 is twice the share of a sibling with 1. */
  readonly weight: number;
}

/** A slot says what it is and holds, and asks what it should hold. */
export interface SyncEvent<Result> {
  readonly type: 'sync';
  readonly slot: string;
  /** The slot's machine: slots of one node share its capacity. */
  readonly node: string;
  /** What drains select by: Buildbarn's worker_id. Absent: only `node`. */
  readonly labels?: Labels;
  readonly offer: WorkerOffer;
  readonly instancePrefix: InstanceName;
  /** Wants nothing new: it is about to stop, or unwell (R-BB-10). */
  readonly prefersIdle: boolean;
  readonly holding?: LeaseReport<Result>;
  /** Of the slot's process: another one means that what the slot held has died with the one before. Absent: unknown. */
  readonly incarnation?: string;
  /** Understands being told to exit: then a termination reaches it at once. */
  readonly canExit?: boolean;
  /** Fetches inputs ahead: then its orders may say what is probably next. */
  readonly prefetches?: boolean;
  /** What the node has cached; absent if nothing changed since it was reported last. */
  readonly cached?: CacheSketch;
}

/** Names and values that identify a slot. */
export type Labels = Readonly<Record<string, string>>;

/** Begins or ends a drain: slots that have all labels of the pattern finish what they hold and get nothing new (R-BB-30). */
export interface DrainEvent {
  readonly type: 'drain';
  readonly pattern: Labels;
  readonly on: boolean;
  /** For people. */
  readonly reason?: string;
  /** The slots that match are told to exit when they hold nothing; without it they stay and wait. */
  readonly isTermination?: boolean;
}

/**
 * Which running task a newcomer may share. `never`: do_not_cache. `fresh`: skip_cache_lookup, so only a
 * task whose result cannot have been visible yet, that is, not one being recorded. `any`: all others (R-EX-15, R-EX-16).
 */
export type MergePolicy = 'any' | 'fresh' | 'never';

/** What a slot says it holds. A plain bb_worker knows only the action digest; ours reports key and lease as well. */
export interface LeaseReport<Result> {
  readonly action: Digest;
  readonly lease?: string;
  /** Whole, so that work begun under a former server can be adopted. */
  readonly key?: ActionKey;
  /** Set once the attempt is over. */
  readonly completed?: Completion<Result>;
}

/** How an attempt ended, as far as the scheduler cares. */
export interface Completion<Result> {
  readonly result: Result;
  readonly verdict: Verdict;
  /** Why, if it is not `success`; for people. */
  readonly cause?: string;
  /** How long the command ran. Absent: unknown. */
  readonly ranMs?: number;
}

/**
 * `success`: exit code 0. `failure`: the action's own, as another exit code or a timeout. `exhausted`: the machine was too
 * small for it, as out of memory. `worker-fault`: the machinery failed; another worker may do better.
 */
export type Verdict = 'success' | 'failure' | 'exhausted' | 'worker-fault';

/** What a slot should be running. */
export interface LeaseOrder<Work> {
  readonly lease: string;
  readonly key: ActionKey;
  /** 1 for the first attempt of the task. */
  readonly attempt: number;
  /** When the task was first queued, in the scheduler's milliseconds. */
  readonly queuedAtMs: number;
  /** Absent for work of a former server that no client has asked this one for: its slot has it already. */
  readonly work: Work | undefined;
}

/** Work that a node will probably get. */
export interface LeaseHint<Work> {
  readonly key: ActionKey;
  readonly work: Work;
}

/** How a task ended, for all its operations. */
export type Outcome<Result> =
  | { readonly type: 'result'; readonly result: Result; readonly recordFailed?: ReapiError }
  | { readonly type: 'failed'; readonly error: ReapiError };

/** One attempt of a task, for people. */
export interface AttemptRecord {
  /** 1 for the first. */
  readonly attempt: number;
  readonly slot: string;
  readonly node: string;
  /** In the scheduler's milliseconds. */
  readonly startedAtMs: number;
  /** Unset while it runs. */
  readonly end?: AttemptEnd;
}

/** How and when an attempt ended. */
export interface AttemptEnd {
  readonly atMs: number;
  readonly how: Verdict | 'worker-lost' | 'cancelled' | 'superseded';
  /** For people; empty if there is nothing to say. */
  readonly cause: string;
}

/** What the host has to do, in this order, after an event. */
export type Effect<Work, Result> =
  /**
   * What this slot should hold from now on (nothing, or one lease): the whole truth, not a difference; repeated on every sync.
   * `waits`: there is nothing to do and the answer may be kept back, as a long poll, until orders with `hold` follow
   * for this slot (R-BB-02); otherwise answer at once.
   */
  | {
      readonly type: 'orders';
      readonly slot: string;
      readonly hold?: LeaseOrder<Work>;
      readonly waits: boolean;
      /** What the slot's node will probably run next: it may fetch the inputs. */
      readonly next?: LeaseHint<Work>;
      /** The slot holds nothing and is to exit. */
      readonly exits?: boolean;
    }
  /** Keep this result, then answer with `recorded`; until then the task still accepts newcomers with `any`. */
  | {
      readonly type: 'record';
      readonly lease: string;
      readonly key: ActionKey;
      /** Absent if nobody asked this server for the action yet: then the Action itself says whether it may be kept. */
      readonly work: Work | undefined;
      readonly result: Result;
    }
  /** `message` says why it waits, when it is not simply its turn. */
  | {
      readonly type: 'stage';
      readonly operation: string;
      readonly stage: 'queued' | 'executing';
      readonly message?: string;
      /** Slot of the newest attempt, while executing. */
      readonly slot?: string;
    }
  | {
      readonly type: 'finish';
      readonly operation: string;
      readonly outcome: Outcome<Result>;
      readonly attempts: readonly AttemptRecord[];
    }
  /** Something an operator should know. */
  | { readonly type: 'notice'; readonly notice: Notice }
  /** Send a `tick` at this time, unless another `wake` comes first. */
  | { readonly type: 'wake'; readonly atMs: number };

/** What the scheduler noticed about the fleet or an action. */
export type Notice =
  | { readonly kind: 'action-quarantined'; readonly key: ActionKey; readonly text: string }
  | { readonly kind: 'node-isolated'; readonly node: string; readonly text: string }
  | { readonly kind: 'hedge-started' | 'retried-on-larger'; readonly key: ActionKey; readonly text: string }
  /** Work of a former server that goes on, and such work that was told to stop because nobody asked for it. */
  | { readonly kind: 'adopted' | 'orphan-stopped'; readonly slot: string; readonly text: string };

/**
 * Decides which slot runs what. No promises, no clock, no randomness, no I/O, no logging:
 * equal events at equal times give equal effects, which is what makes a seed reproduce a failure.
 * Ties are broken by arrival number, never by map order or hash.
 */
export interface Scheduler<Work, Result> {
  /** `nowMs` never decreases. Expiries due by `nowMs` happen before `event`. */
  apply(event: SchedulerEvent<Work, Result>, nowMs: number): readonly Effect<Work, Result>[];
}
