import { cutText } from '../../action-cache/misses/cut-text.ts';
import type { AttemptRecord } from '../scheduler/events.ts';

/** One attempt to run the action of an operation, as it is kept with a finished operation. Times are wall time. */
export interface Attempt {
  /** 1 for the first. */
  readonly attempt: number;
  readonly slot: string;
  readonly node: string;
  readonly startedAtMs: number;
  /** Unset if it was still running when the operation ended, as for a cancelled one. */
  readonly end?: {
    readonly atMs: number;
    /** One of `AttemptEnd.how`; a text, as a stored one may be of another version. */
    readonly how: string;
    readonly cause: string;
  };
}

/** Attempts kept with an operation, the newest ones: more than the limits of retries together. */
const MAX_ATTEMPTS = 32;

/** Longest cause in characters. */
const MAX_CAUSE_LENGTH = 512;

/** The scheduler's attempts as they are kept. @param wallMs wall time of a time of the scheduler. */
export function attemptsOf(records: readonly AttemptRecord[], wallMs: (atMs: number) => number): readonly Attempt[] {
  return records.slice(-MAX_ATTEMPTS).map(({ attempt, slot, node, startedAtMs, end }) => ({
    ...{ attempt, slot, node, startedAtMs: wallMs(startedAtMs) },
    ...(end && { end: { atMs: wallMs(end.atMs), how: end.how, cause: cutText(end.cause, MAX_CAUSE_LENGTH) } }),
  }));
}
