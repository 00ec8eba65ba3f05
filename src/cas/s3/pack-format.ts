import { crc32 } from 'node:zlib';
import { ReapiError } from '../../errors.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import type { ContainerId } from './object-names.ts';
import { MAX_RECORD_BYTES, type PackedRecord, RecordCursor, writeHex } from './pack-record.ts';

/*
 * The bytes of a pack. Numbers are little-endian.
 *
 *     bodies, one after another, no padding
 *        of a blob: its bytes
 *        of an entry or a removal: see entry-body.ts
 *
 *     footer
 *       header, 30 bytes
 *        0  8  writer of the pack
 *        8  6  number of the pack
 *       14  4  nonce of the pack
 *       18  4  created: seconds since 1970
 *       22  4  number of condemnations
 *       26  4  number of records
 *
 *       condemnation, 22 bytes each
 *        0  8  writer of the condemned container
 *        8  6  its number
 *       14  4  its nonce
 *       18  4  keep since: seconds since 1970
 *
 *       record, each, in the order of the bodies: see pack-record.ts
 *
 *     trailer, 32 bytes, the last of the object
 *        0  8  "GANTRYPK"
 *        8  2  version, 1
 *       10  2  reserved, 0
 *       12  6  offset of the footer: the bytes of all bodies
 *       18  4  bytes of the footer
 *       22  6  reserved, 0
 *       28  4  CRC-32 of the footer and then of the 28 bytes before
 *
 * The footer does not cover the bodies: a blob is verified by its digest and an entry by its own checksum, when they are read.
 */

/** Version of the layout of packs. */
export const PACK_FORMAT_VERSION = 1;

/** Bytes of the trailer, the last ones of a pack. */
export const PACK_TRAILER_BYTES = 32;

/** Records in a pack. Bounds what a reader must hold of a footer, and what is copied forward at once. */
export const MAX_PACK_RECORDS = 65_536;

/** Condemnations in a pack. */
export const MAX_PACK_CONDEMNATIONS = 65_536;

/** Bytes of all bodies of a pack: offsets have 32 bits. */
export const MAX_PACK_BODY_BYTES = 2 ** 32 - 1;

/** Bytes of a footer before its condemnations. */
export const FOOTER_HEADER_BYTES = 30;

/** Bytes of a condemnation. */
export const CONDEMNATION_BYTES = 22;

/** Bytes of the longest footer. */
export const MAX_FOOTER_BYTES =
  FOOTER_HEADER_BYTES + MAX_PACK_CONDEMNATIONS * CONDEMNATION_BYTES + MAX_PACK_RECORDS * MAX_RECORD_BYTES;

const MAGIC = Buffer.from('GANTRYPK');
const CRC_AT = PACK_TRAILER_BYTES - 4;
const ID_BYTES = 18;

/** At least this much of the end of an object is read at first; a request costs more than these bytes. */
const MIN_TAIL_BYTES = 64 * 1024;

/** A twentieth of a pack is footer if its blobs have 700 bytes; most are longer. */
const TAIL_SHARE = 20;

/** What a footer says of its pack. */
export interface PackHeader {
  readonly id: ContainerId;
  /** Seconds since 1970, by the clock of its writer. */
  readonly createdSeconds: number;
}

/** That a container is to be deleted, once everyone copied forward what they need of it. */
export interface Condemnation {
  readonly id: ContainerId;
  /** What was used since then is to be copied forward: seconds since 1970. */
  readonly keepSinceSeconds: number;
}

