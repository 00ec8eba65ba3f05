import { join } from 'node:path';
import { invariant, systemCode } from '../../../errors.ts';
import { closeUnneeded } from '../../../system/file-errors.ts';
import { removeUnneeded } from '../../../system/file-removal.ts';
import type { FileSystem } from '../../../system/file-system.ts';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  type RecordMark,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './format.ts';

/** What the file system may round a file up to: counted for every segment beside its bytes. */
export const FILE_OVERHEAD_BYTES = 4096;

const NAME = /^([0-9a-f]{8})\.segment$/;

/** The number in the name of a segment file, or undefined for another file. */
export function segmentIdOf(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

function pathIn(folder: string, id: number): string {
  return join(folder, `${id.toString(16).padStart(8, '0')}.segment`);
}

/**
 * One append-only file. `sizeBytes` is the end of what has been committed: later bytes, left by a write that failed, are
 * overwritten by the next one and cut off at the next start.
 *
 * Readers pin it while they read. After `retire` the name is gone; the space is free once the last pin is.
 */
export class SegmentFile {
  readonly id: number;
  readonly createdSeconds: number;
  /** What its records begin with. */
  readonly mark: RecordMark;
  readonly #path: string;
  readonly #files: FileSystem;
  readonly #fd: number;
  #sizeBytes: number;
  #pins = 0;
  #isRetired = false;
  #whenClosed: PromiseWithResolvers<void> | undefined;

  private constructor(
    files: FileSystem,
    path: string,
    fd: number,
    facts: SegmentHeader & { readonly sizeBytes: number },
  ) {
    this.#files = files;
    this.#path = path;
    this.#fd = fd;
    this.id = facts.id;
    this.createdSeconds = facts.createdSeconds;
    this.mark = facts.mark;
    this.#sizeBytes = facts.sizeBytes;
  }

  /** Makes a new one with its header. Throws system errors; then there is no file, or one that is empty of records. */
  static create(files: FileSystem, folder: string, header: SegmentHeader): SegmentFile {
    const path = pathIn(folder, header.id);
    const fd = files.open(path, 'create');
    try {
      files.writeAt(fd, [encodeSegmentHeader(header)], 0);
    } catch (error) {
      closeUnneeded(files, fd);
      removeUnneeded(files, path);
      throw error;
    }
    return new SegmentFile(files, path, fd, { ...header, sizeBytes: SEGMENT_HEADER_BYTES });
  }

  /**
   * Opens one that exists. Its size is that of the file until `cutOff` says where it ends.
   * A damaged header costs nothing: the name has the number and the store knows its mark, so it is written anew.
   */
  static open(
    files: FileSystem,
    folder: string,
    id: number,
    mark: RecordMark,
  ): { readonly segment: SegmentFile; readonly isDamaged: boolean } {
    const path = pathIn(folder, id);
    const { sizeBytes } = files.stat(path);
    const fd = files.open(path, 'update');
    try {
      const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
      const header = decodeSegmentHeader(bytes.subarray(0, files.read(fd, bytes, 0)));
      const isDamaged = header?.id !== id || !header.mark.bytes.equals(mark.bytes);
      const createdSeconds = isDamaged ? 0 : header.createdSeconds;
      const facts = { id, createdSeconds, mark, sizeBytes: Math.max(sizeBytes, SEGMENT_HEADER_BYTES) };
      if (isDamaged) files.writeAt(fd, [encodeSegmentHeader(facts)], 0);
      // A crash right after its creation leaves one that is empty, or half a header: that is no damage.
      return {
        segment: new SegmentFile(files, path, fd, facts),
        isDamaged: isDamaged && sizeBytes >= SEGMENT_HEADER_BYTES,
      };
    } catch (error) {
      closeUnneeded(files, fd);
      throw error;
    }
  }

  /** End of the committed bytes. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Whether its file is gone, or about to be. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** What it counts for in the store's limit. */
  get diskBytes(): number {
    return this.#sizeBytes + FILE_OVERHEAD_BYTES;
  }

  /** Bytes at a position, fewer only at the end of the file. Throws system errors. */
  read(into: Uint8Array, position: number): number {
    return this.#files.read(this.#fd, into, position);
  }

  /** The same without holding up other work. The caller has pinned the segment. */
  readAsync(into: Uint8Array, position: number): Promise<number> {
    invariant(this.#pins > 0, 'a read that waits pins its segment');
    return this.#files.readAsync(this.#fd, into, position);
  }

  /** Writes behind the end, at once. The end moves with `extend`. */
  write(chunks: readonly Uint8Array[]): void {
    this.#files.writeAt(this.#fd, chunks, this.#sizeBytes);
  }

  /** The same without holding up other work. */
  writeAsync(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#files.writeAtAsync(this.#fd, chunks, this.#sizeBytes);
  }

  /** Waits until what was written is on the device. */
  sync(): Promise<void> {
    return this.#files.syncData(this.#fd);
  }

  /** What was written behind the end belongs to the segment now. */
  extend(bytes: number): void {
    this.#sizeBytes += bytes;
  }

  /** Cuts off what is behind `sizeBytes`, the end from now on. Throws system errors; the end is set nevertheless. */
  cutOff(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
    this.#files.truncate(this.#fd, sizeBytes);
  }

  /** Keeps the file until `unpin`, also if it is retired meanwhile. */
  pin(): void {
    invariant(!this.#isRetired || this.#pins > 0, 'a retired segment has no new readers');
    this.#pins++;
  }

  unpin(): void {
    this.#pins--;
    invariant(this.#pins >= 0, 'a segment is unpinned as often as it was pinned');
    if (this.#isRetired && this.#pins === 0) this.#close();
  }

  /** Removes the file. Resolves when its space is free: readers have ended. Throws system errors; then it is still there. */
  async retire(): Promise<void> {
    invariant(!this.#isRetired, 'a segment is retired once');
    try {
      this.#files.remove(this.#path);
    } catch (error) {
      // Someone else was faster. Rotation must not stop for that.
      if (systemCode(error) !== 'ENOENT') throw error;
    }
    this.#isRetired = true;
    await this.#closed();
  }

  /** Closes the file and leaves it where it is. Resolves when readers have ended. */
  async close(): Promise<void> {
    this.#isRetired = true;
    await this.#closed();
  }

  async #closed(): Promise<void> {
    if (this.#pins === 0) {
      this.#close();
      return;
    }
    this.#whenClosed = Promise.withResolvers();
    await this.#whenClosed.promise;
  }

  #close(): void {
    closeUnneeded(this.#files, this.#fd);
    this.#whenClosed?.resolve();
  }
}

/** Does something while the segment's file is kept. */
export async function pinned<T>(segment: SegmentFile, work: () => Promise<T>): Promise<T> {
  segment.pin();
  try {
    return await work();
  } finally {
    segment.unpin();
  }
}

/** The mark that the header of a segment file holds, or undefined if it is damaged. Throws system errors. */
export function readMark(files: FileSystem, folder: string, id: number): RecordMark | undefined {
  const fd = files.open(pathIn(folder, id), 'read');
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    return decodeSegmentHeader(bytes.subarray(0, files.read(fd, bytes, 0)))?.mark;
  } finally {
    closeUnneeded(files, fd);
  }
}
