import { hash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isKind, systemCode } from '../errors.ts';
import { closeUnneeded, readError, writeError } from '../system/file-errors.ts';
import type { FileSystem } from '../system/file-system.ts';
import type { Log } from '../system/log.ts';
import { decodeRecord } from './entry-record.ts';

/** No entry was ever larger: the limit of its value was 4 MiB and a little. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;

/** Entries that are put at once, so that they share the wait for the device. */
const BATCH_SIZE = 256;

/** A batch ends where its files have that many bytes together: they are in memory at once. */
const BATCH_BYTES = 16 * 1024 * 1024;

/** An entry that a file of the earlier version holds. */
interface FileEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Wall-clock milliseconds: the file's modification time. */
  readonly writtenMs: number;
  /** Removes the file. @throws unavailable. */
  remove(): void;
}

/** A store that takes entries with the time at which they were written. */
export interface EntryImport {
  /** @param writtenMs wall-clock milliseconds. @throws too-large; quota-exceeded; unavailable; cancelled. */
  putWritten(key: string, value: Uint8Array, writtenMs: number, signal: AbortSignal): Promise<void>;
}

/** What migrating takes. */
export interface MigrationOptions {
  readonly files: FileSystem;
  readonly log: Log;
  /** Ends the migration between two entries; the next one goes on. */
  readonly signal: AbortSignal;
  /** Told after each batch. */
  readonly onProgress: (doneFiles: number, totalFiles: number) => void;
}

/**
 * Moves the entries that version 1 of the data folder kept as files (docs/storage.md) into a store, the oldest first, so that the
 * newest are left if the store has no room for all; then removes the folder. A file goes only after its entry was put: after a
 * crash in the middle the next call goes on. An entry that is too large for the store is dropped with a warning.
 * @returns how many were put; 0 if there is no such folder.
 * @throws unavailable; what `putWritten` throws, `too-large` apart. Then what was not put yet is still there.
 */
export async function migrateFileEntries(
  folder: string,
  into: EntryImport,
  options: MigrationOptions,
): Promise<number> {
  const found = listFiles(folder, options.files);
  if (found === undefined) return 0;
  let put = 0;
  let done = 0;
  for (const batch of batches(found)) {
    put += await moveBatch(batch, into, options);
    done += batch.length;
    options.onProgress(done, found.length);
  }
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    throw writeError(error, 'removing the folder of earlier entries');
  }
  return put;
}

function* batches(found: readonly FoundFile[]): Generator<readonly FoundFile[]> {
  let batch: FoundFile[] = [];
  let bytes = 0;
  for (const file of found) {
    batch.push(file);
    bytes += file.sizeBytes;
    if (batch.length < BATCH_SIZE && bytes < BATCH_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

/** How many were put. */
async function moveBatch(batch: readonly FoundFile[], into: EntryImport, options: MigrationOptions): Promise<number> {
  const entries = batch.flatMap((file) => readFile(file, options) ?? []);
  const outcomes = await Promise.allSettled(
    entries.map(({ key, value, writtenMs }) => into.putWritten(key, value, writtenMs, options.signal)),
  );
  let put = 0;
  for (const [at, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') put++;
    else if (isKind(outcome.reason, 'too-large'))
      options.log.warn({ err: outcome.reason }, 'an entry was not taken over');
    else throw outcome.reason;
    entries[at]?.remove();
  }
  return put;
}

interface FoundFile {
  readonly path: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** Undefined if there is no such folder. */
function listFiles(folder: string, files: FileSystem): readonly FoundFile[] | undefined {
  if (list(files, folder) === undefined) return undefined;
  const found: FoundFile[] = [];
  for (const part of list(files, join(folder, 'files')) ?? []) {
    const parent = join(folder, 'files', part);
    for (const name of list(files, parent) ?? []) {
      const path = join(parent, name);
      found.push({ path, name, ...doing(() => files.stat(path)) });
    }
  }
  return found.sort((a, b) => a.modifiedMs - b.modifiedMs || (a.name < b.name ? -1 : 1));
}

function list(files: FileSystem, folder: string): readonly string[] | undefined {
  try {
    return files.list(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw readError(error, 'reading earlier entries');
  }
}

/** Undefined, and the file removed, if it is damaged. */
function readFile(file: FoundFile, options: MigrationOptions): FileEntry | undefined {
  const { files, log } = options;
  const remove = (): void => removeFile(files, file.path);
  const decoded = decodeFile(file, files);
  if (!('damage' in decoded)) return { ...decoded, writtenMs: file.modifiedMs, remove };
  log.warn({ file: file.name, reason: decoded.damage }, 'a damaged entry was not taken over');
  remove();
  return undefined;
}

function decodeFile(file: FoundFile, files: FileSystem): ReturnType<typeof decodeRecord> {
  if (file.sizeBytes > MAX_FILE_BYTES) return { damage: 'larger than an entry can be' };
  let decoded: ReturnType<typeof decodeRecord>;
  try {
    decoded = decodeRecord(readWhole(file, files));
  } catch (error) {
    const ours = readError(error, 'reading an earlier entry');
    if (ours.kind !== 'data-loss') throw ours;
    return { damage: ours.message };
  }
  if ('damage' in decoded || hash('sha256', decoded.key, 'hex') === file.name) return decoded;
  return { damage: 'it belongs to another key' };
}

function readWhole(file: FoundFile, files: FileSystem): Buffer {
  const fd = files.open(file.path, 'read');
  try {
    const bytes = Buffer.allocUnsafe(file.sizeBytes);
    return bytes.subarray(0, files.read(fd, bytes, 0));
  } finally {
    closeUnneeded(files, fd);
  }
}

function removeFile(files: FileSystem, path: string): void {
  try {
    files.remove(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw writeError(error, 'removing an earlier entry');
  }
}

function doing<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw readError(error, 'reading earlier entries');
  }
}
