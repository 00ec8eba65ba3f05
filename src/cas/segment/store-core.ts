import { join } from 'node:path';
import { isKind, ReapiError, systemCode } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import { closeUnneeded, readError } from '../../system/file-errors.ts';
import type { FileSystem } from '../../system/file-system.ts';
import type { Log } from '../../system/log.ts';
import type { Quarantine } from '../../system/quarantine.ts';
import { ENTRY_KIND, encodeRemovedPlace, type NewRecord, type RecordMark, recordBytes } from './log/format.ts';
import { isSamePlace, type RecordPlace, type SegmentLog } from './log/segment-log.ts';
import type { Segments } from './log/segments.ts';
import { INDEX_ROW_BYTES } from './record-index/digest-table.ts';
import type { RecordIndex } from './record-index/record-index.ts';
import { RowKey } from './record-index/row-key.ts';
import type { Space } from './space.ts';

/** What a core joins. */
export interface StoreCoreParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly files: FileSystem;
  readonly index: RecordIndex;
  readonly segments: Segments;
  readonly space: Space;
  readonly quarantine: Quarantine;
  /** Sequence number of the next record. */
  readonly nextSequence: number;
}

/** What is wrong with a record. */
export interface RecordDamage {
  readonly reason: string;
  /** The record as it was read, if it was. */
  readonly bytes: Uint8Array | undefined;
}

/** What the blob store and the entry store of one log have in common: appending, reading, and putting damaged records aside. */
export class StoreCore {
  readonly clock: Clock;
  readonly index: RecordIndex;
  readonly #parts: StoreCoreParts;
  readonly #background = new Set<Promise<void>>();
  #records: SegmentLog | undefined;
  #sequence: number;
  #quarantined = 0;
  #isClosed = false;

  constructor(parts: StoreCoreParts) {
    this.clock = parts.clock;
    this.index = parts.index;
    this.#parts = parts;
    this.#sequence = parts.nextSequence;
  }

  /** What records of this store begin with. */
  get mark(): RecordMark {
    return this.#parts.segments.mark;
  }

  get nextSequence(): number {
    return this.#sequence;
  }

  /** Damaged records put aside since the start. */
  get quarantined(): number {
    return this.#quarantined;
  }

  /** Where records go. Set once, while the store opens. */
  useLog(records: SegmentLog): void {
    this.#records = records;
  }

  /** @throws unavailable once the store is closed or closing. */
  throwIfClosed(): void {
    if (this.#isClosed) throw new ReapiError('unavailable', 'the store is closed');
  }

  /**
   * Writes a record. `committed` enters it into the index, in the order of the log.
   * @throws quota-exceeded; unavailable, also when the store was closed meanwhile; then `committed` was not called.
   */
  append(
    record: Omit<NewRecord, 'sequence'>,
    committed: (place: { segment: number; offset: number; payloadBytes: number }) => void,
  ): Promise<void> {
    this.throwIfClosed();
    return this.#append(record, committed);
  }

  /** Where the record of a row is. */
  placeOf(row: number): RecordPlace {
    const { table } = this.index;
    return { segment: table.segment(row), offset: table.offset(row) };
  }

  /** A record with its padding, or undefined if the device cannot read it: then it has been put aside. @throws unavailable. */
  readRow(row: number): Buffer | Promise<Buffer | undefined> {
    const { index, segments } = this.#parts;
    const key = index.table.readKey(row, new RowKey());
    const place = this.placeOf(row);
    const onError = (error: unknown): undefined => {
      const ours = readError(error, 'reading a stored blob');
      if (!isKind(ours, 'data-loss')) throw ours;
      this.putAside(key, place, { bytes: undefined, reason: ours.message });
    };
    try {
      const read = segments.readRow(index.table, row);
      return read instanceof Promise ? read.catch(onError) : read;
    } catch (error) {
      return Promise.resolve(onError(error));
    }
  }

  /**
   * Makes a damaged record absent, also after a restart, and keeps its bytes for people to look at. Nothing if the key has another
   * record by now: what was put since is no worse for it.
   */
  putAside(key: RowKey, place: RecordPlace, damage: RecordDamage): void {
    const { index, log } = this.#parts;
    const row = index.table.find(key);
    if (row < 0 || !isSamePlace(this.placeOf(row), place)) return;
    const hash = key.hex();
    const { kind } = key;
    index.remove(row);
    this.#quarantined++;
    log.error({ kind, hash, reason: damage.reason }, 'a damaged record was put into quarantine');
    if (damage.bytes !== undefined) this.#keepDamaged(`${kind}-${hash}`, damage.bytes);
    // The key of an entry is lost with its record; should a rebuild find the record again, so will its next reader.
    if (kind !== ENTRY_KIND) this.inBackground(this.#markRemoved(kind, hash, place));
  }

  /** Watches over work that nobody waits for until the store closes. A failure is logged. */
  inBackground(work: Promise<void>): void {
    const watched = work
      .catch((error: unknown) => this.#parts.log.warn({ err: error }, 'work of the store in the background failed'))
      .finally(() => this.#background.delete(watched));
    this.#background.add(watched);
  }

  /** Refuses further calls and waits for what runs. */
  async close(): Promise<void> {
    this.#isClosed = true;
    while (this.#background.size > 0) await Promise.all(this.#background);
    await this.#parts.space.settled();
    await this.#records?.settled();
  }

  async #append(
    record: Omit<NewRecord, 'sequence'>,
    committed: (place: { segment: number; offset: number; payloadBytes: number }) => void,
  ): Promise<void> {
    const { space } = this.#parts;
    const payloadBytes = record.key.length + record.data.length;
    const bytes = recordBytes(payloadBytes);
    // The index grows with the record; what it takes is accounted for after the commit.
    const takenBytes = bytes + 2 * INDEX_ROW_BYTES;
    if (!space.tryTake('segments', takenBytes)) await space.take('segments', takenBytes);
    try {
      if (this.#records === undefined) throw new ReapiError('unavailable', 'the store is not open yet');
      const { kind, isRemoval, key, data } = record;
      // A wall clock that was never set may be before 1970.
      const writtenMs = Math.max(0, Math.floor(record.writtenMs));
      await this.#records.append({
        record: { kind, isRemoval, key, data, writtenMs, sequence: this.#sequence++ },
        committed: ({ segment, offset }) => {
          space.give('segments', takenBytes - bytes);
          committed({ segment, offset, payloadBytes });
        },
      });
    } catch (error) {
      space.give('segments', takenBytes);
      throw error;
    }
  }

  async #markRemoved(kind: number, hash: string, place: RecordPlace): Promise<void> {
    const key = Buffer.from(hash, 'hex');
    const data = encodeRemovedPlace(place);
    await this.#append({ kind, isRemoval: true, key, data, writtenMs: this.clock.nowMs() }, () => undefined);
  }

  #keepDamaged(name: string, bytes: Uint8Array): void {
    const { files, quarantine, segments, log } = this.#parts;
    const path = join(segments.folder, `${name}.damaged`);
    try {
      const fd = files.open(path, 'create');
      try {
        files.writeAt(fd, [bytes], 0);
      } finally {
        closeUnneeded(files, fd);
      }
      quarantine.take(path, name);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      log.warn({ err: error }, 'the bytes of a damaged record could not be kept');
    }
  }
}
