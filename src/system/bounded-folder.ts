import { join } from 'node:path';
import { invariant, ReapiError, systemCode } from '../errors.ts';
import type { Clock } from './clock.ts';
import { Eviction, type EvictionBounds } from './eviction.ts';
import { readError, writeError } from './file-errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from './file-system.ts';
import type { FolderIndex, IndexedFile } from './folder-index.ts';
import { type LoadedFolder, loadFolder } from './folder-loading.ts';
import { writeSnapshot } from './folder-snapshot.ts';
import { FreeSpace } from './free-space.ts';
import type { Log } from './log.ts';
import { PendingFile, type PendingHost, type PendingTarget } from './pending-file.ts';
import type { Quarantine } from './quarantine.ts';
import type { RoomSource } from './room-source.ts';
import { Semaphore } from './semaphore.ts';

/** Collaborators and limits of a bounded folder. */
export interface BoundedFolderOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** What fills it, for error messages: `blob store`. */
  readonly title: string;
  /** What to do when it is full, for error messages: `raise --max-size`. */
  readonly fullAdvice: string;
  /**
   * Total on disk, each file rounded up to `blockBytes`; temporary files count from the moment they are announced.
   * With `room`: the shared limit.
   */
  readonly maxBytes: number;
  /** Default 1,000,000; costs about 300 bytes of memory a file. */
  readonly maxFiles?: number;
  /** Free space left to others on the file system. Default 0: no floor. */
  readonly minFreeBytes?: number;
  /** A file is not evicted within this time after its last use. Default 600,000 (10 minutes). */
  readonly minRetentionMs?: number;
  /**
   * A use within this time after the one that is known leaves time and order as they are, so that known times lag behind the
   * last use by up to it: for callers that write each renewal down, who add it to `minRetentionMs`. Default 0: each use counts.
   */
  readonly touchIntervalMs?: number;
  /**
   * What a write waits for; see docs/storage.md. `file`: the device has the bytes and the name; what an earlier run may have left
   * to the system is synced when the folder is opened. `none`: the system has them.
   */
  readonly sync: 'file' | 'none';
  /** Default 4096. */
  readonly blockBytes?: number;
  /** Default the machine's. */
  readonly files?: FileSystem;
  /** Size a file must have by its name, if names tell; others are put aside at start. */
  readonly sizeFromName?: (name: string) => number | undefined;
  /** Whose limit this folder shares: it then evicts nothing by itself for bytes or free space, only for `maxFiles`. */
  readonly room?: RoomSource;
  /** Files of at most this size are counted as `smallFiles`. Default 0. */
  readonly smallBytes?: number;
  /** Whether a file may be evicted, whatever age and limits say; asked while the folder opens, too. Default: any may. */
  readonly mayEvict?: (name: string) => boolean;
}

type Complete = Required<Omit<BoundedFolderOptions, 'sizeFromName' | 'room' | 'mayEvict'>> &
  Pick<BoundedFolderOptions, 'room' | 'mayEvict'>;

/** A file open for reading. */
export interface OpenedFile {
  /** The caller closes it. */
  readonly fd: number;
  /** Which of the files that have had this name it is: for `quarantine`. */
  readonly generation: number;
}

/** A file that had to go. */
export interface EvictedFile {
  readonly name: string;
  /** On disk, in whole blocks. */
  readonly sizeBytes: number;
  /** When it was last used, on the monotonic clock; up to `touchIntervalMs` earlier than that. */
  readonly touchedMs: number;
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

/** With a shared limit the part of it that damaged files may take: a small store must not fill up with them. */
const QUARANTINE_SHARE = 1 / 16;

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
  readonly #options: Complete;
  readonly #files: FileSystem;
  readonly #index: FolderIndex;
  readonly #quarantine: Quarantine;
  readonly #fanOut: Set<string>;
  readonly #eviction: Eviction;
  readonly #freeSpace: FreeSpace;
  /** One file at a time asks for shared room, so that each takes what was made for it before the next asks. */
  readonly #asking = new Semaphore(1);
  /** Names between rename and index entry: they may not be evicted meanwhile. */
  readonly #publishing = new Map<string, number>();
  readonly #pending = new Set<PendingTarget>();
  #whenIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #evictions = 0;
  #temporaryNumber = 0;

  private constructor(path: string, options: Complete, loaded: LoadedFolder) {
    this.path = path;
    this.#options = options;
    this.#files = options.files;
    this.#index = loaded.index;
    this.#quarantine = loaded.quarantine;
    this.#fanOut = loaded.fanOut;
    const { clock, log, mayEvict } = options;
    this.#eviction = new Eviction(this.#index, { clock, log, mayEvict, unlink: (name) => this.#unlink(name) });
    this.#freeSpace = new FreeSpace({ ...options, path, reservedBytes: () => this.#index.reservedBytes });
  }

