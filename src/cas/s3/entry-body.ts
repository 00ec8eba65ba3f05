import { crc32 } from 'node:zlib';
import { invariant } from '../../errors.ts';

/*
 * What a pack holds of an entry, or of its removal, whose value is empty. Numbers are little-endian.
 *
 *        0  2  bytes of the key
 *        2  6  wall-clock milliseconds of the put or removal
 *        8  4  CRC-32 of the 8 bytes before, the key and the value
 *       12  …  key, UTF-8
 *           …  value, to the end
 *
 * It says nothing of sequence and writer, which are in the record of the footer: so it can be copied forward as it is.
 */

const HEADER_BYTES = 12;
const CRC_AT = 8;

/** Longest key of an entry in a pack, in bytes of UTF-8. */
export const MAX_ENTRY_KEY_BYTES = 0xffff;

/** An entry taken out of a pack. */
export interface EntryBody {
  readonly key: string;
  /** A view of the body; empty for a removal. */
  readonly value: Uint8Array;
  /** Wall-clock milliseconds of the put or removal. */
  readonly writtenMs: number;
}

/** The body of an entry. @param key at most `MAX_ENTRY_KEY_BYTES`. @param writtenMs wall-clock milliseconds, below 2^48. */
export function encodeEntryBody(key: string, value: Uint8Array, writtenMs: number): Buffer {
  const keyBytes = Buffer.byteLength(key);
  invariant(keyBytes <= MAX_ENTRY_KEY_BYTES, 'the key of an entry fits its length');
  const body = Buffer.allocUnsafe(HEADER_BYTES + keyBytes + value.length);
  body.writeUInt16LE(keyBytes, 0);
  body.writeUIntLE(writtenMs, 2, 6);
  body.write(key, HEADER_BYTES);
  body.set(value, HEADER_BYTES + keyBytes);
  body.writeUInt32LE(bodyCrc(body), CRC_AT);
  return body;
}

/** What a body holds, its checksum verified; or what is wrong with it. */
export function decodeEntryBody(body: Uint8Array): EntryBody | { readonly damage: string } {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (bytes.length < HEADER_BYTES) return { damage: 'it is too short' };
  if (bytes.readUInt32LE(CRC_AT) !== bodyCrc(bytes)) return { damage: 'its bytes do not have their checksum' };
  const valueAt = HEADER_BYTES + bytes.readUInt16LE(0);
  if (valueAt > bytes.length) return { damage: 'its key is longer than it' };
  const key = bytes.toString('utf8', HEADER_BYTES, valueAt);
  return { key, value: bytes.subarray(valueAt), writtenMs: bytes.readUIntLE(2, 6) };
}

function bodyCrc(body: Buffer): number {
  return crc32(body.subarray(HEADER_BYTES), crc32(body.subarray(0, CRC_AT)));
}