/** Where a footer is in its object. */
export interface FooterPlace {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Is told what a footer holds: first the condemnations, then the records, each in order. */
export interface PackVisitor {
  condemned(condemnation: Condemnation): void;
  /** Both arguments are used again for the next record: they are valid during the call only. */
  record(key: RowKey, record: PackedRecord): void;
}

/** How many bytes of the end of an object to read at first, so that one request usually gets the whole footer. */
export function tailBytes(objectBytes: number): number {
  const wanted = Math.max(MIN_TAIL_BYTES, Math.ceil(objectBytes / TAIL_SHARE));
  return Math.min(wanted, MAX_FOOTER_BYTES + PACK_TRAILER_BYTES, objectBytes);
}

/**
 * Where the footer is, as far as the trailer can tell: `decodeFooter` verifies it.
 * @param trailer the last `PACK_TRAILER_BYTES` of the object, or all of a shorter one.
 * @throws data-loss if it is no trailer, or not of an object of that length; precondition if a newer Gantry wrote it.
 */
export function footerPlace(trailer: Uint8Array, objectBytes: number): FooterPlace {
  const place = readTrailer(bufferOf(trailer));
  const endBytes = place.offset + place.lengthBytes + PACK_TRAILER_BYTES;
  if (endBytes !== objectBytes) {
    throw damaged(`its trailer is that of an object of ${endBytes} bytes, and it has ${objectBytes}`);
  }
  return place;
}

/**
 * Verifies the whole footer, then shows what it holds; nothing is visited of one that is not whole.
 * @param footer the bytes at `footerPlace`. @param trailer those that it was found with.
 * @throws data-loss if anything is wrong with it; precondition as `footerPlace`; what the visitor throws.
 */
export function decodeFooter(footer: Uint8Array, trailer: Uint8Array, visitor: PackVisitor): PackHeader {
  const end = bufferOf(trailer);
  const bytes = bufferOf(footer);
  const place = readTrailer(end);
  if (bytes.length !== place.lengthBytes) {
    throw damaged(`${bytes.length} bytes of its footer were read and it has ${place.lengthBytes}`);
  }
  if (end.readUInt32LE(CRC_AT) !== trailerCrc(bytes, end)) throw damaged('its footer does not have its checksum');
  verify(bytes, place.offset);
  visit(bytes, visitor);
  return { id: readId(bytes, 0), createdSeconds: bytes.readUInt32LE(ID_BYTES) };
}

/** Writes the header of a footer, at the beginning of `footer`. */
export function writeFooterHeader(
  footer: Buffer,
  header: PackHeader,
  counts: { readonly condemnations: number; readonly records: number },
): void {
  writeId(footer, header.id, 0);
  footer.writeUInt32LE(header.createdSeconds, ID_BYTES);
  footer.writeUInt32LE(counts.condemnations, ID_BYTES + 4);
  footer.writeUInt32LE(counts.records, ID_BYTES + 8);
}

/** Writes a condemnation of `CONDEMNATION_BYTES`. */
export function writeCondemnation(footer: Buffer, condemnation: Condemnation, at: number): void {
  writeId(footer, condemnation.id, at);
  footer.writeUInt32LE(condemnation.keepSinceSeconds, at + ID_BYTES);
}

/** The trailer after a footer. @param offset where the footer begins: the bytes of all bodies. */
export function writeTrailer(into: Buffer, footer: Buffer, offset: number): void {
  into.fill(0, 0, PACK_TRAILER_BYTES);
  MAGIC.copy(into);
  into.writeUInt16LE(PACK_FORMAT_VERSION, 8);
  into.writeUIntLE(offset, 12, 6);
  into.writeUInt32LE(footer.length, 18);
  into.writeUInt32LE(trailerCrc(footer, into), CRC_AT);
}

function readTrailer(trailer: Buffer): FooterPlace {
  if (trailer.length !== PACK_TRAILER_BYTES || !trailer.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw damaged('it does not end with a trailer');
  }
  const version = trailer.readUInt16LE(8);
  if (version > PACK_FORMAT_VERSION) {
    const known = `this server reads packs up to version ${PACK_FORMAT_VERSION}`;
    throw new ReapiError('precondition', `the pack is of version ${version}, and ${known}: upgrade it`);
  }
  if (version !== PACK_FORMAT_VERSION) throw damaged(`it is of version ${version}, which never was`);
  const place = { offset: trailer.readUIntLE(12, 6), lengthBytes: trailer.readUInt32LE(18) };
  if (place.offset > MAX_PACK_BODY_BYTES) throw damaged(`its bodies have ${place.offset} bytes`);
  if (place.lengthBytes < FOOTER_HEADER_BYTES || place.lengthBytes > MAX_FOOTER_BYTES) {
    throw damaged(`its footer has ${place.lengthBytes} bytes`);
  }
  return place;
}

function trailerCrc(footer: Buffer, trailer: Buffer): number {
  return crc32(trailer.subarray(0, CRC_AT), crc32(footer));
}

/** That a footer with its checksum also makes sense: one without was damaged, one that does not was written wrong. */
function verify(footer: Buffer, bodyBytes: number): void {
  const { condemnations, records, recordsAt } = readCounts(footer);
  if (condemnations > MAX_PACK_CONDEMNATIONS) throw damaged(`it has ${condemnations} condemnations`);
  if (records > MAX_PACK_RECORDS) throw damaged(`it has ${records} records`);
  const cursor = new RecordCursor(footer, recordsAt);
  for (let index = 0; index < records; index++) {
    if (!cursor.advance()) throw damaged(`its footer has no record ${index} where it should be`);
  }
  if (cursor.nextAt !== footer.length) throw damaged('its footer is not as long as its records');
  const foundBytes = cursor.offset + cursor.lengthBytes;
  if (foundBytes !== bodyBytes) throw damaged(`its records have ${foundBytes} bytes and its bodies ${bodyBytes}`);
}

/** Only after `verify`. */
function visit(footer: Buffer, visitor: PackVisitor): void {
  const { records, recordsAt } = readCounts(footer);
  for (let at = FOOTER_HEADER_BYTES; at < recordsAt; at += CONDEMNATION_BYTES) {
    visitor.condemned({ id: readId(footer, at), keepSinceSeconds: footer.readUInt32LE(at + ID_BYTES) });
  }
  const key = new RowKey();
  const cursor = new RecordCursor(footer, recordsAt);
  for (let index = 0; index < records; index++) {
    cursor.advance();
    cursor.readVersion();
    visitor.record(key.setBytes(cursor.kind, footer, cursor.hashAt), cursor);
  }
}

function readCounts(footer: Buffer) {
  const condemnations = footer.readUInt32LE(ID_BYTES + 4);
  const records = footer.readUInt32LE(ID_BYTES + 8);
  return { condemnations, records, recordsAt: FOOTER_HEADER_BYTES + condemnations * CONDEMNATION_BYTES };
}

function writeId(into: Buffer, id: ContainerId, at: number): void {
  writeHex(into, id.writer, at, 8);
  into.writeUIntLE(id.number, at + 8, 6);
  writeHex(into, id.nonce, at + 14, 4);
}

function readId(bytes: Buffer, at: number): ContainerId {
  return {
    writer: bytes.toString('hex', at, at + 8),
    number: bytes.readUIntLE(at + 8, 6),
    nonce: bytes.toString('hex', at + 14, at + ID_BYTES),
  };
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(what: string): ReapiError {
  return new ReapiError('data-loss', `the pack is damaged: ${what}`);
}
