import { type DigestFact, ReapiError } from '../errors.ts';
import type { Digest as WireDigest } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type DigestFunction,
  digestFunctionNamed,
  emptyHash,
  hexLength,
  needsFunctionSegment,
} from './digest-function.ts';

const LOWER_HEX = /^[0-9a-f]+$/;
const CANONICAL_SIZE = /^(0|[1-9]\d{0,15})$/;

/** The address of a blob: function, hash and size. All three are its identity (R-DIG-02, R-DIG-04). Immutable. */
export interface Digest {
  readonly function: DigestFunction;
  /** Lower-case hex, full length (R-DIG-01). */
  readonly hash: string;
  /** A whole number from 0 to 2^53 − 1. */
  readonly sizeBytes: number;
}

/**
 * Checks hash and size and makes a digest of them.
 * @throws invalid-argument: wrong length, upper case, other characters, negative or absurd size (R-DIG-01, R-DIG-02).
 */
export function parseDigest(fn: DigestFunction, hash: string, sizeBytes: number | bigint): Digest {
  if (hash.length !== hexLength(fn) || !LOWER_HEX.test(hash)) {
    throw new ReapiError('invalid-argument', `"${printable(hash)}" is not a ${fn} hash in lower-case hex`, {
      field: 'digest.hash',
    });
  }
  const size = Number(sizeBytes);
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new ReapiError('invalid-argument', `${sizeBytes} is not a blob size`, { field: 'digest.size_bytes' });
  }
  return { function: fn, hash, sizeBytes: size };
}

/** By byte: 0 for the characters of lower-case hex, else 1. */
const NOT_HEX = new Uint8Array(256).fill(1);
for (const char of '0123456789abcdef') NOT_HEX[char.charCodeAt(0)] = 0;

/** Whether a range of bytes is lower-case hex. Half the cost of asking a regular expression about the text (31 and 70 ns). */
export function isLowerHex(bytes: Uint8Array, start: number, end: number): boolean {
  const table = NOT_HEX;
  let wrong = 0;
  for (let at = start; at < end; at++) wrong |= table[bytes[at] ?? 0] ?? 1;
  return wrong === 0;
}

/** A digest from its wire form. @throws invalid-argument, also for an absent message; `field` names it. */
export function digestFromWire(fn: DigestFunction, wire: WireDigest | undefined, field: string): Digest {
  if (wire === undefined) throw new ReapiError('invalid-argument', `${field} is required`, { field });
  try {
    return parseDigest(fn, wire.hash, wire.sizeBytes);
  } catch (error) {
    throw ReapiError.wrap(error, field);
  }
}

/** The wire form. */
export function digestToWire(digest: Digest): WireDigest {
  return { hash: digest.hash, sizeBytes: BigInt(digest.sizeBytes) };
}

/** Whether both name the same blob. */
export function sameDigest(a: Digest, b: Digest): boolean {
  return a === b || (a.hash === b.hash && a.sizeBytes === b.sizeBytes && a.function === b.function);
}

/** A string that is equal exactly for equal digests: `sha256/<hash>/<size>`. Stable, it is stored on disk. */
export function digestKey(digest: Digest): string {
  return `${digest.function}/${digest.hash}/${digest.sizeBytes}`;
}

/** The digest of a `digestKey`. @throws invalid-argument if it is none. */
export function digestFromKey(key: string): Digest {
  const [name, hash, size, ...rest] = key.split('/');
  const fn = digestFunctionNamed(name ?? '');
  if (fn === undefined || hash === undefined || rest.length > 0 || !CANONICAL_SIZE.test(size ?? '')) {
    throw new ReapiError('invalid-argument', `"${printable(key)}" is not a digest`);
  }
  return parseDigest(fn, hash, Number(size));
}

/** `[function/]hash/size`, as resource names and `MISSING` subjects spell it (R-EX-40). */
export function digestPath(digest: DigestFact & { readonly function: string }): string {
  const fn = digestFunctionNamed(digest.function);
  const segment = fn !== undefined && needsFunctionSegment(fn) ? `${fn}/` : '';
  return `${segment}${digest.hash}/${digest.sizeBytes}`;
}

/** The digest of zero bytes. */
export function emptyDigest(fn: DigestFunction): Digest {
  return { function: fn, hash: emptyHash(fn), sizeBytes: 0 };
}

/** Whether it names the blob of zero bytes, which always exists (R-CAS-01). */
export function isEmptyBlob(digest: Digest): boolean {
  return digest.sizeBytes === 0 && digest.hash === emptyHash(digest.function);
}

/** For error messages: at most 80 characters, control characters replaced. */
function printable(text: string): string {
  const safe = text.replace(/[^\x20-\x7e]/g, '?');
  return safe.length > 80 ? `${safe.slice(0, 80)}…` : safe;
}
