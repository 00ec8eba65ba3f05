import { crc32 } from 'node:zlib';
import { invariant } from '../../../errors.ts';

/*
 * The bytes of a segment file (docs/storage.md has the same with reasons). Numbers are little-endian.
 *
 *     segment header, 32 bytes
 *        0  8  "GANTRYSG"
 *        8  4  version, 1
 *       12  4  number of the segment; its file is called after it
 *       16  4  store seconds at its creation
 *       20  8  mark of the store: random, the same in all its segments, known to nobody else
 *       28  4  CRC-32 of the 28 bytes before
 *
 *     record, at a multiple of 8: header, key, data, zeros up to the next multiple of 8
 *        0  4  first half of the mark
 *        4  4  CRC-32 of the header's other bytes, 8 to 31, begun with the second half of the mark
 *        8  1  kind: the number of the digest function of a blob, 128 for an entry
 *        9  1  flags: 1 = removal; what the key named is gone. With data, segment and offset (4 bytes each): only that record
 *       10  2  key bytes: a blob's hash, an entry's key as UTF-8
 *       12  4  data bytes
 *       16  4  CRC-32 of key and data
 *       20  6  sequence number: one more for every new record, kept when a record is copied forward
 *       26  6  wall-clock milliseconds of the put, kept when it is copied forward
 *
 * The mark is there because data is what clients choose. After damage the next record is searched for, and what a blob contains must
 * not be taken for one: an action result of someone's making.
 */

/** Version of the layout of segments, index and lease log together. */
export const SEGMENT_FORMAT_VERSION = 1;

/** Bytes before the first record of a segment. */
export const SEGMENT_HEADER_BYTES = 32;

/** Bytes before the key of a record. */
export const RECORD_HEADER_BYTES = 32;

/** Records start at multiples of this, so that a search after damage tries few places. */
export const RECORD_ALIGNMENT = 8;

/** Kind of an entry's record; below are digest functions. */
export const ENTRY_KIND = 128;

const SEGMENT_MAGIC = Buffer.from('GANTRYSG');
const REMOVAL = 1;

/** Bytes of a mark. */
export const MARK_BYTES = 8;

/** What records of one store begin with; see above. */
export class RecordMark {
  readonly bytes: Buffer;
  readonly start: number;
  readonly seed: number;

  /** @param bytes 8 of them that nobody can guess. */
  constructor(bytes: Uint8Array) {
    invariant(bytes.length === MARK_BYTES, 'a mark has 8 bytes');
    this.bytes = Buffer.from(bytes);
    this.start = this.bytes.readUInt32LE(0);
    this.seed = this.bytes.readUInt32LE(4);
  }
}

/** What stands before a record's key. */
export interface RecordHeader {
  readonly kind: number;
  readonly isRemoval: boolean;
  readonly keyBytes: number;
  readonly dataBytes: number;
  readonly payloadCrc: number;
  readonly sequence: number;
  readonly writtenMs: number;
}

/** A record as it is handed to the log. */
export interface NewRecord {
  readonly kind: number;
  readonly isRemoval: boolean;
  readonly key: Uint8Array;
  readonly data: Uint8Array;
  readonly sequence: number;
  readonly writtenMs: number;
}

/** Bytes of a record in the file, padding included. @param payloadBytes key and data together. */
export function recordBytes(payloadBytes: number): number {
  return Math.ceil((RECORD_HEADER_BYTES + payloadBytes) / RECORD_ALIGNMENT) * RECORD_ALIGNMENT;
}

/** Writes header and key. @returns the position after them, where the data goes. */
export function writeRecordStart(mark: RecordMark, record: NewRecord, into: Buffer, at: number): number {
  const { key, data } = record;
  into.writeUInt32LE(mark.start, at);
  into[at + 8] = record.kind;
  into[at + 9] = record.isRemoval ? REMOVAL : 0;
  into.writeUInt16LE(key.length, at + 10);
  into.writeUInt32LE(data.length, at + 12);
  into.writeUInt32LE(crc32(data, crc32(key)), at + 16);
  into.writeUIntLE(record.sequence, at + 20, 6);
  into.writeUIntLE(record.writtenMs, at + 26, 6);
  into.writeUInt32LE(crc32(into.subarray(at + 8, at + RECORD_HEADER_BYTES), mark.seed), at + 4);
  into.set(key, at + RECORD_HEADER_BYTES);
  return at + RECORD_HEADER_BYTES + key.length;
}

