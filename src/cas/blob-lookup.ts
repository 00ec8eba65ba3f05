import { type Digest, digestKey, digestPath, isEmptyBlob, sameDigest } from '../digest/digest.ts';
import { ReapiError } from '../errors.ts';
import type { ByteRange } from '../system/byte-stream.ts';

/**
 * The digests for which `isPresent` is false: in order, each once. The empty blob is never among them (R-CAS-01, R-CAS-02).
 * @param isPresent is asked for every digest but the empty one; absent duplicates more than once.
 */
export function absentAmong(digests: readonly Digest[], isPresent: (digest: Digest) => boolean): readonly Digest[] {
  const missing: Digest[] = [];
  let seen: Seen | undefined;
  for (const digest of digests) {
    if (isEmptyBlob(digest) || isPresent(digest)) continue;
    seen ??= new Seen();
    if (seen.add(digest)) missing.push(digest);
  }
  return missing;
}

/** A set of digests. Almost all differ in their hash, so that whole keys are made only for those that do not. */
class Seen {
  readonly #byHash = new Map<string, Digest>();
  readonly #sameHash = new Set<string>();

  /** Whether it is new. */
  add(digest: Digest): boolean {
    const first = this.#byHash.get(digest.hash);
    if (first === undefined) {
      this.#byHash.set(digest.hash, digest);
      return true;
    }
    if (sameDigest(first, digest)) return false;
    const count = this.#sameHash.size;
    return this.#sameHash.add(digestKey(digest)).size > count;
  }
}

/** The error of a read of an absent blob. */
export function blobNotFound(digest: Digest): ReapiError {
  return new ReapiError('blob-not-found', `the blob ${digestPath(digest)} is not stored here`, { missing: [digest] });
}

/** First byte and byte after the last of a range of a blob; beyond the end it is empty. */
export function boundsOf(
  range: ByteRange,
  sizeBytes: number,
): { readonly startBytes: number; readonly endBytes: number } {
  const startBytes = Math.min(range.offset, sizeBytes);
  const endBytes = range.limit === undefined ? sizeBytes : Math.min(startBytes + range.limit, sizeBytes);
  return { startBytes, endBytes };
}

/** A range of bytes in memory, without a copy. */
export function sliceOf(bytes: Uint8Array, range: ByteRange): Uint8Array {
  const { startBytes, endBytes } = boundsOf(range, bytes.length);
  return bytes.subarray(startBytes, endBytes);
}
