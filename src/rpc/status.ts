import { digestPath } from '../digest/digest.ts';
import { type ErrorKind, ReapiError } from '../errors.ts';
import type { Any } from '../gen/google/protobuf/any.ts';
import { Code } from '../gen/google/rpc/code.ts';
import { BadRequest, PreconditionFailure, RetryInfo } from '../gen/google/rpc/error_details.ts';
import { Status } from '../gen/google/rpc/status.ts';
import { packAny } from './any.ts';

/** The only place that knows gRPC codes (architecture, section 6). The golden test beside it pins this table. */
const CODES: Readonly<Record<ErrorKind, Code>> = {
  'invalid-argument': Code.INVALID_ARGUMENT,
  'out-of-range': Code.OUT_OF_RANGE,
  undecodable: Code.INTERNAL,
  'digest-mismatch': Code.INVALID_ARGUMENT,
  'too-large': Code.INVALID_ARGUMENT,
  unauthenticated: Code.UNAUTHENTICATED,
  denied: Code.PERMISSION_DENIED,
  'blob-not-found': Code.NOT_FOUND,
  'operation-not-found': Code.NOT_FOUND,
  'result-not-found': Code.NOT_FOUND,
  'not-found': Code.NOT_FOUND,
  'missing-inputs': Code.FAILED_PRECONDITION,
  precondition: Code.FAILED_PRECONDITION,
  'no-such-platform': Code.FAILED_PRECONDITION,
  'quota-exceeded': Code.RESOURCE_EXHAUSTED,
  'queue-full': Code.UNAVAILABLE,
  unavailable: Code.UNAVAILABLE,
  'timed-out': Code.DEADLINE_EXCEEDED,
  cancelled: Code.CANCELLED,
  'data-loss': Code.DATA_LOSS,
  unimplemented: Code.UNIMPLEMENTED,
  internal: Code.INTERNAL,
};

/** The kind a peer's status code stands for, where we are the client. */
const KINDS: Readonly<Partial<Record<Code, ErrorKind>>> = {
  [Code.CANCELLED]: 'cancelled',
  [Code.INVALID_ARGUMENT]: 'invalid-argument',
  [Code.DEADLINE_EXCEEDED]: 'timed-out',
  [Code.NOT_FOUND]: 'not-found',
  [Code.PERMISSION_DENIED]: 'denied',
  [Code.RESOURCE_EXHAUSTED]: 'quota-exceeded',
  [Code.FAILED_PRECONDITION]: 'precondition',
  [Code.OUT_OF_RANGE]: 'out-of-range',
  [Code.UNIMPLEMENTED]: 'unimplemented',
  [Code.UNAVAILABLE]: 'unavailable',
  [Code.DATA_LOSS]: 'data-loss',
  [Code.UNAUTHENTICATED]: 'unauthenticated',
};

/**
 * Longest message that goes on the wire, in characters; in trailers, of the percent-encoded form: they have to pass
 * proxies with 8 KiB limits (R-EX-43).
 */
export const MAX_MESSAGE_LENGTH = 2048;

/** Most `MISSING` violations in one status inside a response message; beyond it the client learns of them next time. */
export const MAX_VIOLATIONS = 10_000;

/** Most bytes of details in trailers; details that do not fit are cut, violations from the end (R-EX-43). */
export const MAX_TRAILER_DETAIL_BYTES = 4096;

/**
 * The status that says `error`. Anything that is no `ReapiError` is a bug of ours: INTERNAL, with nothing of the
 * cause in it.
 */
export function toWireStatus(error: unknown): Status {
  if (!(error instanceof ReapiError)) {
    return { code: Code.INTERNAL, message: 'internal error; the server log has the cause', details: [] };
  }
  return {
    code: CODES[error.kind],
    message: cut(error.message),
    details: detailsOf(error, MAX_VIOLATIONS),
  };
}

/** The same, small enough for trailers: fewer violations, or none of the details if they still do not fit. */
export function toTrailerStatus(error: unknown): Status {
  const wire = toWireStatus(error);
  const full = { ...wire, message: cutEncoded(wire.message) };
  if (encodedSize(full) <= MAX_TRAILER_DETAIL_BYTES) return full;
  for (let most = 32; most >= 1 && error instanceof ReapiError; most = Math.floor(most / 2)) {
    const shorter = { ...full, details: detailsOf(error, most) };
    if (encodedSize(shorter) <= MAX_TRAILER_DETAIL_BYTES) return shorter;
  }
  return { ...full, details: [] };
}

/** The error a status stands for, where we are the client. Code OK has none. */
export function fromWireStatus(code: number, message: string, cause?: unknown): ReapiError {
  return new ReapiError(KINDS[code as Code] ?? 'internal', message, cause === undefined ? {} : { cause });
}

/** The kind a status code stands for, where it was reported by a worker. */
export function kindOfCode(code: number): ErrorKind {
  return KINDS[code as Code] ?? 'internal';
}

/** Whether this failure deserves a log line of its own: it is a fault of ours, or data is damaged. */
export function isOurFault(error: unknown): boolean {
  if (!(error instanceof ReapiError)) return true;
  return error.kind === 'internal' || error.kind === 'data-loss';
}

function detailsOf(error: ReapiError, maxViolations: number): Any[] {
  const { missing, retryAfterMs, field } = error.facts;
  if (error.kind === 'missing-inputs' && missing !== undefined && missing.length > 0) {
    // Only MISSING, and nothing beside it, or Bazel gives up (R-EX-41, R-EX-42).
    return [missingDetail(missing.slice(0, maxViolations).map((digest) => `blobs/${digestPath(digest)}`))];
  }
  const details: Any[] = [];
  if (CODES[error.kind] === Code.INVALID_ARGUMENT && field !== undefined) {
    const violations = { fieldViolations: [{ field, description: cut(error.message) }] };
    const bytes = BadRequest.encode(BadRequest.fromPartial(violations)).finish();
    details.push(packAny('google.rpc.BadRequest', bytes));
  }
  if (retryAfterMs !== undefined) details.push(retryDetail(retryAfterMs));
  return details;
}

function missingDetail(subjects: readonly string[]): Any {
  const violations = subjects.map((subject) => ({ type: 'MISSING', subject, description: '' }));
  return packAny('google.rpc.PreconditionFailure', PreconditionFailure.encode({ violations }).finish());
}

function retryDetail(retryAfterMs: number): Any {
  const wholeMs = Math.ceil(retryAfterMs);
  const retryDelay = { seconds: BigInt(Math.floor(wholeMs / 1000)), nanos: (wholeMs % 1000) * 1e6 };
  return packAny('google.rpc.RetryInfo', RetryInfo.encode({ retryDelay }).finish());
}

function encodedSize(status: Status): number {
  return Status.encode(status).finish().length;
}

/** Lone surrogates would break the percent-encoding of `grpc-message`. */
function cut(message: string): string {
  const whole = message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH)}…` : message;
  return whole.toWellFormed();
}

/** The longest beginning whose percent-encoded form, as `grpc-message` carries it, is not too long. */
function cutEncoded(message: string): string {
  if (encodeURI(message).length <= MAX_MESSAGE_LENGTH) return message;
  let room = MAX_MESSAGE_LENGTH - encodeURI('…').length;
  let kept = '';
  for (const char of message) {
    room -= encodeURI(char).length;
    if (room < 0) break;
    kept += char;
  }
  return `${kept}…`;
}