/** The header at a position, or undefined if there is none that is whole. */
export function readRecordHeader(mark: RecordMark, bytes: Buffer, at: number): RecordHeader | undefined {
  if (at + RECORD_HEADER_BYTES > bytes.length || bytes.readUInt32LE(at) !== mark.start) return undefined;
  const checksum = crc32(bytes.subarray(at + 8, at + RECORD_HEADER_BYTES), mark.seed);
  if (bytes.readUInt32LE(at + 4) !== checksum) return undefined;
  return {
    kind: bytes.readUInt8(at + 8),
    isRemoval: (bytes.readUInt8(at + 9) & REMOVAL) !== 0,
    keyBytes: bytes.readUInt16LE(at + 10),
    dataBytes: bytes.readUInt32LE(at + 12),
    payloadCrc: bytes.readUInt32LE(at + 16),
    sequence: bytes.readUIntLE(at + 20, 6),
    writtenMs: bytes.readUIntLE(at + 26, 6),
  };
}

/** A whole record taken apart. The arrays are views. */
export interface ParsedRecord {
  readonly header: RecordHeader;
  readonly key: Buffer;
  readonly data: Buffer;
}

/** The record that `bytes` starts with, its checksums verified; or what is wrong with it. */
export function parseRecord(mark: RecordMark, bytes: Buffer): ParsedRecord | { readonly damage: string } {
  const header = readRecordHeader(mark, bytes, 0);
  if (header === undefined) return { damage: 'its header does not have its checksum' };
  const dataAt = RECORD_HEADER_BYTES + header.keyBytes;
  const end = dataAt + header.dataBytes;
  if (end > bytes.length) return { damage: 'it is longer than its place' };
  if (crc32(bytes.subarray(RECORD_HEADER_BYTES, end)) !== header.payloadCrc) {
    return { damage: 'its bytes do not have their checksum' };
  }
  return { header, key: bytes.subarray(RECORD_HEADER_BYTES, dataAt), data: bytes.subarray(dataAt, end) };
}

/** The data of the removal of a damaged blob: which of its records is meant. A later one is none of its business. */
export function encodeRemovedPlace(place: { readonly segment: number; readonly offset: number }): Buffer {
  const data = Buffer.alloc(8);
  data.writeUInt32LE(place.segment, 0);
  data.writeUInt32LE(place.offset, 4);
  return data;
}

/** The record that a removal means, or undefined if it means all of its key. */
export function decodeRemovedPlace(data: Buffer): { readonly segment: number; readonly offset: number } | undefined {
  return data.length < 8 ? undefined : { segment: data.readUInt32LE(0), offset: data.readUInt32LE(4) };
}

/** The next place at or after `at` that begins like a record, or the end of `bytes`. */
export function nextRecordStart(mark: RecordMark, bytes: Buffer, at: number): number {
  invariant(at % RECORD_ALIGNMENT === 0, 'records are aligned');
  for (let place = at; place + 4 <= bytes.length; place += RECORD_ALIGNMENT) {
    if (bytes.readUInt32LE(place) === mark.start) return place;
  }
  return bytes.length;
}

/** What a segment file begins with. */
export interface SegmentHeader {
  readonly id: number;
  readonly createdSeconds: number;
  readonly mark: RecordMark;
}

/** The first bytes of a segment file. */
export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes);
  bytes.writeUInt32LE(SEGMENT_FORMAT_VERSION, 8);
  bytes.writeUInt32LE(header.id, 12);
  bytes.writeUInt32LE(header.createdSeconds, 16);
  header.mark.bytes.copy(bytes, 20);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 28)), 28);
  return bytes;
}

/** The header of a segment file, or undefined if it is damaged. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  const isWhole =
    bytes.length >= SEGMENT_HEADER_BYTES &&
    bytes.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC) &&
    bytes.readUInt32LE(28) === crc32(bytes.subarray(0, 28)) &&
    bytes.readUInt32LE(8) === SEGMENT_FORMAT_VERSION;
  if (!isWhole) return undefined;
  const mark = new RecordMark(bytes.subarray(20, 20 + MARK_BYTES));
  return { id: bytes.readUInt32LE(12), createdSeconds: bytes.readUInt32LE(16), mark };
}
