import { invariant } from '../../errors.ts';
import { KEY_BYTES } from '../segment/record-index/row-key.ts';
import type { EntryVersion } from './entry-version.ts';

/*
 * A record in the footer of a pack (pack-format.ts). Numbers are little-endian.
 *
 *        0  1  kind: the number of the digest function of a blob, 128 for an entry, 129 for the removal of one
 *        1 32  first 32 bytes of the blob's hash, or the SHA-256 of the entry's key
 *       33  …  bytes of the body: seven bits in each byte, lowest first, the top bit set in all but the last; at most 5 bytes
 *              for kinds 128 and 129 then
 *           6  sequence
 *           8  writer that gave it
 *
 * Where its body begins is the sum of the lengths before it.
 */

/** Kind of an entry's record; below are digest functions. */
export const ENTRY_RECORD_KIND = 128;

/** Kind of the record that says that an entry was removed. */
export const REMOVAL_RECORD_KIND = 129;

const MAX_LENGTH_BYTES = 5;
const VERSION_BYTES = 14;

/** Bytes of the longest record. */
export const MAX_RECORD_BYTES = 1 + KEY_BYTES + MAX_LENGTH_BYTES + VERSION_BYTES;

/** A record of a footer. */
export interface PackedRecord {
  /** Number of a digest function, `ENTRY_RECORD_KIND` or `REMOVAL_RECORD_KIND`. */
  readonly kind: number;
  /** Where its body begins in the pack. */
  readonly offset: number;
  /** Bytes of its body. */
  readonly lengthBytes: number;
  /** Of entries and removals; 0 for blobs. */
  readonly sequence: number;
  /** Who gave the sequence, 16 hex digits, for entries and removals; empty for blobs. */
  readonly writer: string;
}

/** A record as it is written. */
export interface NewPackRecord {
  readonly kind: number;
  /** Lower-case hex, of which the first 64 characters count; a shorter one counts as one that ends in zeros. */
  readonly hash: string;
  readonly lengthBytes: number;
  /** Of entries and removals. */
  readonly version?: EntryVersion;
}

/** Writes a record of at most `MAX_RECORD_BYTES`. @returns the position after it. */
export function writeRecord(footer: Buffer, record: NewPackRecord, at: number): number {
  footer[at] = record.kind;
  const hashBytes = footer.write(record.hash, at + 1, KEY_BYTES, 'hex');
  invariant(hashBytes === Math.min(KEY_BYTES, record.hash.length / 2), 'a hash is hex');
  footer.fill(0, at + 1 + hashBytes, at + 1 + KEY_BYTES);
  let position = at + 1 + KEY_BYTES;
  let rest = record.lengthBytes;
  for (; rest > 127; rest = Math.floor(rest / 128)) footer[position++] = (rest % 128) + 128;
  footer[position++] = rest;
  if (record.version === undefined) return position;
  footer.writeUIntLE(record.version.sequence, position, 6);
  writeHex(footer, record.version.writer, position + 6, 8);
  return position + VERSION_BYTES;
}

/** Steps through the records of a footer; the scratch that visitors are shown. */
export class RecordCursor implements PackedRecord {
  kind = 0;
  offset = 0;
  lengthBytes = 0;
  sequence = 0;
  writer = '';
  hashAt = 0;
  nextAt: number;
  readonly #footer: Buffer;
  /** The writer that was last decoded: most records of a pack are of one. */
  #lastWriter = '';
  #lastLow = -1;
  #lastHigh = -1;

  constructor(footer: Buffer, at: number) {
    this.#footer = footer;
    this.nextAt = at;
  }

  /** Takes the next record, whatever follows. @returns false if there is none that is whole. */
  advance(): boolean {
    const footer = this.#footer;
    const kind = footer[this.nextAt] ?? 0;
    if (kind === 0 || kind > REMOVAL_RECORD_KIND) return false;
    this.offset += this.lengthBytes;
    this.kind = kind;
    this.hashAt = this.nextAt + 1;
    const lengthAt = this.hashAt + KEY_BYTES;
    const lastAt = lengthAt + MAX_LENGTH_BYTES - 1;
    let at = lengthAt;
    let unit = 1;
    let length = 0;
    let byte = 128;
    for (; byte >= 128; unit *= 128) {
      if (at > lastAt) return false;
      byte = footer[at++] ?? 0;
      length += (byte % 128) * unit;
    }
    this.lengthBytes = length;
    this.nextAt = kind < ENTRY_RECORD_KIND ? at : at + VERSION_BYTES;
    return this.nextAt <= footer.length;
  }

  /** Sets sequence and writer, after `advance`. */
  readVersion(): void {
    this.sequence = 0;
    this.writer = '';
    if (this.kind < ENTRY_RECORD_KIND) return;
    const at = this.nextAt - VERSION_BYTES;
    this.sequence = this.#footer.readUIntLE(at, 6);
    const low = this.#footer.readUInt32LE(at + 6);
    const high = this.#footer.readUInt32LE(at + 10);
    if (low !== this.#lastLow || high !== this.#lastHigh) {
      this.#lastWriter = this.#footer.toString('hex', at + 6, at + 14);
      this.#lastLow = low;
      this.#lastHigh = high;
    }
    this.writer = this.#lastWriter;
  }
}

/** Writes a name of that many bytes. @throws a bug if it is of another length. */
export function writeHex(into: Buffer, hex: string, at: number, bytes: number): void {
  const isWritten = hex.length === 2 * bytes && into.write(hex, at, bytes, 'hex') === bytes;
  invariant(isWritten, `a name of ${2 * bytes} hex digits`);
}
