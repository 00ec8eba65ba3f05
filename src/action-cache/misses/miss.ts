import { type DigestFact, type ErrorKind, ReapiError } from '../../errors.ts';

/** What a blob is to an action result. `path` is the output's path in the result, relative to the working directory. */
export type BlobRole =
  | { readonly kind: 'stdout' | 'stderr' }
  | { readonly kind: 'output-file'; readonly path: string }
  /** The Tree message of an output directory. */
  | { readonly kind: 'tree'; readonly path: string }
  /** A file in an output directory with that Tree; `within` is its path there, if that could be found out. */
  | { readonly kind: 'tree-file'; readonly path: string; readonly tree: DigestFact; readonly within?: string }
  /** A Directory message, or a file, below the root Directory of an output directory. */
  | { readonly kind: 'root-directory'; readonly path: string };

/** Why a store has no usable result. What became of an absent one is the history's to say. */
export type StoreMiss =
  | { readonly reason: 'absent' }
  /** Older than results may become; stored at `writtenMs` of the wall clock. */
  | { readonly reason: 'expired'; readonly writtenMs: number; readonly maxAgeMs: number }
  /** Something it refers to is gone; the first such blob, and how many there are, as far as was looked. */
  | { readonly reason: 'incomplete'; readonly blob: DigestFact; readonly role: BlobRole; readonly absent: number }
  /** The entry, a Tree or a Directory of it cannot be read back; `what` says which. */
  | { readonly reason: 'damaged'; readonly what: string }
  /** Its output directories are beyond what a completeness check may read. */
  | { readonly reason: 'too-large'; readonly what: string };

/** Why the result of an execution was not stored. */
export type NotCachedCause =
  /** The command failed (R-AC-12). */
  | { readonly kind: 'exit-code'; readonly exitCode: number }
  | { readonly kind: 'do-not-cache' }
  /** The result itself is larger than what is stored. */
  | { readonly kind: 'too-large' }
  /** The store had no room that it may free. */
  | { readonly kind: 'store-refused' }
  | { readonly kind: 'store-failed' }
  /** The command ran longer than it may. */
  | { readonly kind: 'timed-out' }
  /** Nobody waited for it any more. */
  | { readonly kind: 'cancelled' }
  /** Too much waited already, or nobody offers its platform. */
  | { readonly kind: 'not-queued' }
  /** The worker could not run it, or was lost. */
  | { readonly kind: 'worker-failed' }
  /** The result, or the request to run it, was not valid; missing inputs, for one. */
  | { readonly kind: 'invalid' };

/** Why an action ran although a result may be there: nobody asked, or the result is of a command that failed (R-EX-14). */
export type SkipCause = 'skip-cache-lookup' | 'do-not-cache' | 'failed-result';

/** Why an action had to run although it was looked up. Times are milliseconds of the wall clock. */
export type Miss =
  | Exclude<StoreMiss, { readonly reason: 'absent' }>
  /** No result of it was stored, as far as the history goes back. */
  | { readonly reason: 'never-seen' }
  /** The same action has a result under another instance name. */
  | { readonly reason: 'other-instance'; readonly instance: string; readonly atMs: number }
  /** The same hash, or the previous action of the same target, was stored under another digest function. */
  | { readonly reason: 'other-function'; readonly function: string; readonly atMs: number }
  /** Removed to make room; `ageSeconds` since its last use then. */
  | { readonly reason: 'evicted'; readonly atMs: number; readonly ageSeconds: number }
  /** It ran, but its result was not stored. */
  | { readonly reason: 'not-cached'; readonly because: NotCachedCause; readonly atMs: number }
  /** An operator removed it. */
  | { readonly reason: 'removed'; readonly atMs: number }
  /** It was there at `seenMs`, and is gone although nothing is known of an eviction. */
  | { readonly reason: 'lost'; readonly seenMs: number }
  /** The cache was passed by. */
  | { readonly reason: 'skipped'; readonly because: SkipCause };

/** The word for a miss: a label of metrics and a field of logs. */
export type MissReason = Miss['reason'];

type PlainCause = Exclude<NotCachedCause, { readonly kind: 'exit-code' }>;

/** Causes by the kind of error that ended an execution, or the storing of its result. */
const CAUSES: Readonly<Partial<Record<ErrorKind, PlainCause>>> = {
  'invalid-argument': { kind: 'invalid' },
  'digest-mismatch': { kind: 'invalid' },
  'missing-inputs': { kind: 'invalid' },
  'no-such-platform': { kind: 'not-queued' },
  'queue-full': { kind: 'not-queued' },
  'too-large': { kind: 'too-large' },
  'quota-exceeded': { kind: 'store-refused' },
  'timed-out': { kind: 'timed-out' },
  cancelled: { kind: 'cancelled' },
};

/** Why a result was not stored, by what storing it met. */
export function storeCauseOf(error: unknown): NotCachedCause {
  return (error instanceof ReapiError ? CAUSES[error.kind] : undefined) ?? { kind: 'store-failed' };
}

/** Why there is no result to store, by the kind of error that the execution ended with. */
export function executionCauseOf(kind: ErrorKind): NotCachedCause {
  return CAUSES[kind] ?? { kind: 'worker-failed' };
}
