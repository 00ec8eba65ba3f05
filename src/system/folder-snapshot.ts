import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { systemCode } from '../errors.ts';
import { removeIfThere } from './file-removal.ts';
import type { FileSystem } from './file-system.ts';
import type { IndexedFile } from './folder-index.ts';

/**
 * The order of use of a folder's files, kept from a clean stop to the next start:
 *
 *     gantry-order 1
 *     <size in bytes> <milliseconds of wall time of the last use> <name>     one line a file, least recently used first
 *     end <number of files> <CRC-32 of all lines before this one, as hex>
 *
 * Where files were left to the system to write (`sync: 'none'`) the first line is `gantry-order 1 unsynced`: a program that does not
 * know that believes nothing of it, which is right, only slower.
 *
 * It is removed when it has been read: after an unclean stop there is none, and ages come from the files' modification times.
 */
const FILE = 'order';
const FIRST_LINE = 'gantry-order 1';
const UNSYNCED_FIRST_LINE = `${FIRST_LINE} unsynced`;

/** A file as the snapshot remembers it. `touchedMs` is wall time. */
export interface RememberedFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly touchedMs: number;
}

/** What a snapshot gives. */
export interface Snapshot {
  /** By name, least recently used first. */
  readonly files: ReadonlyMap<string, RememberedFile>;
  /** Whether the device had all of them, bytes and names, when it was written. */
  readonly isSynced: boolean;
}

/** What a snapshot is written with. */
export interface SnapshotFacts {
  /** Wall time minus monotonic time. */
  readonly wallSkewMs: number;
  /** Whether the device has all files, bytes and names. */
  readonly isSynced: boolean;
}

/** Writes the snapshot, by temporary file and rename. */
export async function writeSnapshot(
  fs: FileSystem,
  folder: string,
  order: Iterable<Omit<IndexedFile, 'generation'>>,
  { wallSkewMs, isSynced }: SnapshotFacts,
): Promise<void> {
  const lines = [isSynced ? FIRST_LINE : UNSYNCED_FIRST_LINE];
  for (const file of order) lines.push(`${file.sizeBytes} ${Math.round(file.touchedMs + wallSkewMs)} ${file.name}`);
  const body = Buffer.from(`${lines.join('\n')}\n`);
  const end = Buffer.from(`end ${lines.length - 1} ${crc32(body).toString(16)}\n`);
  const temporary = join(folder, `${FILE}.new`);
  removeIfThere(fs, temporary);
  const fd = fs.open(temporary, 'create');
  try {
    await fs.writeAsync(fd, [body, end]);
    await fs.syncData(fd);
  } finally {
    fs.close(fd);
  }
  fs.rename(temporary, join(folder, FILE));
}

/** Reads the snapshot and removes it. Undefined if there is none, or it is damaged: then nothing of it is believed. */
export function takeSnapshot(fs: FileSystem, folder: string): Snapshot | undefined {
  removeIfThere(fs, join(folder, `${FILE}.new`));
  const path = join(folder, FILE);
  const bytes = readWhole(fs, path);
  if (bytes === undefined) return undefined;
  fs.remove(path);
  return parse(bytes);
}

function parse(bytes: Buffer): Snapshot | undefined {
  const bodyEnd = bytes.lastIndexOf('\nend ') + 1;
  if (bodyEnd === 0) return undefined;
  const body = bytes.subarray(0, bodyEnd);
  const lines = body.toString('latin1').split('\n');
  lines.pop();
  const expectedEnd = `end ${lines.length - 1} ${crc32(body).toString(16)}\n`;
  const isSynced = lines[0] === FIRST_LINE;
  if (!isSynced && lines[0] !== UNSYNCED_FIRST_LINE) return undefined;
  if (bytes.toString('latin1', bodyEnd) !== expectedEnd) return undefined;
  const files = new Map<string, RememberedFile>();
  for (const line of lines.slice(1)) {
    const [size, touched, name] = line.split(' ');
    if (size === undefined || touched === undefined || name === undefined) return undefined;
    files.set(name, { name, sizeBytes: Number(size), touchedMs: Number(touched) });
  }
  return { files, isSynced };
}

function readWhole(fs: FileSystem, path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = fs.open(path, 'read');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const bytes = Buffer.allocUnsafeSlow(fs.stat(path).sizeBytes);
    return bytes.subarray(0, fs.read(fd, bytes, 0));
  } finally {
    fs.close(fd);
  }
}