  /**
   * Opens the folder, creating it if need be; removes temporary files of an earlier run and takes up its files, evicting what
   * is above the limits (with `room` above the number of files only: the source asks back what is too much).
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
      smallBytes: 0,
      touchIntervalMs: 0,
      ...given,
    };
    const shared = { maxBytes: Number.POSITIVE_INFINITY, maxQuarantineBytes: given.maxBytes * QUARANTINE_SHARE };
    const loading = { ...complete, ...(sizeFromName && { sizeFromName }), ...(given.room && shared) };
    const folder = new BoundedFolder(path, complete, await loadFolder(path, loading));
    folder.#tell();
    return folder;
  }

  /** What the folder takes on disk: files, reservations, quarantine. */
  get diskBytes(): number {
    return this.#index.bytes + this.#index.reservedBytes + this.#quarantine.diskBytes(this.#options.blockBytes);
  }

  /** How many files there are of at most `smallBytes`. */
  get smallFiles(): number {
    return this.#index.smallFiles;
  }

  /** Bytes on disk of files within the retention time: never too low, too high by a 32nd of that time. Cheap. */
  bytesHeld(nowMs: number): number {
    return this.#index.bytesHeld(nowMs);
  }

  /** When the least recently used file was last used, on the monotonic clock; undefined if there is none. */
  oldestTouchMs(): number | undefined {
    return this.#index.oldestTouchMs();
  }

  /** When a file was last used, on the monotonic clock, up to `touchIntervalMs` too early; undefined if there is none. */
  touchedMs(name: string): number | undefined {
    return this.#index.peek(name)?.touchedMs;
  }

