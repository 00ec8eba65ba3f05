import { join } from 'node:path';
import { invariant, ReapiError, systemCode } from '../errors.ts';
import type { Clock } from './clock.ts';
import { readError, writeError } from './file-errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from './file-system.ts';
import type { FolderIndex } from './folder-index.ts';
import { type LoadedFolder, loadFolder } from './folder-loading.ts';
import { writeSnapshot } from './folder-snapshot.ts';
import type { Log } from './log.ts';
import { PendingFile, type PendingHost, type PendingTarget } from './pending-file.ts';
import type { Quarantine } from './quarantine.ts';

/** Collaborators and limits of a bounded folder. */
export interface BoundedFolderOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** What fills it, for error messages: `blob store`. */
  readonly title: string;
  /** What to do when it is full, for error messages: `raise --max-size`. */
  readonly fullAdvice: string;
  /** Total on disk, each file rounded up to `blockBytes`; temporary files count from the moment they are announced. */
  readonly maxBytes: number;
  /** Default 1,000,000; costs about 300 bytes of memory a file. */
  readonly maxFiles?: number;
  /** Free space left to others on the file system. Default 0: no floor. */
  readonly minFreeBytes?: number;
  /** A file is not evicted within this time after its last use. Default 600,000 (10 minutes). */
  readonly minRetentionMs?: number;
  /** What a write waits for; see docs/storage.md. `file`: the device has the bytes and the name. `none`: the system has them. */
  readonly sync: 'file' | 'none';
  /** Default 4096. */
  readonly blockBytes?: number;
  /** Default the machine's. */
  readonly files?: FileSystem;
  /** Size a file must have by its name, if names tell; others are put aside at start. */
  readonly sizeFromName?: (name: string) => number | undefined;
}

/** What a bounded folder holds. */
export interface FolderStats {
  readonly files: number;
  readonly bytes: number;
  /** Announced by writes that are under way. */
  readonly reservedBytes: number;
  readonly maxBytes: number;
  readonly evictions: number;
  /** Time since the least recently used file was used; 0 if there is none. */
  readonly oldestAgeMs: number;
  readonly quarantined: number;
}

/** The system tells free space again after this time; in between it is computed. */
const FREE_SPACE_AGE_MS = 1000;

/**
 * Files under names in one folder, bounded by bytes and number, the least recently used going first. The ground under the
 * file stores. A name begins with two hex characters, which are its fan-out folder, and has no slash.
 *
 * A file appears whole or not at all (temporary file, then rename) and may be replaced. What is in the index is on disk; a file that
 * has vanished is forgotten when it is opened, and whoever finds one damaged calls `quarantine`. One process owns a folder
 * (data-folder.ts).
 */
export class BoundedFolder implements PendingHost {
  readonly path: string;
  readonly #options: Required<Omit<BoundedFolderOptions, 'sizeFromName'>>;
  readonly #files: FileSystem;
  readonly #index: FolderIndex;
  readonly #quarantine: Quarantine;
  readonly #fanOut: Set<string>;
  /** Names between rename and index entry: they may not be evicted meanwhile. */
  readonly #publishing = new Map<string, number>();
  readonly #pending = new Set<PendingTarget>();
  #whenIdle: (() => void) | undefined;
  #isClosed = false;
  #evictions = 0;
  #temporaryNumber = 0;
  #freeBytes = 0;
  #freeCheckedMs = Number.NEGATIVE_INFINITY;

  private constructor(
    path: string,
    options: Required<Omit<BoundedFolderOptions, 'sizeFromName'>>,
    loaded: LoadedFolder,
  ) {
    this.path = path;
    this.#options = options;
    this.#files = options.files;
    this.#index = loaded.index;
    this.#quarantine = loaded.quarantine;
    this.#fanOut = loaded.fanOut;
  }

  /**
   * Opens the folder, creating it if need be; removes temporary files of an earlier run and takes up its files, evicting what
   * is above the limits.
   * @throws precondition for a foreign or newer format; unavailable if the folder cannot be used.
   */
  static async open(path: string, options: BoundedFolderOptions): Promise<BoundedFolder> {
    const { sizeFromName, ...given } = options;
    const complete = {
      maxFiles: 1_000_000,
      minFreeBytes: 0,
      minRetentionMs: 600_000,
      blockBytes: 4096,
      files: NODE_FILE_SYSTEM,
      ...given,
    };
    return new BoundedFolder(path, complete, loadFolder(path, { ...complete, ...(sizeFromName && { sizeFromName }) }));
  }

