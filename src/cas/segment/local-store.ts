import type { Digest } from '../../digest/digest.ts';
import type { Entry, EntryStore } from '../../entries/entry-store.ts';
import { throwIfAborted } from '../../errors.ts';
import type { Timer } from '../../system/clock.ts';
import type { BlobStore } from '../blob-store.ts';
import { checkStore } from './check-store.ts';
import type { Checkpoints } from './checkpoints.ts';
import { forEachBlob, forEachEntry } from './iteration.ts';
import { type LocalStoreOptions, type OpenedStore, openStore, type StoreFolders } from './open-store.ts';
import type { RowKey } from './record-index/row-key.ts';
import { RoomMaker } from './room-maker.ts';
import { SegmentBlobStore } from './segment-blob-store.ts';
import { SegmentEntryStore } from './segment-entry-store.ts';
import type { CheckReport, PruneReport, StoreControl, StoreProgress, StoreStats } from './store-report.ts';

/**
 * The store of one machine: a log of segments and the files of large blobs under one limit (docs/storage.md).
 * `RoomMaker` makes room in it.
 */
export class LocalStore implements StoreControl {
  readonly blobs: BlobStore;
  readonly entries: EntryStore & Pick<SegmentEntryStore, 'putWritten'>;
  /** Makes room when it is needed; others may ask for more. */
  readonly room: RoomMaker;
  readonly #blobs: SegmentBlobStore;
  readonly #parts: OpenedStore;
  readonly #options: LocalStoreOptions;
  readonly #jobs = new Set<Promise<unknown>>();
  #timer: Timer | undefined;
  #closing: Promise<void> | undefined;

