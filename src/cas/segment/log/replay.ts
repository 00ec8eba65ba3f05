import {
  nextRecordStart,
  parseRecord,
  RECORD_ALIGNMENT,
  RECORD_HEADER_BYTES,
  type RecordHeader,
  readRecordHeader,
  recordBytes,
  SEGMENT_HEADER_BYTES,
} from './format.ts';
import type { SegmentFile } from './segment-file.ts';

/** Bytes of a segment that are looked at together. */
const WINDOW_BYTES = 1024 * 1024;

/** A record that replay found. `key` and `removal` are views that are good until the next one. */
export interface FoundRecord {
  readonly header: RecordHeader;
  readonly key: Buffer;
  /** The data of a removal; undefined for other records. */
  readonly removal: Buffer | undefined;
  readonly segment: number;
  readonly offset: number;
}

/** What reading a segment came to. */
export interface ReplayedSegment {
  /** End of the last whole record. */
  readonly endBytes: number;
  /** Places between whole records that are none: damage, not the torn end of an unclean stop. */
  readonly damagedPlaces: number;
}

/** Of one segment, what to read. */
export interface ReplayRange {
  readonly fromBytes: number;
  /** Whether keys and data are read and compared with their checksums, beside the headers. */
  readonly verifies: boolean;
}

/**
 * Tells of the whole records of a segment, in order. After a place that is no whole record the search goes on at the next one
 * that begins like one: a damaged record hides no other. Throws system errors.
 */
export function replaySegment(
  segment: SegmentFile,
  range: ReplayRange,
  visit: (record: FoundRecord) => void,
): ReplayedSegment {
  const window = new Window(segment);
  let endBytes = Math.max(range.fromBytes, SEGMENT_HEADER_BYTES);
  let damagedPlaces = 0;
  let isSearching = false;
  for (let offset = endBytes; offset + RECORD_HEADER_BYTES <= segment.sizeBytes; ) {
    const found = readAt(window, segment, offset, range.verifies);
    if (found === undefined) {
      isSearching = true;
      offset = window.nextStart(offset + RECORD_ALIGNMENT);
      continue;
    }
    if (isSearching) damagedPlaces++;
    isSearching = false;
    visit(found);
    offset += recordBytes(found.header.keyBytes + found.header.dataBytes);
    endBytes = offset;
  }
  return { endBytes: Math.min(endBytes, segment.sizeBytes), damagedPlaces };
}

function readAt(window: Window, segment: SegmentFile, offset: number, verifies: boolean): FoundRecord | undefined {
  const start = window.at(offset, RECORD_HEADER_BYTES);
  const header = start && readRecordHeader(segment.mark, start, 0);
  if (header === undefined) return undefined;
  const endBytes = offset + RECORD_HEADER_BYTES + header.keyBytes + header.dataBytes;
  if (endBytes > segment.sizeBytes) return undefined;
  const dataAt = RECORD_HEADER_BYTES + header.keyBytes;
  const isRead = verifies || header.isRemoval;
  const wanted = dataAt + (isRead ? header.dataBytes : 0);
  const bytes = window.at(offset, wanted);
  if (bytes === undefined || (isRead && 'damage' in parseRecord(segment.mark, bytes))) return undefined;
  const key = bytes.subarray(RECORD_HEADER_BYTES, dataAt);
  const removal = header.isRemoval ? bytes.subarray(dataAt) : undefined;
  return { header, key, removal, segment: segment.id, offset };
}

/** A part of a segment in memory, which moves forward. */
class Window {
  readonly #segment: SegmentFile;
  #buffer = Buffer.allocUnsafeSlow(WINDOW_BYTES);
  #start = 0;
  #end = 0;

  constructor(segment: SegmentFile) {
    this.#segment = segment;
  }

  /** A view of the bytes at a position, or undefined if they are not all there. */
  at(position: number, bytes: number): Buffer | undefined {
    if (position < this.#start || position + bytes > this.#end) this.#load(position, Math.max(bytes, WINDOW_BYTES));
    if (position + bytes > this.#end) return undefined;
    return this.#buffer.subarray(position - this.#start, position - this.#start + bytes);
  }

  /** The next place that begins like a record, or the end of the segment. */
  nextStart(position: number): number {
    const { mark, sizeBytes } = this.#segment;
    for (let from = position; from < sizeBytes; from = this.#end) {
      if (this.at(from, RECORD_ALIGNMENT) === undefined) return sizeBytes;
      const bytes = this.#buffer.subarray(from - this.#start, this.#end - this.#start);
      const found = nextRecordStart(mark, bytes, 0);
      if (found < bytes.length) return from + found;
      if (bytes.length % RECORD_ALIGNMENT !== 0) return sizeBytes;
    }
    return sizeBytes;
  }

  #load(position: number, bytes: number): void {
    if (bytes > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(bytes);
    this.#start = position;
    this.#end = position + this.#segment.read(this.#buffer, position);
  }
}
