import type { Digest } from '../digest/digest.ts';
import type { ByteRange, ByteStream } from '../system/byte-stream.ts';

/**
 * Bytes by digest. Implementations are combined, never extended.
 *
 * Laws (test/support/blob-store-contract.ts):
 * - after `put` or `putBytes` resolves, `findMissing` omits the digest, and `open` and `getBytes` give exactly its bytes;
 * - the empty blob is always present (R-CAS-01);
 * - absence is a fact about now; presence is a promise for at least the store's retention time;
 * - all or nothing: bytes without the right size and hash leave no trace (R-CAS-09);
 * - concurrent puts of one digest all succeed (R-CAS-20);
 * - aborting `signal` releases every resource of that call, including an opened stream.
 */
export interface BlobStore {
  /** The digests that are absent: a subset of `digests`, same order, no duplicates. Refreshes the age of the others. */
  findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]>;

  /**
   * Resolves once the blob is known to be there. A range beyond the end is empty; `offset` is at most the size.
   * @throws blob-not-found before the first byte; unavailable, or data-loss, at any time.
   */
  open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream>;

  /**
   * Stores all of `bytes` or nothing. Putting a blob that exists is a success and may stop reading early.
   * @throws digest-mismatch; too-large; quota-exceeded; unavailable; whatever `bytes` throws.
   */
  put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void>;

  /**
   * The whole of a blob that is small enough to be held in memory: one call without a stream, for messages and batches.
   * The caller has checked `digest.sizeBytes` against a limit of its own and does not change the bytes.
   * @throws as `open`.
   */
  getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array>;

  /** `put` of bytes that are all there. The store may keep the array: the caller does not change it. @throws as `put`. */
  putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void>;
}
