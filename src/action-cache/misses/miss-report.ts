import type { Digest } from '../../digest/digest.ts';
import type { DigestFact } from '../../errors.ts';
import type { Miss } from './miss.ts';

/** The part of an action in which two actions differ. */
export type DifferencePart =
  | 'arguments'
  | 'environment'
  | 'platform'
  | 'working-directory'
  | 'output-paths'
  | 'output-format'
  | 'timeout'
  | 'do-not-cache'
  | 'salt'
  | 'inputs';

/** One difference. Added if it has no `before`, removed if it has no `after`. Values are cut to a readable length. */
export interface Difference {
  readonly part: DifferencePart;
  /** Index of the argument, name of the variable or property, path of the input or output; empty for single values. */
  readonly name: string;
  readonly before?: string;
  readonly after?: string;
}

/** A blob that is needed for the comparison and is not there any more, or is not readable. */
export interface UnavailablePart {
  readonly side: 'before' | 'after';
  /** `Action`, `Command`, or `Directory` and its path. */
  readonly what: string;
  readonly blob: DigestFact;
}

/** What differs between two actions. Equal actions have no differences. */
export interface ActionDifference {
  /** In the order of `DifferencePart`; within a part by name. */
  readonly differences: readonly Difference[];
  /** Parts with more differences than are listed; how many more, at least. */
  readonly more: readonly { readonly part: DifferencePart; readonly count: number }[];
  readonly unavailable: readonly UnavailablePart[];
}

/** An earlier action to compare with. */
export interface PreviousAction {
  readonly action: DigestFact;
  readonly instance: string;
  /** Wall-clock milliseconds at which it was last seen. */
  readonly seenMs: number;
  /** How it was chosen among those of the same target and mnemonic: its outputs are the same, or it is just the latest. */
  readonly match: 'same-outputs' | 'same-target';
  readonly difference: ActionDifference;
}

/** What the build tool said of the action; strings are empty if it did not. */
export interface MissOrigin {
  readonly targetId: string;
  readonly mnemonic: string;
  readonly configurationId: string;
  readonly invocationId: string;
}

/** Why an action was not answered from the cache. Plain data: it survives JSON unchanged. Times are wall-clock milliseconds. */
export interface MissReport {
  readonly action: DigestFact;
  readonly instance: string;
  /** The last miss; absent if none is known and a result is there now. */
  readonly miss?: Miss;
  /** When that was; absent if nobody has asked for the action as far as is known: then `miss` says what asking now gives. */
  readonly missedMs?: number;
  /** Whether a complete result is there now. */
  readonly isCached: boolean;
  /** When its result was last stored, as far as is known. */
  readonly storedMs?: number;
  readonly origin?: MissOrigin;
  readonly previous?: PreviousAction;
  /** How far the history reaches: since when, and how many actions of how many it holds. */
  readonly history: { readonly sinceMs: number; readonly actions: number; readonly maxActions: number };
}

/** Which action to explain. */
export interface MissQuery {
  /** Absent: the instance under which the action was last seen, else the empty one. */
  readonly instance?: string;
  readonly digest: Digest;
}

/** Explains misses. */
export interface MissExplainer {
  /** @throws invalid-argument for a malformed instance name; unavailable; cancelled. An unknown action is no error. */
  explain(query: MissQuery, signal: AbortSignal): Promise<MissReport>;
}