  /**
   * Restores a time of use that somebody else remembered; one that is earlier than what is known changes nothing, so that no
   * promise gets shorter. Whether there is such a file. For the start: asking for the order afterwards sorts all files once.
   */
  touchAt(name: string, monotonicMs: number): boolean {
    const restoredMs = Math.min(monotonicMs, this.#options.clock.monotonicMs());
    return this.#index.restoreTouch(name, restoredMs) !== undefined;
  }

  /** All files, in no particular order. Lazy; one that stays is given once, whatever happens in between. */
  all(): Iterable<Readonly<IndexedFile>> {
    return this.#index.all();
  }

  /** All files, from the least to the most recently used. Lazy; files may change in between: see `UseOrder`. */
  inOrder(): Iterable<Readonly<IndexedFile>> {
    return this.#index.inOrder();
  }

  /**
   * The files that are within the retention time now, from the most to the least recently used. Lazy; files may change in between:
   * one that stays unused is given once, one that is used, or added, meanwhile is not given if it was not yet.
   */
  heldNewestFirst(): Iterable<Readonly<IndexedFile>> {
    return this.#index.heldNewestFirst(this.#options.clock.monotonicMs());
  }

  /** What that many bytes take on disk. */
  blocksOf(sizeBytes: number): number {
    return this.#index.diskBytes(sizeBytes);
  }

  /**
   * Removes the least recently used file, unless all there are were used within the retention time, are being published, must not be
   * evicted, or could not be removed in the last minute. Of those that must not be evicted 4096 are passed over at most. One that cannot be removed now stays, is still counted, and the next takes its place.
   * Readers that have it open go on; the file system gives the space back when the last of them closes it, and nobody tells us,
   * so it counts as free from now on.
   * @throws unavailable if some were tried and none could be removed: see `Eviction`.
   */
  evictOldest(bounds: EvictionBounds = { sparing: 'held' }): EvictedFile | undefined {
    const file = this.#eviction.removeOldest(bounds, this.#publishing);
    if (file === undefined) return undefined;
    const { name, touchedMs } = file;
    const sizeBytes = this.#index.diskBytes(file.sizeBytes);
    this.#evictions++;
    this.#freeSpace.take(-sizeBytes);
    return { name, sizeBytes, touchedMs };
  }

  /** How many files the last `evictOldest` passed over because they must not be evicted. */
  get passedOver(): number {
    return this.#eviction.passedOver;
  }

  /** Whether there is such a file; its age stays. */
  has(name: string): boolean {
    return this.#index.peek(name) !== undefined;
  }

  /** Whether there is such a file; it is now the most recently used one, as far as `touchIntervalMs` lets it. */
  touch(name: string): boolean {
    return this.#index.touch(name, this.#options.clock.monotonicMs()) !== undefined;
  }

  /** Where a file of that name is, for hard links. Its name may go at any time; links and descriptors stay good. */
  pathOf(name: string): string {
    return join(this.path, 'files', name.slice(0, 2), name);
  }

  /**
   * Opens a file for reading; undefined if there is none of that name.
   * @param as `use` touches the file, `inspection` leaves its age.
   * @throws unavailable; data-loss.
   */
  open(name: string, as: 'use' | 'inspection' = 'use'): OpenedFile | undefined {
    if (as === 'use') this.touch(name);
    const file = this.#index.peek(name);
    if (file === undefined) return undefined;
    try {
      return { fd: this.#files.open(this.pathOf(name), 'read'), generation: file.generation };
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw readError(error, `reading from the ${this.#options.title}`);
      this.#options.log.warn({ file: name }, 'a stored file has vanished from disk');
      this.#index.remove(name);
      this.#tell();
      return undefined;
    }
  }

  /**
   * Makes room for a file of that size, reserves it, and begins the file. Without `room` the reservation stands when the call
   * returns its promise; the signal only ends waiting for others that ask for shared room. A folder that is closed while room is
   * being made takes nothing.
   * @throws too-large if it could never fit; quota-exceeded if what is there may not go yet; unavailable; cancelled.
   */
  async begin(name: string, sizeBytes: number, signal: AbortSignal): Promise<PendingFile> {
    this.throwIfClosed();
    const { room, title, maxBytes } = this.#options;
    if (room !== undefined) {
      return this.#asking.run(signal, async () => {
        this.throwIfClosed();
        await room.make(this.#index.diskBytes(sizeBytes));
        this.throwIfClosed();
        return this.#beginInRoom(name, sizeBytes);
      });
    }
    if (!this.#index.couldEverFit(sizeBytes)) {
      const message = `${sizeBytes} bytes are more than the whole ${title} may hold (${maxBytes} bytes)`;
      throw new ReapiError('too-large', message);
    }
    return this.#beginInRoom(name, sizeBytes);
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
      this.#tell();
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
    this.#tell();
  }

  /**
   * Puts a damaged file aside, so that it is absent from now on. Nothing happens if it has gone already, whether or not another has
   * come or is just coming under its name, nor once the folder is closed: whoever opens it next finds the damage again.
   * @param generation as `open` gave it.
   */
  quarantine(name: string, generation: number, reason: string): void {
    const isThere = this.#index.peek(name)?.generation === generation;
    if (!isThere || this.#publishing.has(name) || this.#isClosed) return;
    this.#index.remove(name);
    this.#options.log.error({ file: name, reason }, 'a damaged file was put into quarantine');
    try {
      this.#quarantine.take(this.pathOf(name), name);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      this.#options.log.error({ file: name, err: error }, 'a damaged file could not be moved; it is not served');
    }
    this.#tell();
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

  /**
   * Refuses further writes, those that wait for room, and those that are not complete yet, at their next step; waits until these
   * have left and complete ones are published; then keeps the order of use for the next start.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get #isClosed(): boolean {
    return this.#closing !== undefined;
  }

  async #close(): Promise<void> {
    while (this.#pending.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    const { clock, log, sync } = this.#options;
    try {
      const facts = { wallSkewMs: clock.nowMs() - clock.monotonicMs(), isSynced: sync === 'file' };
      await writeSnapshot(this.#files, this.path, this.#index.inOrder(), facts);
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

  /** The reservation, once there is room: nothing else runs in between. */
  #beginInRoom(name: string, sizeBytes: number): PendingFile {
    const { title, sync } = this.#options;
    this.#makeRoom(sizeBytes);
    const temporary = join(this.path, 'tmp', String(this.#temporaryNumber++));
    const target: PendingTarget = { temporary, name, sizeBytes, isSynced: sync === 'file' };
    this.#index.reserve(sizeBytes);
    this.#freeSpace.take(this.#index.diskBytes(sizeBytes));
    this.#pending.add(target);
    this.#tell();
    try {
      return new PendingFile(this.#files, this, target);
    } catch (error) {
      this.#settle(target);
      this.#tell();
      throw writeError(error, `writing to the ${title}`);
    }
  }

  /** Within this folder's own limits: with `room` the number of files, else the bytes too. */
  #makeRoom(sizeBytes: number): void {
    while (!this.#index.hasRoom(sizeBytes)) {
      if (this.evictOldest() === undefined) throw this.#full();
    }
    if (this.#options.room === undefined) this.#makeFreeSpace(this.#index.diskBytes(sizeBytes));
  }

  /** Evicts as much as the file system lacks, and no more: space behind open descriptors and links does not come back at once. */
  #makeFreeSpace(neededBytes: number): void {
    const { minFreeBytes, title } = this.#options;
    let lackingBytes = this.#freeSpace.lackingBytes(neededBytes);
    while (lackingBytes > 0) {
      const evicted = this.evictOldest();
      if (evicted === undefined) {
        const message = `the disk of the ${title} has less than its floor of ${minFreeBytes} free bytes`;
        throw new ReapiError('quota-exceeded', message);
      }
      lackingBytes -= evicted.sizeBytes;
    }
  }

  #unlink(name: string): void {
    try {
      this.#files.remove(this.pathOf(name));
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw writeError(error, `removing from the ${this.#options.title}`);
    }
    this.#index.remove(name);
    this.#tell();
  }

  #tell(): void {
    this.#options.room?.changed(this.diskBytes);
  }

  #full(): ReapiError {
    const { title, fullAdvice, maxBytes, minRetentionMs } = this.#options;
    const pinned = this.passedOver > 0 ? 'is pinned, ' : '';
    const recently = `${pinned}is being written, was used within the last ${Math.round(minRetentionMs / 1000)} s, or cannot be removed`;
    const message = `the ${title} is full: all that its ${maxBytes} bytes hold ${recently}; ${fullAdvice}`;
    return new ReapiError('quota-exceeded', message);
  }
}
