/** What a `digest-mismatch` or `missing-inputs` error is about, without importing the digest module: errors import nothing. */
export interface DigestFact {
  /** Lower-case name of the digest function, for example `sha256`. */
  readonly function: string;
  /** Lower-case hex. */
  readonly hash: string;
  readonly sizeBytes: number;
}

/**
 * The closed set of failures. `src/rpc/status.ts` is the only place that maps a kind to a gRPC code;
 * every kind has a named test there.
 */
export type ErrorKind =
  /** The request breaks a rule of the protocol, or a limit that will never allow it. */
  | 'invalid-argument'
  /** An offset outside the blob (R-BS-11). */
  | 'out-of-range'
  /** Bytes that are not the message the method takes. INTERNAL, as gRPC stacks answer it (R-XC-13), but no fault of ours. */
  | 'undecodable'
  /** Bytes do not have the digest they were sent under (R-CAS-09). */
  | 'digest-mismatch'
  /** A blob or message above a configured size limit (R-CAS-13). */
  | 'too-large'
  | 'unauthenticated'
  | 'denied'
  | 'blob-not-found'
  | 'operation-not-found'
  | 'result-not-found'
  /** A named thing that is none of the above (a health service, a file of the descriptor set). */
  | 'not-found'
  /** Blobs an action needs are absent; `missing` lists them (R-EX-40). */
  | 'missing-inputs'
  /** A state in which the request cannot be served, and which the client must mend first (R-AC-07). */
  | 'precondition'
  /** No worker can ever run it (R-EX, section 5.3). */
  | 'no-such-platform'
  | 'quota-exceeded'
  | 'queue-full'
  | 'unavailable'
  | 'timed-out'
  | 'cancelled'
  | 'data-loss'
  | 'unimplemented'
  /** A fault of ours or of a worker, which is not a bug in this call's code path (a worker lost too often). */
  | 'internal';

/** The facts of a failure; which are set depends on the kind. */
export interface ErrorFacts {
  /** The field of the request that is wrong. */
  readonly field?: string;
  readonly expected?: DigestFact;
  readonly actual?: DigestFact;
  /** Blobs the caller has to upload, each at most once (R-EX-43). */
  readonly missing?: readonly DigestFact[];
  /** When trying again makes sense, in milliseconds. Becomes `RetryInfo`. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** Kinds that mean something went wrong on our side. The others are answers like any other, made by the thousand. */
const TRACED: ReadonlySet<ErrorKind> = new Set(['internal', 'data-loss', 'unavailable']);

/** The one error class of the project. Core code throws it; foreign errors are converted where they are caught first. */
export class ReapiError extends Error {
  readonly kind: ErrorKind;
  readonly facts: ErrorFacts;

  /** @param message for people; it reaches clients, so it never holds secrets or paths of the server. */
  constructor(kind: ErrorKind, message: string, facts: ErrorFacts = {}) {
    const depth = Error.stackTraceLimit;
    if (!TRACED.has(kind)) Error.stackTraceLimit = 0;
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    Error.stackTraceLimit = depth;
    this.name = 'ReapiError';
    this.kind = kind;
    this.facts = facts;
  }

  /** Adds context on the way up, keeping kind and facts: `reading the Action: …`. */
  static wrap(error: unknown, context: string): ReapiError {
    if (error instanceof ReapiError) {
      return new ReapiError(error.kind, `${context}: ${error.message}`, { ...error.facts, cause: error });
    }
    return new ReapiError('internal', context, { cause: error });
  }
}

/** Whether `error` is a `ReapiError` of that kind. */
export function isKind(error: unknown, kind: ErrorKind): error is ReapiError {
  return error instanceof ReapiError && error.kind === kind;
}

/** Node's `errno` name (`ENOENT`, `ENOSPC` …) of a system error, or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** Throws `cancelled` if the signal is aborted. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason });
}

/** A broken assumption of ours. Not a `ReapiError`: it becomes INTERNAL for that call and is logged as a bug. */
export class BugError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BugError';
  }
}

/** Asserts a law of our own code, in production as well. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new BugError(message);
}
