import type { InstanceName } from '../../digest/instance-name.ts';
import type { Requirement, WorkerOffer } from '../../platform/platform.ts';
import type { AttemptEnd, MergePolicy, ShareKey } from '../scheduler/events.ts';

/** What a scheduler was told over some time, as it is read from a file or made by a generator. Times are milliseconds since its start. */
export interface Trace {
  /** Wall time, milliseconds since the Unix epoch. */
  readonly startedAtMs: number;
  /** In the order of time, by which they are numbered. */
  readonly arrivals: readonly Arrival[];
  /** In the order of time. */
  readonly slots: readonly SlotChange[];
  /** The file ends in the middle of a record: its server was killed, or still writes. */
  readonly isTruncated: boolean;
  /** The file has more arrivals than can be played: this is what was before the first of those. Absent: it has not. */
  readonly isPartial?: boolean;
}

/** A client asked for an action. */
export interface Arrival {
  readonly atMs: number;
  /** The first 8 bytes of the Action's hash, in hex: equal for equal actions. */
  readonly key: string;
  readonly instance: InstanceName;
  readonly needs: Requirement;
  readonly priority: number;
  readonly merge: MergePolicy;
  /** From the outermost to the innermost. */
  readonly shares: readonly ShareKey[];
  /** Kind of the action as its client calls it; empty if unknown. */
  readonly mnemonic: string;
  readonly expectedMs?: number;
  readonly sizeClass?: number;
  /** Of its largest inputs. */
  readonly inputBytes: number;
  /** For made traces: numbers of the arrivals that must finish first. */
  readonly after?: readonly number[];
  /** Since the last of `after` finished; default 0. */
  readonly delayMs?: number;
  /** For made traces: how long it runs. */
  readonly runMs?: number;
  /** Unset if the trace ends before it does. */
  readonly finish?: ArrivalFinish;
}

/** How an operation ended for its client. */
export interface ArrivalFinish {
  readonly atMs: number;
  readonly how: 'result' | 'failed' | 'cancelled';
  /** Of its task; empty where another operation that waited for the same task has them. */
  readonly attempts: readonly TracedAttempt[];
}

/** One attempt that ended. */
export interface TracedAttempt {
  readonly slot: string;
  /** Of the offer of its slot; 0 if there was none. */
  readonly sizeClass: number;
  readonly startedAtMs: number;
  /** How long it held its slot. */
  readonly heldMs: number;
  readonly how: AttemptEnd['how'];
}

/** A slot came, became another, or went. */
export type SlotChange =
  | ({ readonly type: 'there'; readonly atMs: number } & SlotFacts)
  /** `isLost`: it took what it ran with it. */
  | { readonly type: 'left'; readonly atMs: number; readonly slot: string; readonly isLost: boolean };

/** What a slot is. */
export interface SlotFacts {
  readonly slot: string;
  readonly node: string;
  readonly offer: WorkerOffer;
  readonly prefix: InstanceName;
}
