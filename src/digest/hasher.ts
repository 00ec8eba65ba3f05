import { createHash, hash as hashOnce } from 'node:crypto';
import type { Digest } from './digest.ts';
import type { DigestFunction } from './digest-function.ts';

/** Computes a digest from bytes that come in pieces. Used once. */
export interface Hasher {
  update(chunk: Uint8Array): void;
  /** The digest of all bytes so far. No further call is allowed. */
  finish(): Digest;
}

/** OpenSSL's names. */
const OPENSSL: Readonly<Record<DigestFunction, string>> = { sha256: 'sha256' };

/** A hasher for bytes that come in pieces. */
export function createHasher(fn: DigestFunction): Hasher {
  const inner = createHash(OPENSSL[fn]);
  let sizeBytes = 0;
  return {
    update(chunk) {
      sizeBytes += chunk.length;
      inner.update(chunk);
    },
    finish: () => ({ function: fn, hash: inner.digest('hex'), sizeBytes }),
  };
}

/** The digest of bytes that are all there. Cheaper than a hasher. */
export function digestOf(fn: DigestFunction, bytes: Uint8Array): Digest {
  return { function: fn, hash: hashOnce(OPENSSL[fn], bytes, 'hex'), sizeBytes: bytes.length };
}
