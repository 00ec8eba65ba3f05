import { type ErrorKind, isKind } from '../../src/errors.ts';

/** For `assert.rejects`: the error is a `ReapiError` of that kind. */
export function ofKind(kind: ErrorKind): (error: unknown) => boolean {
  return (error) => isKind(error, kind);
}

/** A signal that never aborts. */
export function noAbort(): AbortSignal {
  return new AbortController().signal;
}
