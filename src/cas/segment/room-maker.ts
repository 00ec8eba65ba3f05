import { isKind } from '../../errors.ts';
import { writeError } from '../../system/file-errors.ts';
import type { StoredBlob } from '../file-blob-store.ts';
import type { LocalStoreOptions, OpenedStore } from './open-store.ts';
import type { Keeping } from './rotation.ts';
import { PINNED_RETRY_SECONDS } from './space.ts';
import { RESERVE_SLACK_BYTES, reserveFor } from './store-sizes.ts';

/** After an attempt to gain room ahead of need that gained none, the next one waits this long, in store seconds. */
const AHEAD_PAUSE_SECONDS = 10;

/** After all segments were reclaimed and nothing came free, the next try is not before this many store seconds. */
const BARREN_PAUSE_SECONDS = 1;

/** A write may cost copying so many times the room it gains when what is pinned is in the way; with more it is refused. */
const MAX_COPIED_PER_FREED = 8;

/**
 * Makes room in a store by reclaiming the oldest segment or evicting the least recently used file, whichever was used longer ago; one
 * such step runs at a time, ahead of need when little is left.
 */
export class RoomMaker {
  readonly #parts: OpenedStore;
  readonly #options: Pick<LocalStoreOptions, 'clock' | 'log' | 'events' | 'maxBytes' | 'guard'>;
  #freeing: Promise<unknown> = Promise.resolve();
  #isFreeingAhead = false;
  #nextAheadSeconds = 0;
  #nextReclaimSeconds = 0;
  #nextFileSeconds = 0;
  /** What the last looks at segments and files found in the way. */
  #hasPinnedRecords = false;
  #hasPinnedFiles = false;
  #evictedFiles = 0;

  constructor(parts: OpenedStore, options: Pick<LocalStoreOptions, 'clock' | 'log' | 'events' | 'maxBytes' | 'guard'>) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Whether the last `free` that gave nothing would have given something if the guard had let it go. */
  get isPinned(): boolean {
    return this.#hasPinnedRecords || this.#hasPinnedFiles;
  }

  /** Files that went since the start. */
  get evictedFiles(): number {
    return this.#evictedFiles;
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
        this.#parts.checkpoints.account();
        space.reserve(reserveFor(segments.largestBytes, sizes, this.#options.maxBytes));
      }
    });
    this.#freeing = freed.catch(() => undefined);
    return freed;
  }

  /** Begins to make room if little is left; who writes next then need not wait for it. */
  freeAheadOfNeed(): void {
    const { space, core, sizes } = this.#parts;
    const isShort = space.isShortOf(sizes.segmentBytes);
    if (!isShort || this.#isFreeingAhead || core.index.time.now() < this.#nextAheadSeconds) return;
    this.#isFreeingAhead = true;
    core.inBackground(this.#freeAhead());
  }

  /**
   * The limit may have been lowered since the last run: then even what is promised goes. What starting itself takes, from a store that
   * is full of promises, comes out of the slack of the reserve and breaks none.
   */
  async applyLimit(): Promise<void> {
    const { space } = this.#parts;
    for (const [keeping, slackBytes] of [
      ['recent', 0],
      ['nothing', RESERVE_SLACK_BYTES],
    ] as const) {
      let freedBytes = 1;
      while (space.isShortOf(-slackBytes) && freedBytes > 0) freedBytes = await this.free(keeping);
    }
  }

  /** Resolves when what was begun has ended; it never rejects. */
  async settled(): Promise<void> {
    await this.#freeing;
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
    this.#evictedFiles++;
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
}
