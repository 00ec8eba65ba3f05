import { createHash } from 'node:crypto';
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The file of an entry as version 1 of the data folder had it (src/entries/entry-record.ts). */
export function encodeRecord(key: string, value: Uint8Array): Buffer {
  const header = Buffer.alloc(16);
  header.write('gent', 0, 'latin1');
  header.writeUInt16LE(1, 4);
  header.writeUInt32LE(Buffer.byteLength(key), 8);
  header.writeUInt32LE(value.length, 12);
  const payload = Buffer.concat([Buffer.from(key), value]);
  const checksum = createHash('sha256').update(header).update(payload).digest();
  return Buffer.concat([header, checksum, payload]);
}

/** Where version 1 kept an entry. */
export function pathOfEntry(folder: string, key: string): string {
  const name = createHash('sha256').update(key).digest('hex');
  return join(folder, 'files', name.slice(0, 2), name);
}

/** Writes an entry as version 1 did. @returns the path of its file. */
export function writeFileEntry(folder: string, key: string, value: Uint8Array, writtenMs: number): string {
  const path = pathOfEntry(folder, key);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, encodeRecord(key, value));
  utimesSync(path, writtenMs / 1000, writtenMs / 1000);
  return path;
}
