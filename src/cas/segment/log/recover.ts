import { hash } from 'node:crypto';
import { join } from 'node:path';
import type { FileSystem } from '../../../system/file-system.ts';
import type { Log } from '../../../system/log.ts';
import type { Quarantine } from '../../../system/quarantine.ts';
import type { DigestTable } from '../record-index/digest-table.ts';
import { INDEX_FILE, type IndexFacts, readIndexFile } from '../record-index/index-file.ts';
import { readLeaseFile } from '../record-index/lease-file.ts';
import { KEY_BYTES, RowKey } from '../record-index/row-key.ts';
import { decodeRemovedPlace, ENTRY_KIND, type RecordMark, recordBytes } from './format.ts';
import type { FoundRecord } from './replay.ts';
import { replaySegment } from './replay.ts';
import { SegmentFile, segmentIdOf } from './segment-file.ts';

/** What recovery works on. */
export interface Recovery {
  readonly folder: string;
  readonly files: FileSystem;
  readonly log: Log;
  readonly quarantine: Quarantine;
  readonly table: DigestTable;
  readonly mark: RecordMark;
  /** After the loss of the index it is not known what was promised: the newest this many bytes count as promised now. */
  readonly assumedLeaseBytes: number;
  /** Told of the segments before they are read: whoever opens closes them if something fails. */
  readonly onOpened: (segments: readonly SegmentFile[]) => void;
}

/** What recovery found. */
export interface Recovered {
  /** In ascending order; the last one ends with its last whole record. */
  readonly segments: readonly SegmentFile[];
  /** Not before any time the store was seen at. */
  readonly storeSeconds: number;
  readonly nextSequence: number;
  /** The newest segment must not be continued: it ends before the position that the snapshot names. Numbers go on from here. */
  readonly firstNewId: number;
  readonly isLastWhole: boolean;
  /** Segments from which records were read because no snapshot had them: they may not be on the device. */
  readonly replayedSegments: readonly SegmentFile[];
  /** Records read from segments because no snapshot had them; 0 after a clean stop. */
  readonly replayedRecords: number;
  /** Places in segments, and files, that were found damaged. */
  readonly damagedPlaces: number;
  /** Renewals since the snapshot, for blobs that have files of their own: first 8 bytes of a hash, and when. */
  readonly renewals: ReadonlyMap<string, number>;
  /** Names of the lease logs that were read. */
  readonly leaseFiles: readonly string[];
}

const LEASE_FILE = /^leases-([0-9a-f]{8})$/;

/** Name of the lease log with that number. */
export function leaseFileName(number: number): string {
  return `leases-${number.toString(16).padStart(8, '0')}`;
}

/** Number of a lease log. */
export function leaseFileNumber(name: string): number {
  return Number.parseInt(LEASE_FILE.exec(name)?.[1] ?? '0', 16);
}

/**
 * Fills the table from what the folder holds: the snapshot of the index, then the records written after it, then the leases
 * renewed since. Without a snapshot, or with a damaged one, all segments are read. Throws system errors.
 */
export function recover(parts: Recovery): Recovered {
  return new Recoverer(parts).run();
}

class Recoverer {
  readonly #parts: Recovery;
  readonly #key = new RowKey();
  #storeSeconds = 0;
  #nextSequence = 1;
  #replayedRecords = 0;
  readonly #replayedSegments: SegmentFile[] = [];
  #damagedPlaces = 0;
  /** Records of older segments than this count as not promised. */
  #promisedSince = 0;

  constructor(parts: Recovery) {
    this.#parts = parts;
  }

  run(): Recovered {
    const { files, folder } = this.#parts;
    const names = files.list(folder);
    const segments = this.#openSegments(names);
    const facts = this.#readIndex(new Map(segments.map((segment) => [segment.id, segment])));
    const leaseFiles = names.filter((name) => LEASE_FILE.test(name)).sort();
    const renewals = this.#readRenewals(leaseFiles);
    if (facts === undefined) this.#promisedSince = this.#assumePromises(segments);
    for (const segment of segments) this.#replay(segment, facts, segment === segments.at(-1));
    this.#applyRenewals(renewals);
    const last = segments.at(-1);
    const isLastWhole = facts === undefined || (last !== undefined && reaches(last, facts));
    return {
      segments,
      firstNewId: (facts?.segment ?? 0) + 1,
      isLastWhole,
      replayedSegments: this.#replayedSegments,
      storeSeconds: this.#storeSeconds,
      nextSequence: this.#nextSequence,
      replayedRecords: this.#replayedRecords,
      damagedPlaces: this.#damagedPlaces,
      renewals,
      leaseFiles,
    };
  }

  #openSegments(names: readonly string[]): readonly SegmentFile[] {
    const { files, folder, log } = this.#parts;
    const ids = names.flatMap((name) => segmentIdOf(name) ?? []).sort((a, b) => a - b);
    const segments: SegmentFile[] = [];
    this.#parts.onOpened(segments);
    for (const id of ids) {
      const { segment, isDamaged } = SegmentFile.open(files, folder, id, this.#parts.mark);
      segments.push(segment);
      this.#storeSeconds = Math.max(this.#storeSeconds, segment.createdSeconds);
      if (isDamaged) {
        this.#damagedPlaces++;
        log.error({ segment: id }, 'the header of a segment was damaged; its records are read nevertheless');
      }
    }
    return segments;
  }

