/** What a local store holds, for metrics and operators. Bytes are bytes on disk. */
export interface StoreStats {
  /** The limit: everything below together stays under it. */
  readonly maxBytes: number;
  readonly segmentBytes: number;
  readonly segments: number;
  /** Blobs with a file of their own: the large ones, and small ones of an earlier version. */
  readonly fileBytes: number;
  readonly files: number;
  /** Index, lease log and quarantine. */
  readonly otherBytes: number;
  /** Blobs and entries that are records of segments. */
  readonly blobs: number;
  readonly entries: number;
  /** Bytes of records that are still referred to; the rest of `segmentBytes` is reclaimed by rotation. */
  readonly liveBytes: number;
  /** Bytes of blobs that may not be evicted yet, in segments and files. */
  readonly leasedBytes: number;
  /** Above this many leased bytes writes are refused. */
  readonly maxLeasedBytes: number;
  /** Rows of the index in use, its buckets, and its memory. */
  readonly indexRows: number;
  readonly indexBuckets: number;
  readonly indexMemoryBytes: number;
  /** Time since the store began to write what rotation reclaims next; 0 if it is empty. */
  readonly oldestAgeSeconds: number;
  /** Since the start. */
  readonly evictedBlobs: number;
  readonly evictedEntries: number;
  readonly copiedBytes: number;
  readonly quarantined: number;
}

/** What left the store because room was needed. */
export interface Eviction {
  readonly what: 'blob' | 'entry';
  /** Of a blob: its hash in hex (its first 32 bytes). Of an entry: the SHA-256 of its key in hex. */
  readonly hash: string;
  /** Bytes on disk that its record or file takes. */
  readonly sizeBytes: number;
  /** Time since it was last used, as exact as leases are (docs/storage.md). */
  readonly ageSeconds: number;
}

/** Told of what a store does by itself. Must not throw, and must be cheap: it runs on the hot path. */
export interface StoreEvents {
  /** One group commit reached the log: its records, bytes, and the time writing and syncing took. */
  committed(group: { readonly records: number; readonly bytes: number; readonly seconds: number }): void;
  evicted(eviction: Eviction): void;
  /** A write was refused: the leases hold too much, the file system is full, or it could never fit. */
  refused(reason: 'leased' | 'disk-full' | 'too-large'): void;
}

/** How far a long job is. */
export interface StoreProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** A blob or entry whose bytes are not what they should be; it has been put aside and is missing from now on. */
export interface Damage {
  readonly what: 'blob' | 'entry';
  /** A digest as `function/hash/size`, or the key of an entry, or what is known of it. */
  readonly name: string;
  readonly reason: string;
}

/** Result of reading everything back. */
export interface CheckReport {
  readonly blobs: number;
  readonly entries: number;
  readonly bytes: number;
  /** All damage that was found, at most `MAX_REPORTED_DAMAGE` of it listed. */
  readonly damaged: number;
  readonly damage: readonly Damage[];
}

/** Most damaged blobs and entries that one report lists. */
export const MAX_REPORTED_DAMAGE = 1000;

/** Result of making the store smaller. */
export interface PruneReport {
  readonly freedBytes: number;
  readonly evictedBlobs: number;
  readonly evictedEntries: number;
  /** Bytes the store takes now; more than asked for if leases or a guard hold it. */
  readonly sizeBytes: number;
}

/** What operators may ask of a store that runs. */
export interface StoreControl {
  stats(): StoreStats;
  /** Reads every blob and entry and compares it with its digest or checksum. @throws cancelled; unavailable. */
  check(onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<CheckReport>;
  /**
   * Evicts the least recently used until the store takes at most `targetBytes`; what is leased or pinned stays.
   * @throws cancelled; unavailable.
   */
  prune(targetBytes: number, onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<PruneReport>;
}
