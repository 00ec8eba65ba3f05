import { BugError, ReapiError, systemCode } from '../../errors.ts';
import { isKnownCode, meaningOf } from './s3-error-meanings.ts';

/** What failed, for the message. */
export interface S3Call {
  readonly bucket: string;
  /** In words: `reading an object`. */
  readonly doing: string;
}

/** A failure as callers see it, and what those who try again must know. */
export interface S3Failure {
  readonly error: Error;
  /** The code of S3 or of the operating system, for counting. */
  readonly code: string;
  /** Whether the same request may succeed soon. */
  readonly isTransient: boolean;
  /** The server asks for fewer requests. */
  readonly isThrottling: boolean;
}

/** Codes of the SDK for answers without one. */
const NAMELESS = new Set([
  'Error',
  'Unknown',
  'UnknownError',
  'NotFound',
  'Forbidden',
  'BadRequest',
  'S3ServiceException',
]);

/**
 * Turns whatever the SDK, the network or the credential chain throws into an error of ours: the only place that knows theirs.
 * Errors of ours stay as they are. The caller looks at its signal first: after an abort anything may be thrown.
 */
export function failureOf(error: unknown, call: S3Call): S3Failure {
  if (error instanceof ReapiError || error instanceof BugError) {
    return {
      error,
      code: error instanceof ReapiError ? error.kind : error.name,
      isTransient: false,
      isThrottling: false,
    };
  }
  const { status, requestId, isSkewCorrected } = answerOf(error);
  const code = codeOf(error, status);
  const meaning = meaningOf(code, status);
  const facts = [call.doing, code];
  if (status !== undefined) facts.push(`HTTP ${status}`);
  if (requestId !== undefined) facts.push(`request ${requestId}`);
  const message = `S3: ${meaning.text.replace('$bucket', () => call.bucket)} (${facts.join(', ')})`;
  const retry = meaning.retryAfterMs === undefined ? {} : { retryAfterMs: meaning.retryAfterMs };
  return {
    error: new ReapiError(meaning.kind, message, { ...retry, cause: error }),
    code,
    isTransient: meaning.isTransient === true || isSkewCorrected,
    isThrottling: meaning.isThrottling === true,
  };
}

/** The error of an attempt that was given up because nothing came for too long. */
export function timeoutError(timeoutMs: number): Error {
  return Object.assign(new Error(`nothing came within ${timeoutMs} ms`), { name: 'TimeoutError' });
}

/** The error of one object out of many, which the answer to a request names. */
export function partialError(code = 'InternalError'): Error {
  return Object.assign(new Error('not all objects could be deleted'), { name: code });
}

/** Whether a server cannot delete many objects by one request. Old ones want a sum by MD5, which the SDK no longer sends. */
export function lacksBulkDelete(error: unknown): boolean {
  return error instanceof Error && ['NotImplemented', 'MethodNotAllowed', 'MissingContentMD5'].includes(error.name);
}

/**
 * S3's code is the name of the error; the network's is in `code`, and comes first since the SDK names some of those `TimeoutError`.
 * A name that is only a class says less than the status.
 */
function codeOf(error: unknown, status: number | undefined): string {
  if (!(error instanceof Error)) return 'Unknown';
  const system = systemCode(error);
  if (system !== undefined && (isKnownCode(system) || !isKnownCode(error.name))) return system;
  return status !== undefined && NAMELESS.has(error.name) ? `HTTP${status}` : error.name;
}

/** What the SDK attaches to errors that came with an answer. */
function answerOf(error: unknown): { status?: number; requestId?: string; isSkewCorrected: boolean } {
  const metadata = field(error, '$metadata');
  const status = field(metadata, 'httpStatusCode');
  const requestId = field(metadata, 'requestId');
  return {
    ...(typeof status === 'number' ? { status } : {}),
    ...(typeof requestId === 'string' ? { requestId } : {}),
    isSkewCorrected: field(metadata, 'clockSkewCorrected') === true,
  };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
