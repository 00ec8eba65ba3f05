import type { Digest } from '../../digest/digest.ts';
import type { Entry, EntryStore } from '../../entries/entry-store.ts';
import { isKind, throwIfAborted } from '../../errors.ts';
import type { Timer } from '../../system/clock.ts';
import { writeError } from '../../system/file-errors.ts';
import type { BlobStore } from '../blob-store.ts';
import type { StoredBlob } from '../file-blob-store.ts';
import { checkStore } from './check-store.ts';
import type { Checkpoints } from './checkpoints.ts';
import { forEachBlob, forEachEntry } from './iteration.ts';
import { type LocalStoreOptions, type OpenedStore, openStore, type StoreFolders } from './open-store.ts';
import type { RowKey } from './record-index/row-key.ts';
import type { Keeping } from './rotation.ts';
import { SegmentBlobStore } from './segment-blob-store.ts';
import { SegmentEntryStore } from './segment-entry-store.ts';
import { PINNED_RETRY_SECONDS } from './space.ts';
import type { CheckReport, PruneReport, StoreControl, StoreProgress, StoreStats } from './store-report.ts';
import { RESERVE_SLACK_BYTES, reserveFor } from './store-sizes.ts';

/** After an attempt to gain room ahead of need that gained none, the next one waits this long, in store seconds. */
const AHEAD_PAUSE_SECONDS = 10;

/** After all segments were reclaimed and nothing came free, the next try is not before this many store seconds. */
const BARREN_PAUSE_SECONDS = 1;

/** A write may cost copying so many times the room it gains when what is pinned is in the way; with more it is refused. */
const MAX_COPIED_PER_FREED = 8;

/**
 * The store of one machine: a log of segments and the files of large blobs under one limit (docs/storage.md).
 *
 * Room is made by reclaiming the oldest segment or evicting the least recently used file, whichever was used longer ago; one
 * such step runs at a time, ahead of need when little is left.
 */
export class LocalStore implements StoreControl {
  readonly blobs: BlobStore;
  readonly entries: EntryStore & Pick<SegmentEntryStore, 'putWritten'>;
  readonly #blobs: SegmentBlobStore;
  readonly #parts: OpenedStore;
  readonly #options: LocalStoreOptions;
  #freeing: Promise<unknown> = Promise.resolve();
  #isFreeingAhead = false;
  #nextAheadSeconds = 0;
  #nextReclaimSeconds = 0;
  #nextFileSeconds = 0;
  /** What the last looks at segments and files found in the way of making room. */
  #hasPinnedRecords = false;
  #hasPinnedFiles = false;
  readonly #jobs = new Set<Promise<unknown>>();
  #timer: Timer | undefined;
  #fileEvictions = 0;
  #closing: Promise<void> | undefined;

