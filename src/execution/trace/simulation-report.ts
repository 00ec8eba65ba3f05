import type { InstanceName } from '../../digest/instance-name.ts';
import type { WorkerOffer } from '../../platform/platform.ts';

/** What came of playing a trace. Times are milliseconds of simulated time since the start of the trace. */
export interface SimulationReport {
  /** From the first arrival to the last end. */
  readonly makespanMs: number;
  readonly actions: number;
  /** Ended without a result. */
  readonly failed: number;
  /** By their clients. */
  readonly cancelled: number;
  /** Had not ended when nothing could happen any more: work for which there are no workers. */
  readonly unfinished: number;
  /** Times an action was started. */
  readonly attempts: number;
  /** Of these, those that were not the first of their task. */
  readonly retries: number;
  /** Of all actions: from the arrival to the start. */
  readonly wait: WaitFigures;
  /** In the order in which they came. */
  readonly invocations: readonly InvocationReport[];
  readonly pools: readonly PoolReport[];
  /** Width of the bins of `PoolReport.lanes`. */
  readonly binMs: number;
}

/** Waiting times. */
export interface WaitFigures {
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

/** One run of a build tool. */
export interface InvocationReport {
  /** Its innermost share; empty for actions of which nobody said whose they are. */
  readonly id: string;
  readonly actions: number;
  readonly firstMs: number;
  /** Its last end. */
  readonly finishedMs: number;
  readonly wait: WaitFigures;
  /** Longest time in which it had something queued and nothing running: long ones are starvation. */
  readonly longestUnservedMs: number;
}

/** Slots that offer the same. */
export interface PoolReport {
  readonly offer: WorkerOffer;
  readonly prefix: InstanceName;
  readonly maxSlots: number;
  readonly maxQueued: number;
  /** Slot time that was used, of what there was, during the makespan: 0 to 1. */
  readonly utilisation: number;
  /** Means by bin of the makespan: slots there were, slots that ran something, and actions that waited and could have run here. */
  readonly lanes: {
    readonly slots: readonly number[];
    readonly busy: readonly number[];
    readonly queued: readonly number[];
  };
}
