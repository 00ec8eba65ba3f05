import { invariant } from '../errors.ts';
import { HeldBytes } from './held-bytes.ts';
import { type Placed, UseOrder } from './use-order.ts';

/** A file the index knows. */
export interface IndexedFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** Another for each file that ever got an entry, also under the same name: what was found out about one says nothing of the next. */
  readonly generation: number;
  /** When it was last used, on the monotonic clock; up to the interval of touching earlier than that. */
  readonly touchedMs: number;
}

interface Entry extends IndexedFile, Placed<Entry> {
  touchedMs: number;
  /** Until then it is no victim: the disk refused to remove it. 0: it never did. */
  refusedUntilMs: number;
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
  /** A use within this time after the one that is known changes nothing. Default 0: each counts. */
  readonly touchIntervalMs?: number;
}

/**
 * Which files a bounded folder holds, in order of last use, and how much room is taken or reserved. Pure accounting, no I/O.
 * `bytes + reservedBytes` never exceeds `maxBytes`, files and reservations together never exceed `maxFiles`:
 * a write reserves first, and whoever reserves has made room.
 */
export class FolderIndex {
  readonly #limits: IndexLimits;
  readonly #files = new Map<string, Entry>();
  readonly #order = new UseOrder<Entry>();
  readonly #held: HeldBytes;
  #lastGeneration = 0;
  /** Whether times of use were restored since the files were put in order. */
  #isUnordered = false;
  #smallFiles = 0;
  #bytes = 0;
  #reservedBytes = 0;
  #reservedFiles = 0;

  constructor(limits: IndexLimits) {
    this.#limits = limits;
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
    return this.#files.get(name);
  }

  /** The file, now the most recently used one; unless the use that is known is younger than the interval of touching. */
  touch(name: string, nowMs: number): IndexedFile | undefined {
    const file = this.#files.get(name);
    if (file === undefined || nowMs - file.touchedMs < (this.#limits.touchIntervalMs ?? 0)) return file;
    this.#setTouched(file, nowMs);
    this.#order.renew(file);
    return file;
  }

  /**
   * The file, used at that time or later; in any order and at any time, but the next question for the order costs sorting
   * all files once.
   */
  restoreTouch(name: string, touchedMs: number): IndexedFile | undefined {
    const file = this.#files.get(name);
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

  /**
   * The files that may go, from the least recently used one on, leaving out those that are `held` and those the disk refused to
   * remove lately. Files may be removed on the way.
   * @param heldSinceMs files that were used later than the retention time before it stay.
   */
  *victims(nowMs: number, heldSinceMs: number, held: ReadonlyMap<string, unknown>): Generator<IndexedFile, void> {
    for (const file of this.#walk('newer')) {
      if (heldSinceMs - file.touchedMs < this.#limits.minRetentionMs) return;
      if (!held.has(file.name) && file.refusedUntilMs <= nowMs) yield file;
    }
  }

  /** The disk refused to remove the file: it is no victim until then. Whether that is news, not known of an earlier attempt. */
  refuse(name: string, untilMs: number): boolean {
    const file = this.#files.get(name);
    if (file === undefined) return false;
    const isNews = file.refusedUntilMs === 0;
    file.refusedUntilMs = untilMs;
    return isNews;
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
    const file: Entry = {
      name,
      sizeBytes,
      generation: ++this.#lastGeneration,
      touchedMs,
      refusedUntilMs: 0,
      older: undefined,
      newer: undefined,
      place: 0,
    };
    this.#files.set(name, file);
    this.#order.add(file);
    this.#bytes += this.diskBytes(sizeBytes);
    this.#held.add(this.diskBytes(sizeBytes), touchedMs);
    if (this.#isSmall(sizeBytes)) this.#smallFiles++;
  }

  /** Forgets a file. Whether it was there. */
  remove(name: string): boolean {
    const file = this.#files.get(name);
    if (file === undefined) return false;
    this.#files.delete(name);
    this.#order.remove(file);
    this.#bytes -= this.diskBytes(file.sizeBytes);
    this.#held.remove(this.diskBytes(file.sizeBytes), file.touchedMs);
    if (this.#isSmall(file.sizeBytes)) this.#smallFiles--;
    return true;
  }

  /** When the least recently used file was last used, or undefined if there is none. */
  oldestTouchMs(): number | undefined {
    return this.oldest()?.touchedMs;
  }

  /** The least recently used file. */
  oldest(): IndexedFile | undefined {
    this.#putInOrder();
    return this.#order.oldest;
  }

  /** All files, in no particular order. Files may change in between: one that stays is given once. */
  all(): Iterable<IndexedFile> {
    return this.#files.values();
  }

  /** From the least to the most recently used. Files may change in between: see `UseOrder`. */
  inOrder(): Iterable<IndexedFile> {
    return this.#walk('newer');
  }

  /**
   * Those within the retention time before `nowMs`, from the most to the least recently used. Files may change in between: what
   * is not used or removed meanwhile is given once, what is used or added meanwhile is not given if it was not yet.
   */
  *heldNewestFirst(nowMs: number): Generator<IndexedFile, void> {
    for (const file of this.#walk('older')) {
      if (nowMs - file.touchedMs >= this.#limits.minRetentionMs) return;
      yield file;
    }
  }

  #isSmall(sizeBytes: number): boolean {
    return sizeBytes <= (this.#limits.smallBytes ?? 0);
  }

  #setTouched(file: Entry, touchedMs: number): void {
    const diskBytes = this.diskBytes(file.sizeBytes);
    this.#held.remove(diskBytes, file.touchedMs);
    file.touchedMs = touchedMs;
    this.#held.add(diskBytes, touchedMs);
  }

  #walk(towards: 'older' | 'newer'): Generator<Entry, void> {
    this.#putInOrder();
    return this.#order.walk(towards);
  }

  /** Equal times keep their order. */
  #putInOrder(): void {
    if (!this.#isUnordered) return;
    this.#isUnordered = false;
    this.#order.sort((a, b) => a.touchedMs - b.touchedMs);
  }
}
