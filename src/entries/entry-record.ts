import { createHash } from 'node:crypto';

/**
 * How one entry stood in its file in version 1 of the data folder, all numbers little-endian:
 *
 *     0   4   magic `gent`
 *     4   2   version, 1
 *     6   2   zero
 *     8   4   key length in bytes
 *     12  4   value length in bytes
 *     16  32  SHA-256 of bytes 0 to 16, the key and the value
 *     48      key in UTF-8, then value
 *
 * The key is inside so that a folder can be listed, and a file found under a wrong name is noticed.
 */
const MAGIC = 0x746e6567;
const VERSION = 1;
const CHECKSUM_AT = 16;
const HEADER_BYTES = 48;

/** Key and value of a file, or what is wrong with it. */
export type DecodedRecord = { readonly key: string; readonly value: Uint8Array } | { readonly damage: string };

/** Reads a file's bytes; every bit is covered by a check. */
export function decodeRecord(record: Buffer): DecodedRecord {
  if (record.length < HEADER_BYTES) return { damage: 'shorter than its header' };
  if (record.readUInt32LE(0) !== MAGIC || record.readUInt16LE(4) !== VERSION)
    return { damage: 'not a record of version 1' };
  const keyBytes = record.readUInt32LE(8);
  const valueBytes = record.readUInt32LE(12);
  if (record.length !== HEADER_BYTES + keyBytes + valueBytes) return { damage: 'not as long as its header says' };
  if (!checksum(record).equals(record.subarray(CHECKSUM_AT, HEADER_BYTES))) return { damage: 'the checksum is wrong' };
  const valueAt = HEADER_BYTES + keyBytes;
  return { key: record.toString('utf8', HEADER_BYTES, valueAt), value: record.subarray(valueAt) };
}

function checksum(record: Buffer): Buffer {
  return createHash('sha256').update(record.subarray(0, CHECKSUM_AT)).update(record.subarray(HEADER_BYTES)).digest();
}
