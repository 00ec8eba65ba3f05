import type { Digest } from '../digest/digest.ts';
import type { ByteStream } from '../system/byte-stream.ts';

/** A blob whose bytes are all in memory. */
export interface SmallBlob {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/**
 * The CAS as one lease sees it: one instance name, one digest function, many blobs in one call. Everything read is
 * checked against its digest, so a damaged blob never reaches an action.
 */
export interface WorkerStore {
  /** Blobs up to this size travel together in one call; larger ones go through `open` and `write`. */
  readonly maxSmallBytes: number;
  /** The digests that are absent; a subset of `digests`. @throws unavailable; whatever the server answers. */
  findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]>;
  /** Blobs of any size that fit in memory together, by `digestKey`; those absent from the CAS are left out. */
  readAll(digests: readonly Digest[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>>;
  /** The bytes of one blob; the iteration fails if they do not match. @throws blob-not-found, while iterating. */
  open(digest: Digest, signal: AbortSignal): ByteStream;
  /** Stores blobs of at most `maxSmallBytes` each. @throws the first failure. */
  writeAll(blobs: readonly SmallBlob[], signal: AbortSignal): Promise<void>;
  /** Stores one blob; may stop reading early when it is there already. @throws what `bytes` throws. */
  write(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void>;
}
