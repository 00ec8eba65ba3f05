import { LRUCache } from 'lru-cache';
import type { Clock } from '../../system/clock.ts';

/** Bytes that nobody has asked for yet, read because those before them were. */
export interface ReadAheadItem {
  readonly offset: number;
  readonly lengthBytes: number;
  /** Gets the bytes, unless reading them failed; it may keep them. What it throws is nobody's concern. */
  take(bytes: Uint8Array): void;
}

/** Knows what is stored where, so that what was stored together is read together. */
export interface ReadAhead {
  /**
   * What is worth reading of an object after a read that ends at `endOffset`: items that lie wholly within the next `maxBytes`.
   * Others are left out. Called for each request that is one of a sequence, so it is quick.
   */
  after(objectKey: string, endOffset: number, maxBytes: number): readonly ReadAheadItem[];
}

/** What a first sequential read is given: as much as the gap over which reads are joined. */
const FIRST_WINDOW_BYTES = 64 * 1024;

/** What a long sequence is given in the end: a request of that size is transfer and hardly latency any more. */
const MAX_WINDOW_BYTES = 4 * 1024 * 1024;

/** How far from where a sequence would go on a read may begin. */
const NEAR_BYTES = 64 * 1024;

/** Reads further apart in time are none of one sequence. */
const MEMORY_MS = 10_000;

/** Objects whose last read is remembered: some 100 bytes each. */
const MAX_OBJECTS = 10_000;

interface LastRead {
  readonly atMs: number;
  readonly offset: number;
  readonly endOffset: number;
  /** What was allowed to be read ahead after it. */
  readonly windowBytes: number;
}

/**
 * How much to read ahead, as a kernel decides it for files: nothing at first; once reads of one object follow each other in
 * position and time, 64 KiB, and with every further one twice as much, up to 4 MiB. A read elsewhere begins anew.
 */
export class ReadAheadWindows {
  readonly #clock: Clock;
  readonly #lastReads = new LRUCache<string, LastRead>({ max: MAX_OBJECTS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Notes a read of an object and says how many bytes after it are worth reading; 0 is none. */
  next(objectKey: string, offset: number, endOffset: number): number {
    const atMs = this.#clock.monotonicMs();
    const last = this.#lastReads.get(objectKey);
    const windowBytes = last !== undefined && follows(last, offset, atMs) ? widened(last.windowBytes) : 0;
    this.#lastReads.set(objectKey, { atMs, offset, endOffset, windowBytes });
    return windowBytes;
  }
}

/** What was read ahead is not asked for again: the next read of a sequence begins anywhere up to its end. */
function follows(last: LastRead, offset: number, atMs: number): boolean {
  if (atMs - last.atMs > MEMORY_MS) return false;
  return offset >= last.offset - NEAR_BYTES && offset <= last.endOffset + last.windowBytes + NEAR_BYTES;
}

function widened(windowBytes: number): number {
  return Math.min(MAX_WINDOW_BYTES, Math.max(FIRST_WINDOW_BYTES, 2 * windowBytes));
}