  /** Whether there is such a file; its age stays. */
  has(name: string): boolean {
    return this.#index.peek(name) !== undefined;
  }

  /** Whether there is such a file; it is now the most recently used one. */
  touch(name: string): boolean {
    return this.#index.touch(name, this.#options.clock.monotonicMs()) !== undefined;
  }

  /** Size of a file, or undefined if there is none. */
  sizeBytes(name: string): number | undefined {
    return this.#index.peek(name)?.sizeBytes;
  }

  /** Where a file of that name is, for hard links. Its name may go at any time; links and descriptors stay good. */
  pathOf(name: string): string {
    return join(this.path, 'files', name.slice(0, 2), name);
  }

  /**
   * A descriptor for reading that the caller closes, or undefined if there is no such file. Touches it.
   * @throws unavailable; data-loss.
   */
  open(name: string): number | undefined {
    if (!this.touch(name)) return undefined;
    try {
      return this.#files.open(this.pathOf(name), 'read');
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw readError(error, `reading from the ${this.#options.title}`);
      this.#options.log.warn({ file: name }, 'a stored file has vanished from disk');
      this.#index.remove(name);
      return undefined;
    }
  }

  /**
   * Makes room for a file of that size and begins it.
   * @throws too-large if it could never fit; quota-exceeded if what is there may not go yet; unavailable.
   */
  begin(name: string, sizeBytes: number): PendingFile {
    this.throwIfClosed();
    const { title, maxBytes, sync } = this.#options;
    if (!this.#index.couldEverFit(sizeBytes)) {
      const message = `${sizeBytes} bytes are more than the whole ${title} may hold (${maxBytes} bytes)`;
      throw new ReapiError('too-large', message);
    }
    this.#makeRoom(sizeBytes);
    const temporary = join(this.path, 'tmp', String(this.#temporaryNumber++));
    const target: PendingTarget = { temporary, name, sizeBytes, isSynced: sync === 'file' };
    this.#index.reserve(sizeBytes);
    this.#freeBytes -= this.#index.diskBytes(sizeBytes);
    this.#pending.add(target);
    try {
      return new PendingFile(this.#files, this, target);
    } catch (error) {
      this.#settle(target);
      throw writeError(error, `writing to the ${title}`);
    }
  }

  /** Part of `PendingHost`. */
  async publish(target: PendingTarget): Promise<void> {
    const { name, sizeBytes, isSynced } = target;
    const path = this.pathOf(name);
    this.#publishing.set(name, (this.#publishing.get(name) ?? 0) + 1);
    try {
      const part = name.slice(0, 2);
      if (!this.#fanOut.has(part)) await this.#makeFanOut(part, isSynced);
      this.#files.rename(target.temporary, path);
      if (isSynced) await this.#syncName(target, path);
      this.#settle(target);
      this.#index.add(name, sizeBytes, this.#options.clock.monotonicMs());
    } finally {
      const others = (this.#publishing.get(name) ?? 1) - 1;
      if (others === 0) this.#publishing.delete(name);
      else this.#publishing.set(name, others);
    }
  }

  /** Part of `PendingHost`. */
  abandon(target: PendingTarget): void {
    try {
      this.#files.remove(target.temporary);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT')
        this.#options.log.warn({ err: error }, 'a temporary file stays until the next start');
    }
    this.#settle(target);
  }

  /** Removes a file. Whether there was one. @throws unavailable; then it is still there. */
  remove(name: string): boolean {
    this.throwIfClosed();
    if (!this.has(name)) return false;
    this.#unlink(name);
    return true;
  }

  /** Puts a damaged file aside, so that it is absent from now on. */
  quarantine(name: string, reason: string): void {
    if (!this.has(name)) return;
    this.#index.remove(name);
    this.#options.log.error({ file: name, reason }, 'a damaged file was put into quarantine');
    try {
      this.#quarantine.take(this.pathOf(name), name);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      this.#options.log.error({ file: name, err: error }, 'a damaged file could not be moved; it is not served');
    }
  }

  stats(): FolderStats {
    const oldestMs = this.#index.oldestTouchMs();
    return {
      files: this.#index.size,
      bytes: this.#index.bytes,
      reservedBytes: this.#index.reservedBytes,
      maxBytes: this.#options.maxBytes,
      evictions: this.#evictions,
      oldestAgeMs: oldestMs === undefined ? 0 : this.#options.clock.monotonicMs() - oldestMs,
      quarantined: this.#quarantine.count,
    };
  }

  /** @throws unavailable once the folder is closed or closing. */
  throwIfClosed(): void {
    if (this.#isClosed) throw new ReapiError('unavailable', `the ${this.#options.title} is closed`);
  }

  /** Refuses further writes, waits for those under way, and keeps the order of use for the next start. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    while (this.#pending.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    const { clock, log } = this.#options;
    try {
      await writeSnapshot(this.#files, this.path, this.#index.inOrder(), clock.nowMs() - clock.monotonicMs());
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      log.warn({ err: error }, 'the order of use could not be written; the next start takes it from the files');
    }
  }

  async #makeFanOut(part: string, isSynced: boolean): Promise<void> {
    const parent = join(this.path, 'files');
    this.#files.makeFolder(join(parent, part));
    if (isSynced) await this.#files.syncFolder(parent);
    this.#fanOut.add(part);
  }

  #settle(target: PendingTarget): void {
    invariant(this.#pending.delete(target), 'a write is settled once');
    this.#index.release(target.sizeBytes);
    if (this.#pending.size === 0) this.#whenIdle?.();
  }

  /**
   * A name that is not on the device must not be acknowledged, nor found by others: without it the file goes. If even that fails
   * it stays, and is accounted for.
   */
  async #syncName(target: PendingTarget, path: string): Promise<void> {
    try {
      await this.#files.syncFolder(join(path, '..'));
    } catch (error) {
      this.#index.add(target.name, target.sizeBytes, this.#options.clock.monotonicMs());
      this.#unlink(target.name);
      throw error;
    }
  }

  #makeRoom(sizeBytes: number): void {
    while (!this.#index.hasRoom(sizeBytes)) {
      if (this.#evictOne() === 0) throw this.#full();
    }
    this.#makeFreeSpace(this.#index.diskBytes(sizeBytes));
  }

  /** Evicts as much as the file system lacks, and no more: space behind open descriptors and links does not come back at once. */
  #makeFreeSpace(neededBytes: number): void {
    const { minFreeBytes, clock, title } = this.#options;
    if (minFreeBytes === 0) return;
    const isOld = clock.monotonicMs() - this.#freeCheckedMs >= FREE_SPACE_AGE_MS;
    if (isOld || this.#freeBytes - neededBytes < minFreeBytes) this.#measureFreeSpace();
    let lackingBytes = minFreeBytes + neededBytes - this.#freeBytes;
    while (lackingBytes > 0) {
      const evictedBytes = this.#evictOne();
      if (evictedBytes === 0) {
        const message = `the disk of the ${title} has less than its floor of ${minFreeBytes} free bytes`;
        throw new ReapiError('quota-exceeded', message);
      }
      lackingBytes -= evictedBytes;
    }
  }

  /** What is being written counts twice, as far as it is on disk already: the floor errs on the side of more room. */
  #measureFreeSpace(): void {
    try {
      this.#freeBytes = this.#files.freeBytes(this.path) - this.#index.reservedBytes;
      this.#freeCheckedMs = this.#options.clock.monotonicMs();
    } catch (error) {
      throw writeError(error, 'asking for free disk space');
    }
  }

  /** Bytes that came free; 0 if nothing may go. */
  #evictOne(): number {
    const victim = this.#index.victim(this.#options.clock.monotonicMs(), this.#publishing);
    if (victim === undefined) return 0;
    this.#unlink(victim.name);
    this.#evictions++;
    const diskBytes = this.#index.diskBytes(victim.sizeBytes);
    this.#freeBytes += diskBytes;
    return Math.max(diskBytes, 1);
  }

  #unlink(name: string): void {
    try {
      this.#files.remove(this.pathOf(name));
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw writeError(error, `removing from the ${this.#options.title}`);
    }
    this.#index.remove(name);
  }

  #full(): ReapiError {
    const { title, fullAdvice, maxBytes, minRetentionMs } = this.#options;
    const recently = `is being written or was used within the last ${Math.round(minRetentionMs / 1000)} s`;
    const message = `the ${title} is full: all that its ${maxBytes} bytes hold ${recently}; ${fullAdvice}`;
    return new ReapiError('quota-exceeded', message);
  }
}
