import type { ByteStream } from '../../system/byte-stream.ts';

/** An object as a listing tells it. */
export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  /** Changes whenever the object is replaced. */
  readonly etag: string;
  /** When it was written, by the clock of the object store, in milliseconds since 1970. */
  readonly modifiedMs: number;
}

/** Parts of an object that were sent without ever becoming one; they cost as much as an object. */
export interface UnfinishedUpload {
  readonly key: string;
  readonly id: string;
  /** By the clock of the object store, in milliseconds since 1970. */
  readonly startedMs: number;
}

/**
 * A bucket, or the part of one under a prefix: what the S3 tier needs of it and no more. Keys are relative to the prefix.
 *
 * Laws (test/support/object-store-contract.ts):
 * - whoever reads or lists after a call has resolved sees what it did (S3 is strongly consistent since 2020);
 * - an object is there whole or not at all;
 * - nothing rests on conditional writes, which some servers ignore;
 * - transient failures are tried again a few times inside; what comes out is `unavailable`, with a time to retry;
 * - aborting `signal` ends a call with `cancelled` and releases what it holds.
 */
export interface ObjectStore {
  /** Stores or replaces an object. @throws unavailable. */
  put(key: string, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void>;

  /**
   * Stores an object that need not fit in memory, in parts if it is long. `bytes` yields exactly `sizeBytes`.
   * After an error its parts are dropped; if that fails too they are found by `unfinishedUploads`.
   * @throws unavailable; whatever `bytes` throws.
   */
  putStream(key: string, bytes: ByteStream, sizeBytes: number, signal: AbortSignal): Promise<void>;

  /** The whole of a small object, or undefined if there is none. @throws unavailable; too-large above `maxBytes`. */
  get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined>;

  /**
   * Exactly `lengthBytes` (above 0) from `offset`, all of them within the object.
   * @throws not-found if there is no such object; data-loss if it ends before; unavailable.
   */
  getRange(key: string, offset: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array>;

  /** Objects whose keys begin with `prefix`, page by page in the order of keys. @param after only keys greater than this one. */
  list(prefix: string, after: string | undefined, signal: AbortSignal): AsyncIterable<readonly ObjectInfo[]>;

  /** Copies an object without its bytes passing through here. @throws not-found if `from` is gone; unavailable. */
  copy(from: string, to: string, sizeBytes: number, signal: AbortSignal): Promise<void>;

  /** Removes objects; those that are not there are fine. @throws unavailable: some of them may be gone. */
  delete(keys: readonly string[], signal: AbortSignal): Promise<void>;

  /** Uploads in parts that were begun and neither completed nor dropped, page by page. */
  unfinishedUploads(signal: AbortSignal): AsyncIterable<readonly UnfinishedUpload[]>;

  /** Drops the parts of an upload; one that is not there is fine. @throws unavailable. */
  dropUpload(upload: UnfinishedUpload, signal: AbortSignal): Promise<void>;
}
