import { hash } from 'node:crypto';
import { ReapiError, throwIfAborted } from '../errors.ts';
import { BoundedFolder, type BoundedFolderOptions, type FolderStats } from '../system/bounded-folder.ts';
import { closeUnneeded, readError } from '../system/file-errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../system/file-system.ts';
import { checkEntry } from './entry-limits.ts';
import { decodeRecord, encodeRecord } from './entry-record.ts';
import type { EntryStore } from './entry-store.ts';

/** Options of a file entry store: those of its folder, and the largest value. */
export interface FileEntryStoreOptions extends Omit<BoundedFolderOptions, 'title' | 'fullAdvice' | 'sizeFromName'> {
  /** Largest value. */
  readonly maxEntryBytes: number;
}

/**
 * One file per entry, named by the SHA-256 of its key (docs/storage.md; the file's layout is in entry-record.ts). A damaged entry
 * goes into quarantine with `data-loss`, once; from then on it is absent.
 */
export class FileEntryStore implements EntryStore {
  readonly #folder: BoundedFolder;
  readonly #files: FileSystem;
  readonly #maxEntryBytes: number;

  private constructor(folder: BoundedFolder, files: FileSystem, maxEntryBytes: number) {
    this.#folder = folder;
    this.#files = files;
    this.#maxEntryBytes = maxEntryBytes;
  }

  /** Opens or creates the store in a folder of its own. @throws precondition for a foreign or newer format; unavailable. */
  static async open(path: string, options: FileEntryStoreOptions): Promise<FileEntryStore> {
    const { maxEntryBytes, ...rest } = options;
    const folder = await BoundedFolder.open(path, { ...rest, title: 'entry store', fullAdvice: 'raise its limit' });
    return new FileEntryStore(folder, options.files ?? NODE_FILE_SYSTEM, maxEntryBytes);
  }

  async get(key: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    this.#begin(signal);
    const name = fileName(key);
    const sizeBytes = this.#folder.sizeBytes(name);
    const fd = this.#folder.open(name);
    if (fd === undefined || sizeBytes === undefined) return undefined;
    const record = this.#read(name, fd, sizeBytes);
    const decoded = decodeRecord(record);
    if ('damage' in decoded) throw this.#damaged(name, decoded.damage);
    if (decoded.key !== key) throw this.#damaged(name, 'it belongs to another key');
    return decoded.value;
  }

  async put(key: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#begin(signal);
    checkEntry(key, value, this.#maxEntryBytes);
    const record = encodeRecord(key, value);
    const pending = this.#folder.begin(fileName(key), record.length);
    try {
      pending.write(record);
      await pending.publish();
    } finally {
      pending.abandon();
    }
  }

  async delete(key: string, signal: AbortSignal): Promise<boolean> {
    this.#begin(signal);
    return this.#folder.remove(fileName(key));
  }

  stats(): FolderStats {
    return this.#folder.stats();
  }

  /** Refuses further calls, waits for writes under way, keeps the order of use. */
  close(): Promise<void> {
    return this.#folder.close();
  }

  #begin(signal: AbortSignal): void {
    throwIfAborted(signal);
    this.#folder.throwIfClosed();
  }

  /** One byte more than there should be is asked for, so that a file that grew is noticed. */
  #read(name: string, fd: number, sizeBytes: number): Buffer {
    const record = Buffer.allocUnsafe(sizeBytes + 1);
    try {
      return record.subarray(0, this.#files.read(fd, record, 0));
    } catch (error) {
      const ours = readError(error, 'reading a stored entry');
      throw ours.kind === 'data-loss' ? this.#damaged(name, ours.message) : ours;
    } finally {
      closeUnneeded(this.#files, fd);
    }
  }

  #damaged(name: string, damage: string): ReapiError {
    this.#folder.quarantine(name, damage);
    return new ReapiError('data-loss', `a stored entry was damaged (${damage}) and is gone`);
  }
}

function fileName(key: string): string {
  return hash('sha256', key, 'hex');
}
