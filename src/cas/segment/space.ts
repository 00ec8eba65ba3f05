import { invariant, ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import { writeError } from '../../system/file-errors.ts';
import type { FileSystem } from '../../system/file-system.ts';
import type { StoreEvents } from './store-report.ts';

/** The system tells free space again after this time; in between it is computed. */
const FREE_SPACE_AGE_MS = 1000;

/** Writers that wait for room; beyond it they are refused. */
const MAX_WAITERS = 10_000;
const RETRY_MS = 1000;

/** A store that is full of what is pinned looks again after this time: looking costs time for every row. */
export const PINNED_RETRY_SECONDS = 3;

/** The parts of a store that share one limit. */
export type SpacePart = 'segments' | 'files' | 'other';

/** Where room comes from and what bounds it. */
export interface SpaceOptions {
  readonly files: FileSystem;
  readonly clock: Clock;
  readonly events: StoreEvents;
  readonly path: string;
  readonly maxBytes: number;
  /** Kept free of new data, for copying forward: rotation must never need more than there is. */
  readonly reserveBytes: number;
  readonly minFreeBytes: number;
  /** Frees something. @returns the bytes; 0 if nothing may go. */
  readonly free: () => Promise<number>;
  /** Whether `free`, when it last gave nothing, would have if nothing were pinned. */
  readonly isPinned: () => boolean;
}

/**
 * The one limit that segments, files and everything else of a store stay under. Whoever writes takes room first. When there is
 * none it waits, in order of arrival, while the store frees some; if nothing may go it is refused.
 *
 * The floor of free space on the file system works the same way. It is asked for at most once a second.
 */
export class Space {
  readonly #options: SpaceOptions;
  readonly #used: Record<SpacePart, number> = { segments: 0, files: 0, other: 0 };
  readonly #waiters: { readonly bytes: number; readonly part: SpacePart; readonly done: PromiseWithResolvers<void> }[] =
    [];
  #serving: Promise<void> | undefined;
  #reserveBytes: number;
  #freeBytes = 0;
  #freeCheckedMs = Number.NEGATIVE_INFINITY;

  constructor(options: SpaceOptions) {
    this.#options = options;
    this.#reserveBytes = options.reserveBytes;
  }

  /** Of the limit, what is kept free of new data, for copying forward. @param bytes at least what one segment may take. */
  reserve(bytes: number): void {
    this.#reserveBytes = bytes;
  }

  get usedBytes(): number {
    return this.#used.segments + this.#used.files + this.#used.other;
  }

  /** What one part takes. */
  partBytes(part: SpacePart): number {
    return this.#used[part];
  }

  /** Whether less than that many bytes are left under the limit for new data. */
  isShortOf(bytes: number): boolean {
    return this.usedBytes + bytes + this.#reserveBytes > this.#options.maxBytes;
  }

  /** Takes room without asking: for what exists already, and for copies, which live on the reserve. */
  add(part: SpacePart, bytes: number): void {
    this.#used[part] += bytes;
    this.#freeBytes -= bytes;
    invariant(this.#used[part] >= 0, `the ${part} gave back more room than they took`);
  }

  /** Gives room back. */
  give(part: SpacePart, bytes: number): void {
    this.add(part, -bytes);
  }

  /** Takes room if there is some now and nobody waits. */
  tryTake(part: SpacePart, bytes: number): boolean {
    if (this.#waiters.length > 0 || this.#lackingBytes(bytes) > 0) return false;
    this.add(part, bytes);
    return true;
  }

  /** Takes room, waiting until some is free. @throws quota-exceeded; too-large if it could never fit; unavailable. */
  take(part: SpacePart, bytes: number): Promise<void> {
    const { maxBytes, events } = this.#options;
    if (bytes > maxBytes - this.#reserveBytes) {
      events.refused('too-large');
      const message = `${bytes} bytes are more than the whole store may hold (${maxBytes} bytes); it needs a larger --max-size`;
      return Promise.reject(new ReapiError('too-large', message));
    }
    if (this.tryTake(part, bytes)) return Promise.resolve();
    if (this.#waiters.length >= MAX_WAITERS) return Promise.reject(tooMany());
    const done = Promise.withResolvers<void>();
    this.#waiters.push({ bytes, part, done });
    this.#serving ??= this.#serve();
    return done.promise;
  }

  /** Waits until nobody waits. */
  async settled(): Promise<void> {
    while (this.#serving !== undefined) await this.#serving;
  }

  async #serve(): Promise<void> {
    for (let next = this.#waiters[0]; next !== undefined; next = this.#waiters[0]) {
      try {
        await this.#makeRoom(next.bytes);
        this.add(next.part, next.bytes);
        next.done.resolve();
      } catch (error) {
        next.done.reject(error);
      }
      this.#waiters.shift();
    }
    this.#serving = undefined;
  }

  /**
   * For the floor of free space nothing goes that does not help: if others fill the disk, giving up all of the store gains nothing.
   */
  async #makeRoom(bytes: number): Promise<void> {
    if (this.#lackingFreeBytes(bytes) > this.usedBytes) throw this.#full(bytes);
    while (this.#lackingBytes(bytes) > 0) {
      const before = this.#freeBytes;
      const isForFloor = !this.isShortOf(bytes);
      const freedBytes = await this.#options.free();
      if (isForFloor) this.#measure();
      const helped = freedBytes > 0 && !(isForFloor && this.#freeBytes <= before);
      // Room also appears otherwise: somebody gave some back meanwhile, or less has to be reserved than before.
      if (helped || this.#lackingBytes(bytes) <= 0) continue;
      throw freedBytes === 0 && this.#options.isPinned() ? this.#pinned(bytes) : this.#full(bytes);
    }
  }

  /** How much would have to go for that many bytes. */
  #lackingBytes(bytes: number): number {
    const lacking = this.usedBytes + bytes + this.#reserveBytes - this.#options.maxBytes;
    return Math.max(lacking, this.#lackingFreeBytes(bytes));
  }

  #lackingFreeBytes(bytes: number): number {
    const { minFreeBytes, clock } = this.#options;
    if (minFreeBytes === 0) return 0;
    const isOld = clock.monotonicMs() - this.#freeCheckedMs >= FREE_SPACE_AGE_MS;
    if (isOld || this.#freeBytes - bytes < minFreeBytes) this.#measure();
    return minFreeBytes + bytes - this.#freeBytes;
  }

  #measure(): void {
    try {
      this.#freeBytes = this.#options.files.freeBytes(this.#options.path);
      this.#freeCheckedMs = this.#options.clock.monotonicMs();
    } catch (error) {
      throw writeError(error, 'asking for free disk space');
    }
  }

  #pinned(bytes: number): ReapiError {
    const { maxBytes, minFreeBytes, events } = this.#options;
    events.refused('disk-full');
    const limit = this.isShortOf(bytes)
      ? `the store is full (${maxBytes} bytes)`
      : `the disk of the store is full up to its floor of ${minFreeBytes} free bytes`;
    const message = `${limit}, and what it could evict is pinned until it is also stored elsewhere; try again later`;
    return new ReapiError('quota-exceeded', message, { retryAfterMs: PINNED_RETRY_SECONDS * 1000 });
  }

  #full(bytes: number): ReapiError {
    const { maxBytes, minFreeBytes, events } = this.#options;
    events.refused('disk-full');
    const reason = this.isShortOf(bytes)
      ? `the store is full: all that its ${maxBytes} bytes hold was used recently or is being written; this build needs a larger store (--max-size)`
      : `the disk of the store has less than its floor of ${minFreeBytes} free bytes`;
    return new ReapiError('quota-exceeded', reason, { retryAfterMs: RETRY_MS });
  }
}

function tooMany(): ReapiError {
  return new ReapiError('unavailable', 'too many writes wait for room in the store', { retryAfterMs: RETRY_MS });
}
