import { setImmediate as nextTurn } from 'node:timers/promises';
import { isKind } from '../../errors.ts';
import { readError } from '../../system/file-errors.ts';
import type { EvictionGuard } from './eviction-guard.ts';
import { ENTRY_KIND, parseRecord, recordBytes, SEGMENT_HEADER_BYTES } from './log/format.ts';
import type { SegmentFile } from './log/segment-file.ts';
import type { RecordPlace, SegmentLog } from './log/segment-log.ts';
import { readRecord, type Segments } from './log/segments.ts';
import type { DigestTable } from './record-index/digest-table.ts';
import type { RecordIndex } from './record-index/record-index.ts';
import { RowKey } from './record-index/row-key.ts';
import type { Space } from './space.ts';
import type { RecordDamage } from './store-core.ts';
import type { StoreEvents } from './store-report.ts';

/** Bytes copied before their group is waited for: bounds memory, and lets other work run. */
const BATCH_BYTES = 2 * 1024 * 1024;

/** Rows that are looked at before other work gets its turn: a millisecond or two. */
const LOOKS_PER_TURN = 4096;

/** Rows that are evicted before other work gets its turn: a few milliseconds. */
const EVICTIONS_PER_TURN = 4096;

/** Of a segment, what is not leased but was used recently is copied forward up to this share: the rest is room gained. */
const MAX_RECENT_SHARE = 0.5;

/** What rotation works on. */
export interface RotationParts {
  readonly index: RecordIndex;
  readonly segments: Segments;
  readonly log: SegmentLog;
  readonly space: Space;
  readonly events: StoreEvents;
  /** How long a lease lasts after `touched`, in store seconds. */
  readonly leaseSeconds: number;
  /** Puts a damaged record aside. */
  readonly onDamaged: (row: number, damage: RecordDamage) => void;
  /** Holds rows back from eviction: they are copied forward. Default: none. */
  readonly guard?: EvictionGuard | undefined;
}

/** What has to come free so that reclaiming segments is worth what it copies. */
export interface Worth {
  /** More than this. */
  readonly leastBytes: number;
  /** Bytes copied for each byte that comes free, at most. */
  readonly maxCopiedPerFreed: number;
}

/** What a look at the segments says of reclaiming them: it is worth it, or not; then whether pinned rows are among the reasons. */
export type Outlook = 'worth' | 'leased' | 'pinned';

/**
 * What is kept of a segment that is reclaimed: beside what is leased also what was used recently, only what is leased, or
 * nothing at all, which breaks promises and is for a store whose limit was lowered while it was stopped. What is pinned is kept
 * in any case.
 */
export type Keeping = 'recent' | 'leased' | 'nothing';

/** What a rotation has done since the store was opened. */
export interface RotationCounts {
  readonly evictedBlobs: number;
  readonly evictedEntries: number;
  readonly copiedBytes: number;
}

/**
 * Reclaims the oldest segment: what is leased or pinned, or was used in the newer half of the store's memory, is copied to the newest
 * one, the rest is evicted, the file removed. Always the oldest, so that a removal's record outlives the records it removes.
 *
 * A crash in between leaves the old records, the copies, or both: all of them whole.
 */
export class Rotation {
  readonly #parts: RotationParts;
  readonly #key = new RowKey();
  #evictedBlobs = 0;
  #evictedEntries = 0;
  #copiedBytes = 0;

  constructor(parts: RotationParts) {
    this.#parts = parts;
  }

  get counts(): RotationCounts {
    return {
      evictedBlobs: this.#evictedBlobs,
      evictedEntries: this.#evictedEntries,
      copiedBytes: this.#copiedBytes,
    };
  }

  /**
   * Whether reclaiming the oldest segments, as many as it takes, is worth what has to be copied. Reads nothing: asks index and guard
   * about each row of these segments. What was used recently counts as room.
   */
  async outlook(keeping: Keeping, { leastBytes, maxCopiedPerFreed }: Worth): Promise<Outlook> {
    const { index, segments } = this.#parts;
    const { table, time } = index;
    const now = time.now();
    let freedBytes = 0;
    let copiedBytes = 0;
    let looks = 0;
    let isPinned = false;
    for (const { id, sizeBytes } of [...segments]) {
      freedBytes += sizeBytes - SEGMENT_HEADER_BYTES;
      for (const row of table.rowsOf(id)) {
        if (++looks % LOOKS_PER_TURN === 0) await nextTurn();
        if (table.kind(row) === 0 || table.segment(row) !== id) continue;
        const hold = this.#holdOn(row, now, keeping);
        if (hold === undefined) continue;
        isPinned ||= hold === 'pinned';
        freedBytes -= recordBytes(table.payloadBytes(row));
        copiedBytes += recordBytes(table.payloadBytes(row));
      }
      if (freedBytes > leastBytes && copiedBytes <= freedBytes * maxCopiedPerFreed) return 'worth';
    }
    return isPinned ? 'pinned' : 'leased';
  }

