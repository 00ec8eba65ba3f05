import type { ActionKey } from '../../digest/action-key.ts';
import type { Digest } from '../../digest/digest.ts';
import type { InstanceName } from '../../digest/instance-name.ts';
import type { ReapiError } from '../../errors.ts';
import type { Requirement, WorkerOffer } from '../../platform/platform.ts';

/**
 * Vocabulary of the scheduler. An *operation* is one client's handle, a *task* one unit of work for an action (many
 * operations may wait for one task), a *lease* one attempt of a task on one slot. `Work` is what a slot needs to run
 * a task and `Result` what it reports; both are opaque to the scheduler.
 */
export type SchedulerEvent<Work, Result> =
  | {
      readonly type: 'submit';
      readonly operation: string;
      readonly key: ActionKey;
      readonly needs: Requirement;
      /** Lower runs sooner; 0 is the default (R-EX-24). */
      readonly priority: number;
      readonly merge: MergePolicy;
      readonly work: Work;
    }
  /** The last stream of this operation has gone. Another `attach` in time keeps it. */
  | { readonly type: 'detach'; readonly operation: string }
  /** A stream waits for this operation (again). */
  | { readonly type: 'attach'; readonly operation: string }
  | { readonly type: 'cancel'; readonly operation: string }
  | {
      readonly type: 'sync';
      readonly slot: string;
      readonly node: string;
      readonly offer: WorkerOffer;
      readonly instancePrefix: InstanceName;
      /** Wants nothing new: it is about to stop, or unwell (R-BB-10). */
      readonly prefersIdle: boolean;
      readonly holding?: LeaseReport<Result>;
    }
  /** The long poll of this slot was answered without work: until its next `sync` no orders can reach it. */
  | { readonly type: 'answered'; readonly slot: string }
  /** The slot's connection ended in an orderly way: nothing more will come of it. */
  | { readonly type: 'leave'; readonly slot: string }
  /** Always follows `record`, within a deadline; a failed write still finishes the operation, with the cause. */
  | { readonly type: 'recorded'; readonly lease: string; readonly failed?: ReapiError }
  | { readonly type: 'drain'; readonly node: string; readonly on: boolean }
  | { readonly type: 'tick' };

/**
 * Which running task a newcomer may share. `never`: do_not_cache. `fresh`: skip_cache_lookup, so only a
 * task whose result cannot have been visible yet, that is, not one being recorded. `any`: all others (R-EX-15, R-EX-16).
 */
export type MergePolicy = 'any' | 'fresh' | 'never';

/** What a slot says it holds. A plain bb_worker knows only the action digest; ours reports the lease as well. */
export interface LeaseReport<Result> {
  readonly action: Digest;
  readonly lease?: string;
  /** Set once the attempt is over. */
  readonly completed?: Completion<Result>;
}

/** How an attempt ended, as far as the scheduler cares. */
export interface Completion<Result> {
  readonly result: Result;
  /** The worker's own fault rather than the action's: another attempt may do better. */
  readonly isWorkerFault: boolean;
}

/** What a slot should be running. */
export interface LeaseOrder<Work> {
  readonly lease: string;
  readonly key: ActionKey;
  /** 1 for the first attempt of the task. */
  readonly attempt: number;
  /** When the task was first queued, in the scheduler's milliseconds. */
  readonly queuedAtMs: number;
  readonly work: Work;
}

/** How a task ended, for all its operations. */
export type Outcome<Result> =
  | { readonly type: 'result'; readonly result: Result; readonly recordFailed?: ReapiError }
  | { readonly type: 'failed'; readonly error: ReapiError };

/** What the host has to do, in this order, after an event. */
export type Effect<Work, Result> =
  /**
   * What this slot should hold from now on (nothing, or one lease): the whole truth, not a difference; repeated on every sync.
   * `waits`: there is nothing to do and the answer may be kept back, as a long poll, until orders with `hold` follow
   * for this slot (R-BB-02); otherwise answer at once.
   */
  | { readonly type: 'orders'; readonly slot: string; readonly hold?: LeaseOrder<Work>; readonly waits: boolean }
  /** Keep this result, then answer with `recorded`; until then the task still accepts newcomers with `any`. */
  | {
      readonly type: 'record';
      readonly lease: string;
      readonly key: ActionKey;
      readonly work: Work;
      readonly result: Result;
    }
  /** `message` says why it waits, when it is not simply its turn. */
  | {
      readonly type: 'stage';
      readonly operation: string;
      readonly stage: 'queued' | 'executing';
      readonly message?: string;
    }
  | { readonly type: 'finish'; readonly operation: string; readonly outcome: Outcome<Result> }
  /** Send a `tick` at this time, unless another `wake` comes first. */
  | { readonly type: 'wake'; readonly atMs: number };

/**
 * Decides which slot runs what. No promises, no clock, no randomness, no I/O, no logging:
 * equal events at equal times give equal effects, which is what makes a seed reproduce a failure.
 * Ties are broken by arrival number, never by map order or hash.
 */
export interface Scheduler<Work, Result> {
  /** `nowMs` never decreases. Expiries due by `nowMs` happen before `event`. */
  apply(event: SchedulerEvent<Work, Result>, nowMs: number): readonly Effect<Work, Result>[];
}
