import type { EntryVersion } from './entry-version.ts';

/*
 * How entries are kept in the local tier when there is a bucket: under their key with `s3:` before it, and with their version, which says whether the value
 * here or the one in the bucket is newer.
 *
 *        0  1  1
 *        1  1  flags: 1 = removed
 *        2  6  sequence number, little-endian
 *        8  8  writer
 *       16     value
 */
const PREFIX = 's3:';
const LAYOUT = 1;
const REMOVED = 1;
const HEADER_BYTES = 16;

/** Bytes that a value takes in the local tier beside itself. */
export const LOCAL_ENTRY_OVERHEAD_BYTES = HEADER_BYTES;

/** A value as the local tier has it. */
export interface LocalEntry {
  readonly version: EntryVersion;
  readonly isRemoval: boolean;
  readonly value: Uint8Array;
}

/** The key under which the local tier has an entry. */
export function localEntryKey(key: string): string {
  return PREFIX + key;
}

/** The key of the entry, or undefined if the local tier has it from a time without a bucket. */
export function keyOfLocalEntry(localKey: string): string | undefined {
  return localKey.startsWith(PREFIX) ? localKey.slice(PREFIX.length) : undefined;
}

/** As bytes of the local value. */
export function encodeLocalEntry({ version, isRemoval, value }: LocalEntry): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + value.length);
  bytes.writeUInt8(LAYOUT, 0);
  bytes.writeUInt8(isRemoval ? REMOVED : 0, 1);
  bytes.writeUIntLE(version.sequence, 2, 6);
  bytes.write(version.writer, 8, 8, 'hex');
  bytes.set(value, HEADER_BYTES);
  return bytes;
}

/** Undefined if it is none of ours. */
export function decodeLocalEntry(stored: Uint8Array): LocalEntry | undefined {
  if (stored.length < HEADER_BYTES || stored[0] !== LAYOUT) return undefined;
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  return {
    version: { sequence: bytes.readUIntLE(2, 6), writer: bytes.toString('hex', 8, 16) },
    isRemoval: (bytes.readUInt8(1) & REMOVED) !== 0,
    value: stored.subarray(HEADER_BYTES),
  };
}