  private constructor(parts: OpenedStore, options: LocalStoreOptions) {
    this.#parts = parts;
    this.#options = options;
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
      free: () => store?.free('recent') ?? Promise.resolve(0),
      isPinned: () => store !== undefined && (store.#hasPinnedRecords || store.#hasPinnedFiles),
      committed: () => store?.onCommitted(),
    });
    store = new LocalStore(parts, options);
    try {
      await store.#applyLimit();
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

  /** Frees something. @returns the bytes; 0 if nothing may go. @throws unavailable; quota-exceeded. */
  free(keeping: Keeping): Promise<number> {
    const freed = this.#freeing.then(async () => {
      const { core, space, segments, sizes } = this.#parts;
      core.throwIfClosed();
      try {
        return await this.#freeOnce(keeping);
      } catch (error) {
        throw writeError(error, 'making room in the store');
      } finally {
        this.#checkpoints.account();
        space.reserve(reserveFor(segments.largestBytes, sizes, this.#options.maxBytes));
      }
    });
    this.#freeing = freed.catch(() => undefined);
    return freed;
  }

  /** Part of the log's events: keeps the accounts true and makes room ahead of need. */
  onCommitted(): void {
    const { space, core, sizes } = this.#parts;
    this.#checkpoints.account();
    if (this.#checkpoints.isDue) core.inBackground(this.#checkpoints.write(false));
    const isShort = space.isShortOf(sizes.segmentBytes);
    if (!isShort || this.#isFreeingAhead || core.index.time.now() < this.#nextAheadSeconds) return;
    this.#isFreeingAhead = true;
    core.inBackground(this.#freeAhead());
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
      evictedBlobs: counts.evictedBlobs + this.#fileEvictions,
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
      const freedBytes = await this.free('leased');
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
    await this.#freeing;
    await files.close();
    await this.#checkpoints.write(true);
    this.#checkpoints.close();
    await segments.close();
  }

  async #freeOnce(keeping: Keeping): Promise<number> {
    if (this.#isFileOlder()) {
      const freedBytes = this.#evictFile(keeping, 'oldest segment');
      if (freedBytes > 0) return freedBytes;
    }
    const reclaimedBytes = await this.#reclaim(keeping);
    return reclaimedBytes > 0 ? reclaimedBytes : this.#evictFile(keeping, 'any');
  }

  /** Reclaims segments until something came free. Where nearly all is leased, copying it forward would gain nothing. */
  async #reclaim(keeping: Keeping): Promise<number> {
    const { segments, rotation, core } = this.#parts;
    const now = core.index.time.now();
    if (keeping !== 'nothing' && !this.#hasGain(keeping)) {
      this.#hasPinnedRecords = false;
      return 0;
    }
    if (keeping === 'recent' && now < this.#nextReclaimSeconds) return 0;
    if (this.#options.guard !== undefined && !(await this.#isWorthCopying(keeping))) return 0;
    for (let left = segments.count; left > 0; left--) {
      const freedBytes = await rotation.reclaimOldest(keeping);
      if (freedBytes > 0) return freedBytes;
    }
    this.#nextReclaimSeconds = now + BARREN_PAUSE_SECONDS;
    return 0;
  }

  /** The ledger knows nothing of what is pinned: with a guard each row is asked about before anything is copied. */
  async #isWorthCopying(keeping: Keeping): Promise<boolean> {
    const { core, rotation, sizes } = this.#parts;
    const worth =
      keeping === 'recent'
        ? { leastBytes: sizes.segmentBytes / 4, maxCopiedPerFreed: MAX_COPIED_PER_FREED }
        : { leastBytes: 0, maxCopiedPerFreed: Number.POSITIVE_INFINITY };
    const outlook = await rotation.outlook(keeping, worth);
    this.#hasPinnedRecords = outlook === 'pinned';
    if (outlook === 'worth') return true;
    this.#nextReclaimSeconds = core.index.time.now() + PINNED_RETRY_SECONDS;
    return false;
  }

  /** Whether segments hold anything that may go; for a write it has to be worth copying the rest: a quarter of a segment. */
  #hasGain(keeping: Keeping): boolean {
    const { space, core, segments, sizes } = this.#parts;
    const { ledger, time } = core.index;
    const fixedBytes = segments.count * sizes.overheadBytes + ledger.heldBytes(time.now());
    const leastBytes = keeping === 'recent' ? sizes.segmentBytes / 4 : 0;
    return space.partBytes('segments') - fixedBytes > leastBytes;
  }

  #isFileOlder(): boolean {
    const { files, segments, core } = this.#parts;
    const touchedMs = files.oldestTouchMs();
    if (touchedMs === undefined) return false;
    const { oldest } = segments;
    return oldest === undefined || core.index.time.ofMonotonicMs(touchedMs) <= segments.oldestEndSeconds;
  }

  /** Whether a blob's file went, and what that gave. @param olderThan `oldest segment`: no file that was used after it was full. */
  #evictFile(keeping: Keeping, olderThan: 'oldest segment' | 'any'): number {
    const { files, core, segments } = this.#parts;
    const { time } = core.index;
    if (keeping === 'recent' && time.now() < this.#nextFileSeconds) return 0;
    const isAny = olderThan === 'any' || segments.oldest === undefined;
    const usedBeforeMs = isAny ? Number.POSITIVE_INFINITY : time.toMonotonicMs(segments.oldestEndSeconds + 1);
    let evicted: StoredBlob | undefined;
    try {
      evicted = files.evictOldest({ sparing: keeping === 'nothing' ? 'none' : 'held', usedBeforeMs });
      this.#hasPinnedFiles = evicted === undefined && files.passedOver > 0;
    } catch (error) {
      // A file that cannot be removed must not keep rotation from making room.
      if (!isKind(error, 'unavailable')) throw error;
      this.#options.log.warn({ err: error }, 'a large blob could not be evicted');
    }
    if (evicted === undefined) {
      if (isAny && this.#hasPinnedFiles) this.#nextFileSeconds = time.now() + PINNED_RETRY_SECONDS;
      return 0;
    }
    this.#fileEvictions++;
    const ageSeconds = (this.#options.clock.monotonicMs() - evicted.touchedMs) / 1000;
    const { hash } = evicted.digest;
    this.#options.events.evicted({ what: 'blob', hash, sizeBytes: evicted.diskBytes, ageSeconds });
    return Math.max(1, evicted.diskBytes);
  }

  async #freeAhead(): Promise<void> {
    let freedBytes = 0;
    try {
      freedBytes = await this.free('recent');
    } finally {
      if (freedBytes === 0) this.#nextAheadSeconds = this.#parts.core.index.time.now() + AHEAD_PAUSE_SECONDS;
      this.#isFreeingAhead = false;
    }
  }

  /**
   * The limit may have been lowered since the last run: then even what is promised goes. What starting itself takes, from a store that
   * is full of promises, comes out of the slack of the reserve and breaks none.
   */
  async #applyLimit(): Promise<void> {
    const { space } = this.#parts;
    for (const [keeping, slackBytes] of [
      ['recent', 0],
      ['nothing', RESERVE_SLACK_BYTES],
    ] as const) {
      let freedBytes = 1;
      while (space.isShortOf(-slackBytes) && freedBytes > 0) freedBytes = await this.free(keeping);
    }
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
