import { invariant, ReapiError } from '../../../errors.ts';
import { readError } from '../../../system/file-errors.ts';
import type { FileSystem } from '../../../system/file-system.ts';
import type { DigestTable } from '../record-index/digest-table.ts';
import type { Space } from '../space.ts';
import type { StoreTime } from '../store-time.ts';
import { type RecordMark, recordBytes } from './format.ts';
import { pinned, SegmentFile } from './segment-file.ts';

/** Records of blobs up to 128 KiB are read in one synchronous go: about 30 µs of copying from the page cache. */
export const READ_AT_ONCE_BYTES = 132 * 1024;

/** What segments need. */
export interface SegmentsParts {
  readonly folder: string;
  readonly files: FileSystem;
  readonly space: Space;
  readonly time: StoreTime;
  readonly mark: RecordMark;
  /** Lower numbers are taken, by segments or by what the index says of segments that are gone. */
  readonly firstNewId: number;
}

/** The segment files of a store, oldest first. */
export class Segments {
  readonly folder: string;
  /** What records of this store begin with. */
  readonly mark: RecordMark;
  readonly #files: FileSystem;
  readonly #space: Space;
  readonly #time: StoreTime;
  readonly #segments: Map<number, SegmentFile>;
  #nextId: number;

  /** @param opened what the folder holds, in ascending order. */
  constructor(opened: readonly SegmentFile[], parts: SegmentsParts) {
    this.folder = parts.folder;
    this.mark = parts.mark;
    this.#files = parts.files;
    this.#space = parts.space;
    this.#time = parts.time;
    this.#segments = new Map(opened.map((segment) => [segment.id, segment]));
    this.#nextId = Math.max(parts.firstNewId, (opened.at(-1)?.id ?? 0) + 1);
    for (const segment of opened) this.#space.add('segments', segment.diskBytes);
  }

  get count(): number {
    return this.#segments.size;
  }

  /** The one that rotation reclaims next. */
  get oldest(): SegmentFile | undefined {
    return this.#segments.values().next().value;
  }

  [Symbol.iterator](): IterableIterator<SegmentFile> {
    return this.#segments.values();
  }

  /** A new one behind all others. Throws system errors. */
  create(): SegmentFile {
    const segment = SegmentFile.create(this.#files, this.folder, {
      id: this.#nextId++,
      createdSeconds: this.#time.now(),
      mark: this.mark,
    });
    this.#segments.set(segment.id, segment);
    this.#space.add('segments', segment.diskBytes);
    return segment;
  }

  /** A segment has become longer by bytes that nobody took room for. */
  grewBy(bytes: number): void {
    this.#space.add('segments', bytes);
  }

  /** When the oldest segment was full: the next one was begun then. */
  get oldestEndSeconds(): number {
    const [, next] = this.#segments.values();
    return next?.createdSeconds ?? this.#time.now();
  }

  /** The largest there is: what copying one forward may take. */
  get largestBytes(): number {
    let largest = 0;
    for (const { sizeBytes } of this.#segments.values()) largest = Math.max(largest, sizeBytes);
    return largest;
  }

  /** Removes the file of a segment that no row refers to. Throws system errors; then it stays. */
  async retire(segment: SegmentFile): Promise<void> {
    await segment.retire();
    this.#segments.delete(segment.id);
    this.#space.give('segments', segment.diskBytes);
  }

  /** A whole record, as the row says; the bytes are the caller's. @throws unavailable; data-loss. */
  readRow(table: DigestTable, row: number): Buffer | Promise<Buffer> {
    const segment = this.#segments.get(table.segment(row));
    invariant(segment !== undefined, 'rows refer to segments that exist');
    return readRecord(segment, table.offset(row), recordBytes(table.payloadBytes(row)));
  }

  async close(): Promise<void> {
    for (const segment of this.#segments.values()) await segment.close();
  }
}

/** Bytes at a place of a segment: at once if they are few. @throws unavailable; data-loss if they are not all there. */
export function readRecord(segment: SegmentFile, offset: number, bytes: number): Buffer | Promise<Buffer> {
  if (bytes > READ_AT_ONCE_BYTES) return pinned(segment, () => readLarge(segment, offset, bytes));
  const into = Buffer.allocUnsafe(bytes);
  try {
    return complete(into, segment.read(into, offset));
  } catch (error) {
    throw readError(error, 'reading from a segment');
  }
}

async function readLarge(segment: SegmentFile, offset: number, bytes: number): Promise<Buffer> {
  const into = Buffer.allocUnsafeSlow(bytes);
  try {
    return complete(into, await segment.readAsync(into, offset));
  } catch (error) {
    throw readError(error, 'reading from a segment');
  }
}

function complete(into: Buffer, count: number): Buffer {
  if (count === into.length) return into;
  throw new ReapiError('data-loss', 'a segment is shorter than its records');
}