  /** The facts of the snapshot whose rows are in the table now, or undefined. */
  #readIndex(segments: ReadonlyMap<number, SegmentFile>): IndexFacts | undefined {
    const { files, folder, table, log, quarantine } = this.#parts;
    const facts = readIndexFile(files, folder, (key, place) => {
      const segment = segments.get(place.segment);
      if (segment === undefined || place.offset + recordBytes(place.payloadBytes) > segment.sizeBytes) return;
      if (table.find(key) < 0) table.add(key, place);
    });
    if (facts === 'absent') return undefined;
    if ('damage' in facts) {
      this.#damagedPlaces++;
      log.error({ reason: facts.damage }, 'the index is damaged; it is built anew from the segments');
      quarantine.take(join(folder, INDEX_FILE), INDEX_FILE);
      return undefined;
    }
    this.#storeSeconds = Math.max(this.#storeSeconds, facts.storeSeconds);
    this.#nextSequence = facts.nextSequence;
    this.#forgetAfter(facts, segments);
    return facts;
  }

  /** Rows that the snapshot has of records behind its position: replay finds these, if they are whole. */
  #forgetAfter(facts: IndexFacts, segments: ReadonlyMap<number, SegmentFile>): void {
    const { table } = this.#parts;
    for (const id of segments.keys()) {
      if (id < facts.segment) continue;
      for (const row of table.rowsOf(id)) {
        if (id > facts.segment || table.offset(row) >= facts.offset) table.remove(row);
      }
    }
  }

  #readRenewals(leaseFiles: readonly string[]): Map<string, number> {
    const { files, folder } = this.#parts;
    const renewals = new Map<string, number>();
    for (const name of leaseFiles) {
      readLeaseFile(files, join(folder, name), (word0, word1, seconds) => {
        renewals.set(prefixKey(word0, word1), seconds);
        this.#storeSeconds = Math.max(this.#storeSeconds, seconds);
      });
    }
    return renewals;
  }

  #applyRenewals(renewals: ReadonlyMap<string, number>): void {
    const { table } = this.#parts;
    for (const [prefix, seconds] of renewals) {
      const rows = table.findPrefix(Number.parseInt(prefix.slice(0, 8), 16), Number.parseInt(prefix.slice(8), 16));
      for (const row of rows) if (table.touched(row) < seconds) table.setTouched(row, seconds);
    }
  }

  #assumePromises(segments: readonly SegmentFile[]): number {
    let bytes = 0;
    for (const segment of segments.toReversed()) {
      bytes += segment.sizeBytes;
      if (bytes > this.#parts.assumedLeaseBytes) return segment.id + 1;
    }
    return 0;
  }

  /** What may be torn is verified now: all that came after the snapshot. Of a lost index, that is unknown: at least the end. */
  #replay(segment: SegmentFile, facts: IndexFacts | undefined, isLast: boolean): void {
    if (facts !== undefined && segment.id < facts.segment) return;
    const fromBytes = segment.id === facts?.segment ? facts.offset : 0;
    const range = { fromBytes, verifies: facts !== undefined || isLast };
    const before = this.#replayedRecords;
    const { endBytes, damagedPlaces } = replaySegment(segment, range, (found) => this.#take(found));
    if (this.#replayedRecords > before) this.#replayedSegments.push(segment);
    this.#damagedPlaces += damagedPlaces;
    if (damagedPlaces > 0) {
      const { log } = this.#parts;
      log.error({ segment: segment.id, places: damagedPlaces }, 'damaged records of a segment were passed over');
    }
    if (endBytes < segment.sizeBytes) segment.cutOff(endBytes);
  }

  #take({ header, key, removal, segment, offset }: FoundRecord): void {
    const { table } = this.#parts;
    this.#replayedRecords++;
    this.#nextSequence = Math.max(this.#nextSequence, header.sequence + 1);
    if (header.kind === ENTRY_KIND) this.#key.setBytes(ENTRY_KIND, hash('sha256', key, 'buffer'));
    else this.#key.setBytes(header.kind, key.length < KEY_BYTES ? Buffer.concat([key], KEY_BYTES) : key);
    const row = table.find(this.#key);
    const meant = removal && decodeRemovedPlace(removal);
    const isMeant = meant === undefined || (table.segment(row) === meant.segment && table.offset(row) === meant.offset);
    if (row >= 0 && isMeant) table.remove(row);
    if (header.isRemoval) return;
    const touched = segment >= this.#promisedSince ? this.#storeSeconds : 0;
    table.add(this.#key, { segment, offset, payloadBytes: header.keyBytes + header.dataBytes, touched });
  }
}

/** Whether the segment is as long as it was when the snapshot was written, or newer. */
function reaches(segment: SegmentFile, facts: IndexFacts): boolean {
  return segment.id > facts.segment || (segment.id === facts.segment && segment.sizeBytes >= facts.offset);
}

function prefixKey(word0: number, word1: number): string {
  return word0.toString(16).padStart(8, '0') + word1.toString(16).padStart(8, '0');
}
