import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { CallFailed, codeName, type Streamed } from './endpoint.ts';

/** Passes if the call fails with one of `codes`. */
export async function expectFailure(call: Promise<unknown>, ...codes: readonly status[]): Promise<CallFailed> {
  const names = codes.map(codeName).join(' or ');
  try {
    await call;
  } catch (cause) {
    if (!(cause instanceof CallFailed)) throw cause;
    assert.ok(codes.includes(cause.end.code), `expected ${names}, got ${cause.message}`);
    return cause;
  }
  throw new assert.AssertionError({ message: `expected ${names}, got OK` });
}

/** Passes if the stream ended with one of `codes`. */
export function expectEnd<S>(streamed: Streamed<S>, ...codes: readonly status[]): void {
  const names = codes.map(codeName).join(' or ');
  assert.ok(
    codes.includes(streamed.end.code),
    `expected ${names}, got ${codeName(streamed.end.code)}: ${streamed.end.message}`,
  );
}

/** Passes if an execution was refused with one of `codes`. */
export function expectRefusal(
  refused: { readonly code: number; readonly message: string },
  ...codes: readonly status[]
) {
  const names = codes.map(codeName).join(' or ');
  assert.ok(codes.includes(refused.code), `expected ${names}, got ${codeName(refused.code)}: ${refused.message}`);
}

/** The one message of a stream that ended with OK. */
export function onlyMessage<S>(streamed: Streamed<S>): S {
  expectEnd(streamed, status.OK);
  const [message] = streamed.messages;
  assert.ok(message !== undefined && streamed.messages.length === 1, `${streamed.messages.length} messages`);
  return message;
}

/** Passes if the bytes are the same. They are not shown: formatting the difference of large blobs is costly. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  const same = Buffer.from(actual).equals(expected);
  assert.ok(same, `expected ${expected.length} bytes, got ${actual.length} bytes that are not these`);
}

/** `value`, which must be there. */
export function present<T>(value: T | undefined, what: string): T {
  assert.ok(value !== undefined, `${what} is not set`);
  return value;
}
