import type { Digest } from '../../digest/digest.ts';
import type { Entry, EntryStore } from '../../entries/entry-store.ts';
import type { BlobStore } from '../blob-store.ts';
import type { RowKey } from '../segment/record-index/row-key.ts';

/** What the S3 tier needs of the store on this machine; `LocalStore` is one. */
export interface LocalTier {
  readonly blobs: BlobStore;
  readonly entries: EntryStore & {
    putWritten(key: string, value: Uint8Array, writtenMs: number, signal: AbortSignal): Promise<void>;
  };
  /** Whether a blob is there, without promising anything. */
  has(digest: Digest): boolean;
  /** Visits all blobs. The key is valid during the visit. */
  forEachBlob(visit: (key: RowKey, sizeBytes: number) => void): void;
  /** Reads all entries that are there throughout. @throws cancelled; unavailable. */
  eachEntry(visit: (key: string, entry: Entry) => void | Promise<void>, signal: AbortSignal): Promise<void>;
}