  /**
   * @returns bytes that came free, copies subtracted; 0 or less if all of it had to be copied.
   * @throws unavailable; quota-exceeded; system errors of the files: the segment stays, with what could not be copied.
   */
  async reclaimOldest(keeping: Keeping): Promise<number> {
    const { segments, log, space } = this.#parts;
    const segment = segments.oldest;
    if (segment === undefined) return 0;
    // Beginning another one would gain nothing. One that is empty and no longer grows goes: it must not be in the way for ever.
    if (segment === log.active && segment.sizeBytes <= SEGMENT_HEADER_BYTES) return 0;
    const before = space.partBytes('segments');
    if (segment === log.active) await log.roll();
    await this.#empty(segment, keeping);
    log.forget(segment);
    // Without syncing, too: what was safe on the device must not be exchanged for copies that are not.
    await log.syncAll();
    await segments.retire(segment);
    return before - space.partBytes('segments');
  }

  async #empty(segment: SegmentFile, keeping: Keeping): Promise<void> {
    const { table, time } = this.#parts.index;
    const now = time.now();
    const recentSince = now - (now - segment.createdSeconds) / 2;
    let recentBytes = keeping === 'recent' ? segment.sizeBytes * MAX_RECENT_SHARE : 0;
    let batch: Promise<void>[] = [];
    let batchBytes = 0;
    let evicted = 0;
    for (const { row, offset } of placesIn(table, segment.id)) {
      // Rows are reused while copies are written.
      if (!isAt(table, row, segment.id, offset)) continue;
      const bytes = recordBytes(table.payloadBytes(row));
      if (this.#holdOn(row, now, keeping) === undefined) {
        const isKept = table.touched(row) >= recentSince && bytes <= recentBytes;
        if (!isKept) {
          this.#evict(row, now);
          if (++evicted % EVICTIONS_PER_TURN === 0) await nextTurn();
          continue;
        }
        recentBytes -= bytes;
      }
      batch.push(this.#copy(segment, row));
      batchBytes += bytes;
      if (batchBytes < BATCH_BYTES) continue;
      await allOf(batch);
      batch = [];
      batchBytes = 0;
    }
    await allOf(batch);
  }

  /** Why a row may not be evicted now, or undefined. */
  #holdOn(row: number, now: number, keeping: Keeping): 'leased' | 'pinned' | undefined {
    const { index, guard, leaseSeconds } = this.#parts;
    const { table } = index;
    const isLeased = table.kind(row) !== ENTRY_KIND && table.touched(row) + leaseSeconds > now;
    if (isLeased && keeping !== 'nothing') return 'leased';
    if (guard === undefined) return undefined;
    return guard.mayEvict(table.readKey(row, this.#key)) ? undefined : 'pinned';
  }

  #evict(row: number, now: number): void {
    const { index, events } = this.#parts;
    const { table } = index;
    const isEntry = table.kind(row) === ENTRY_KIND;
    const eviction = {
      what: isEntry ? ('entry' as const) : ('blob' as const),
      hash: table.readKey(row, this.#key).hex(),
      sizeBytes: recordBytes(table.payloadBytes(row)),
      ageSeconds: now - table.touched(row),
    };
    index.remove(row);
    if (isEntry) this.#evictedEntries++;
    else this.#evictedBlobs++;
    events.evicted(eviction);
  }

  async #copy(segment: SegmentFile, row: number): Promise<void> {
    const { index, log, space, onDamaged } = this.#parts;
    const { table } = index;
    const offset = table.offset(row);
    const bytes = recordBytes(table.payloadBytes(row));
    let raw: Buffer;
    try {
      raw = await readRecord(segment, offset, bytes);
    } catch (error) {
      const ours = readError(error, 'copying a record forward');
      if (!isKind(ours, 'data-loss')) throw ours;
      if (isAt(table, row, segment.id, offset)) onDamaged(row, { bytes: undefined, reason: ours.message });
      return;
    }
    if (!isAt(table, row, segment.id, offset)) return;
    const parsed = parseRecord(segment.mark, raw);
    if ('damage' in parsed) {
      onDamaged(row, { bytes: raw, reason: parsed.damage });
      return;
    }
    space.add('segments', bytes);
    await log.append({
      raw,
      isWanted: () => isAt(table, row, segment.id, offset),
      committed: (place) => this.#copied({ row, segment, offset }, place, bytes),
      skipped: () => space.give('segments', bytes),
    });
  }

  #copied(
    from: { readonly row: number; readonly segment: SegmentFile; readonly offset: number },
    place: RecordPlace,
    bytes: number,
  ): void {
    const { index } = this.#parts;
    this.#copiedBytes += bytes;
    // It may have been put aside, or removed, while the copy was written; then the copy is garbage.
    if (!isAt(index.table, from.row, from.segment.id, from.offset)) return;
    index.move(from.row, place.segment, place.offset);
  }
}

function placesIn(table: DigestTable, segment: number): readonly { readonly row: number; readonly offset: number }[] {
  return table.rowsOf(segment).map((row) => ({ row, offset: table.offset(row) }));
}

/** Whether the row is in use and refers to that place. */
function isAt(table: DigestTable, row: number, segment: number, offset: number): boolean {
  return table.kind(row) !== 0 && table.segment(row) === segment && table.offset(row) === offset;
}

/** Waits for all of them, also if one fails. @throws the first failure. */
async function allOf(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
