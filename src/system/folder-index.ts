import { LRUCache } from 'lru-cache';
import { invariant } from '../errors.ts';
import { HeldBytes } from './held-bytes.ts';

/** A file the index knows. */
export interface IndexedFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** When it was last used, on the monotonic clock. */
  touchedMs: number;
}

/** Bounds of an index. */
export interface IndexLimits {
  /** Total of all files and reservations, each rounded up to blocks. */
  readonly maxBytes: number;
  readonly maxFiles: number;
  /** A file used within this time is never a victim: its presence may have been promised (R-CAS-19). */
  readonly minRetentionMs: number;
  /** What the file system hands out at a time. */
  readonly blockBytes: number;
  /** Files of at most this size are counted apart. Default 0. */
  readonly smallBytes?: number;
}

/**
 * Which files a bounded folder holds, in order of last use, and how much room is taken or reserved. Pure accounting, no I/O.
 * `bytes + reservedBytes` never exceeds `maxBytes`, files and reservations together never exceed `maxFiles`:
 * a write reserves first, and whoever reserves has made room.
 */
export class FolderIndex {
  readonly #limits: IndexLimits;
  readonly #files: LRUCache<string, IndexedFile>;
  readonly #held: HeldBytes;
  /** Whether times of use were restored since the files were put in order. */
  #isUnordered = false;
  #smallFiles = 0;
  #bytes = 0;
  #reservedBytes = 0;
  #reservedFiles = 0;

  constructor(limits: IndexLimits) {
    this.#limits = limits;
    // Counting by size, one each: `max` would allocate room for all of them now, 74 ms for a million.
    this.#files = new LRUCache({ maxSize: limits.maxFiles, sizeCalculation: () => 1 });
    this.#held = new HeldBytes(limits.minRetentionMs);
  }

  get size(): number {
    return this.#files.size;
  }

  /** Bytes on disk, in whole blocks, reservations apart. */
  get bytes(): number {
    return this.#bytes;
  }

  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** How many files there are of at most `smallBytes`. */
  get smallFiles(): number {
    return this.#smallFiles;
  }

  /** Bytes on disk of files within the retention time: never too low, too high by a 32nd of that time. */
  bytesHeld(nowMs: number): number {
    return this.#held.at(nowMs);
  }

  /** What a file of that size takes on disk. */
  diskBytes(sizeBytes: number): number {
    const { blockBytes } = this.#limits;
    return Math.ceil(sizeBytes / blockBytes) * blockBytes;
  }

  /** The file, its age unchanged. */
  peek(name: string): IndexedFile | undefined {
    return this.#files.peek(name);
  }

  /** The file, now the most recently used one. */
  touch(name: string, nowMs: number): IndexedFile | undefined {
    const file = this.#files.get(name);
    if (file) this.#setTouched(file, nowMs);
    return file;
  }

  /**
   * The file, used at that time or later; in any order and at any time, but the next question for the order costs sorting
   * all files once.
   */
  restoreTouch(name: string, touchedMs: number): IndexedFile | undefined {
    const file = this.#files.peek(name);
    if (file === undefined || file.touchedMs >= touchedMs) return file;
    this.#setTouched(file, touchedMs);
    this.#isUnordered = true;
    return file;
  }

  /** Whether a file of that size can be reserved now. */
  hasRoom(sizeBytes: number): boolean {
    const { maxBytes, maxFiles } = this.#limits;
    const hasBytes = this.#bytes + this.#reservedBytes + this.diskBytes(sizeBytes) <= maxBytes;
    return hasBytes && this.#files.size + this.#reservedFiles < maxFiles;
  }

  /** Whether it could be reserved if the folder were empty. */
  couldEverFit(sizeBytes: number): boolean {
    return this.diskBytes(sizeBytes) <= this.#limits.maxBytes;
  }

  /** The least recently used file that may go, leaving out those that are `held`. */
  victim(nowMs: number, held: ReadonlyMap<string, unknown>): IndexedFile | undefined {
    for (const file of this.inOrder()) {
      if (nowMs - file.touchedMs < this.#limits.minRetentionMs) return undefined;
      if (!held.has(file.name)) return file;
    }
    return undefined;
  }

  /** Takes room for a file that is about to be written. */
  reserve(sizeBytes: number): void {
    invariant(this.hasRoom(sizeBytes), 'room is reserved only after it was made');
    this.#reservedBytes += this.diskBytes(sizeBytes);
    this.#reservedFiles++;
  }

  /** Gives a reservation back. */
  release(sizeBytes: number): void {
    this.#reservedBytes -= this.diskBytes(sizeBytes);
    this.#reservedFiles--;
    invariant(this.#reservedBytes >= 0 && this.#reservedFiles >= 0, 'a reservation was given back twice');
  }

  /** Enters a file as the most recently used one, in place of an older one of that name. */
  add(name: string, sizeBytes: number, touchedMs: number): void {
    this.remove(name);
    invariant(this.#files.size < this.#limits.maxFiles, 'the index evicts nothing by itself');
    this.#files.set(name, { name, sizeBytes, touchedMs });
    this.#bytes += this.diskBytes(sizeBytes);
    this.#held.add(this.diskBytes(sizeBytes), touchedMs);
    if (this.#isSmall(sizeBytes)) this.#smallFiles++;
  }

  /** Forgets a file. Whether it was there. */
  remove(name: string): boolean {
    const file = this.#files.peek(name);
    if (file === undefined) return false;
    this.#files.delete(name);
    this.#bytes -= this.diskBytes(file.sizeBytes);
    this.#held.remove(this.diskBytes(file.sizeBytes), file.touchedMs);
    if (this.#isSmall(file.sizeBytes)) this.#smallFiles--;
    return true;
  }

  /** When the least recently used file was last used, or undefined if there is none. */
  oldestTouchMs(): number | undefined {
    const [oldest] = this.inOrder();
    return oldest?.touchedMs;
  }

  /** From the least to the most recently used. */
  *inOrder(): Generator<IndexedFile> {
    if (this.#isUnordered) this.#order();
    for (const file of this.#files.rvalues()) {
      if (file) yield file;
    }
  }

  /** Those within the retention time, from the most to the least recently used. */
  *heldNewestFirst(nowMs: number): Generator<IndexedFile> {
    if (this.#isUnordered) this.#order();
    for (const file of this.#files.values()) {
      if (file === undefined || nowMs - file.touchedMs >= this.#limits.minRetentionMs) return;
      yield file;
    }
  }

  #isSmall(sizeBytes: number): boolean {
    return sizeBytes <= (this.#limits.smallBytes ?? 0);
  }

  #setTouched(file: IndexedFile, touchedMs: number): void {
    const diskBytes = this.diskBytes(file.sizeBytes);
    this.#held.remove(diskBytes, file.touchedMs);
    file.touchedMs = touchedMs;
    this.#held.add(diskBytes, touchedMs);
  }

  /** Equal times keep their order. */
  #order(): void {
    this.#isUnordered = false;
    const files = [...this.inOrder()].sort((a, b) => a.touchedMs - b.touchedMs);
    for (const file of files) this.#files.get(file.name);
  }
}