  private constructor(parts: OpenedStore, options: LocalStoreOptions) {
    this.#parts = parts;
    this.#options = options;
    this.room = new RoomMaker(parts, options);
    this.#blobs = new SegmentBlobStore(parts.core, parts.files, {
      events: options.events,
      maxRecordBlobBytes: parts.sizes.maxRecordBlobBytes,
      maxLeasedBytes: parts.sizes.maxLeasedBytes,
      leaseSeconds: parts.leaseSeconds,
    });
    this.blobs = this.#blobs;
    this.entries = new SegmentEntryStore(parts.core, options);
  }

  /**
   * Opens or creates the store. One process owns its folders (data-folder.ts).
   * @throws precondition for a foreign or newer format; unavailable if the folders cannot be used.
   */
  static async open(folders: StoreFolders, options: LocalStoreOptions): Promise<LocalStore> {
    let store: LocalStore | undefined;
    const parts = await openStore(folders, options, {
      free: () => store?.room.free('recent') ?? Promise.resolve(0),
      isPinned: () => store?.room.isPinned ?? false,
      committed: () => store?.onCommitted(),
    });
    store = new LocalStore(parts, options);
    try {
      await store.room.applyLimit();
    } catch (error) {
      await store.close();
      throw error;
    }
    store.#armCheckpoint();
    if (parts.found.replayedRecords > 0) parts.core.inBackground(store.#checkpoints.write(false));
    return store;
  }

  /** Whether a blob is there. Promises nothing. */
  has(digest: Digest): boolean {
    return this.#blobs.has(digest);
  }

  /**
   * Visits all blobs, in no particular order and without promising them; the key is valid during the visit. Takes time for all of them
   * at once. `visit` must not change the store.
   */
  forEachBlob(visit: (key: RowKey, sizeBytes: number) => void): void {
    forEachBlob(this.#parts, visit);
  }

  /**
   * Reads all entries, in no particular order and without using them. One that is there from the call to its end is visited, with a
   * value it had at that moment; one that comes or goes meanwhile may be. Damaged ones are put aside. Closing waits for the visit.
   * @throws cancelled; unavailable, also when the store is closed meanwhile; what `visit` throws.
   */
  eachEntry(visit: (key: string, entry: Entry) => void | Promise<void>, signal: AbortSignal): Promise<void> {
    this.#parts.core.throwIfClosed();
    return this.#job(forEachEntry(this.#parts.core, visit, signal));
  }

  /** Part of the log's events: keeps the accounts true and makes room ahead of need. */
  onCommitted(): void {
    this.#checkpoints.account();
    if (this.#checkpoints.isDue) this.#parts.core.inBackground(this.#checkpoints.write(false));
    this.room.freeAheadOfNeed();
  }

  stats(): StoreStats {
    const { core, segments, space, rotation, sizes, files } = this.#parts;
    const { index } = core;
    const { table, time } = index;
    const { oldest } = segments;
    const counts = rotation.counts;
    const fileStats = files.stats();
    const fileBytes = fileStats.bytes + fileStats.reservedBytes;
    return {
      maxBytes: this.#options.maxBytes,
      segmentBytes: space.partBytes('segments'),
      segments: segments.count,
      fileBytes,
      files: fileStats.files,
      otherBytes: space.partBytes('other') + space.partBytes('files') - fileBytes,
      blobs: index.blobs,
      entries: index.entries,
      liveBytes: index.liveBytes,
      leasedBytes: index.ledger.heldBytes(time.now()) + files.bytesHeld(this.#options.clock.monotonicMs()),
      maxLeasedBytes: sizes.maxLeasedBytes,
      indexRows: table.size,
      indexBuckets: table.bucketCount,
      indexMemoryBytes: table.memoryBytes,
      oldestAgeSeconds: oldest === undefined || index.table.size === 0 ? 0 : time.now() - oldest.createdSeconds,
      evictedBlobs: counts.evictedBlobs + this.room.evictedFiles,
      evictedEntries: counts.evictedEntries,
      copiedBytes: counts.copiedBytes,
      quarantined: core.quarantined + fileStats.quarantined + this.#parts.found.damagedPlaces,
    };
  }

  check(onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<CheckReport> {
    this.#parts.core.throwIfClosed();
    const { core, segments, files } = this.#parts;
    return this.#job(checkStore({ core, segments, files }, onProgress, signal));
  }

  prune(targetBytes: number, onProgress: (progress: StoreProgress) => void, signal: AbortSignal): Promise<PruneReport> {
    return this.#job(this.#prune(targetBytes, onProgress, signal));
  }

  async #prune(
    targetBytes: number,
    onProgress: (progress: StoreProgress) => void,
    signal: AbortSignal,
  ): Promise<PruneReport> {
    const { space } = this.#parts;
    const before = { ...this.stats(), usedBytes: space.usedBytes };
    const totalBytes = Math.max(0, before.usedBytes - targetBytes);
    while (space.usedBytes > targetBytes) {
      throwIfAborted(signal);
      const freedBytes = await this.room.free('leased');
      onProgress({ doneBytes: Math.max(0, before.usedBytes - space.usedBytes), totalBytes });
      if (freedBytes === 0) break;
    }
    const after = this.stats();
    return {
      freedBytes: Math.max(0, before.usedBytes - space.usedBytes),
      evictedBlobs: after.evictedBlobs - before.evictedBlobs,
      evictedEntries: after.evictedEntries - before.evictedEntries,
      sizeBytes: space.usedBytes,
    };
  }

  /** Refuses further calls, waits for those that run, and writes the index, so that the next start reads nothing else. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** A job that closing waits for: it notices by itself. */
  async #job<T>(work: Promise<T>): Promise<T> {
    this.#jobs.add(work);
    try {
      return await work;
    } finally {
      this.#jobs.delete(work);
    }
  }

  get #checkpoints(): Checkpoints {
    return this.#parts.checkpoints;
  }

  async #close(): Promise<void> {
    const { core, files, segments } = this.#parts;
    this.#timer?.cancel();
    await core.close();
    await Promise.allSettled(this.#jobs);
    await this.room.settled();
    await files.close();
    await this.#checkpoints.write(true);
    this.#checkpoints.close();
    await segments.close();
  }

  #armCheckpoint(): void {
    const { clock, checkpointMs } = this.#options;
    this.#timer = clock.wakeAt(clock.monotonicMs() + checkpointMs, () => {
      if (this.#closing !== undefined) return;
      this.#parts.core.inBackground(this.#checkpoints.writeIfChanged());
      this.#armCheckpoint();
    });
  }
}
