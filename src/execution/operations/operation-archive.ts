import { MAX_INSTANCE_NAME_LENGTH } from '../../digest/instance-name.ts';
import type { EntryStore } from '../../entries/entry-store.ts';
import { isKind, ReapiError } from '../../errors.ts';
import { unlessAborted } from '../../system/abortable.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { OperationState } from '../operations.ts';
import { decodeOperation, encodeOperation } from './operation-record.ts';

/** Limits of the archive. */
export interface OperationArchiveOptions {
  /** How long a finished operation stays readable, by wall time: it outlives the process. */
  readonly retentionMs: number;
  /** Operations that wait to be written; the oldest of more are skipped. Default 10,000. */
  readonly maxQueued?: number;
  /** What their responses may take together, in bytes. Default 64 MiB. */
  readonly maxQueuedBytes?: number;
}

/** Ten seconds of a thousand operations each. */
const MAX_QUEUED = 10_000;
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** Writes under way at once: what they wait for, a flush of the disk or a request to S3, they share. */
const MAX_WRITERS = 32;

/** The end of the names we give (R-EX-11). */
const NAME = /(?:^|\/)operations\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MAX_NAME_LENGTH = MAX_INSTANCE_NAME_LENGTH + '/operations/'.length + 36;

/**
 * Finished operations in the entry store, so that they can be read after a restart. Writes happen behind the answers to clients, which
 * never wait for them: a crash loses those of the last moment, and a store that cannot keep up or fails loses some, which
 * is counted. Records are not removed when their time is over, only no longer given: the store drops what nobody uses.
 */
export class OperationArchive {
  readonly #entries: EntryStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: Required<OperationArchiveOptions>;
  readonly #queue = new Map<string, OperationState>();
  readonly #writing = new Map<string, Promise<void>>();
  readonly #abort = new AbortController();
  #writers = 0;
  #queuedBytes = 0;
  #skipped = 0;
  #failed = 0;
  #isFailing = false;
  #forgottenUntilMs = Number.NEGATIVE_INFINITY;

  constructor(entries: EntryStore, clock: Clock, log: Log, options: OperationArchiveOptions) {
    this.#entries = entries;
    this.#clock = clock;
    this.#log = log;
    this.#options = { maxQueued: MAX_QUEUED, maxQueuedBytes: MAX_QUEUED_BYTES, ...options };
  }

  /** Operations that wait to be written or are being written. */
  get pending(): number {
    return this.#queue.size + this.#writing.size;
  }

  /** Operations that were not written because too many waited, since the start. */
  get skipped(): number {
    return this.#skipped;
  }

  /** Operations that the store did not take, since the start. */
  get failed(): number {
    return this.#failed;
  }

  /** Takes a finished operation to be written soon. Never waits, never throws. */
  keep(state: OperationState): void {
    if (this.#abort.signal.aborted) {
      this.#skip(1);
      return;
    }
    this.#queue.set(state.name, state);
    this.#queuedBytes += sizeOf(state);
    const { maxQueued, maxQueuedBytes } = this.#options;
    while (this.#queue.size > maxQueued || this.#queuedBytes > maxQueuedBytes) {
      this.#take();
      this.#skip(1);
    }
    if (this.#writers < MAX_WRITERS && this.#queue.size > 0) this.#startWriter();
  }

  /** What finished at or before that wall time is given no more: newer ones have filled the number that is kept. */
  forgetUntil(finishedAtMs: number): void {
    this.#forgottenUntilMs = Math.max(this.#forgottenUntilMs, finishedAtMs);
  }

  /** A finished operation within its retention, or undefined. @throws unavailable if the store is; cancelled. */
  async find(name: string, signal: AbortSignal): Promise<OperationState | undefined> {
    const state = this.#queue.get(name) ?? (await this.#read(name, signal));
    if (state === undefined || this.#isOver(state)) return undefined;
    return state;
  }

  /** Removes an operation, written or not. @returns whether there was one. @throws unavailable if the store is; cancelled. */
  async remove(name: string, signal: AbortSignal): Promise<boolean> {
    const queued = this.#queue.get(name);
    if (queued !== undefined) {
      this.#queue.delete(name);
      this.#queuedBytes -= sizeOf(queued);
      return true;
    }
    // Else the write could come after the removal.
    await unlessAborted(this.#writing.get(name) ?? Promise.resolve(), signal);
    return isOurs(name) && this.#entries.delete(keyOf(name), signal);
  }

  /** Writes what waits, for at most so long, and takes nothing more. @param graceMs then the rest is skipped. */
  async settle(graceMs: number): Promise<void> {
    const giveUp = (): void => {
      this.#abort.abort(new ReapiError('unavailable', 'the server is stopping'));
      this.#skip(this.#queue.size);
      this.#queue.clear();
    };
    const timer = this.#clock.wakeAt(this.#clock.monotonicMs() + graceMs, giveUp);
    const { signal } = this.#abort;
    const timeUp = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (this.#writing.size > 0 && !signal.aborted) {
      await Promise.race([Promise.all(this.#writing.values()), timeUp]);
    }
    timer.cancel();
    giveUp();
  }

  /** One chain of writes, each behind the one before; it ends when nothing waits. */
  #startWriter(): void {
    const next = this.#take();
    if (next === undefined) return;
    this.#writers++;
    const { name } = next;
    const written = this.#write(next).finally(() => {
      this.#writing.delete(name);
      this.#writers--;
      this.#startWriter();
    });
    this.#writing.set(name, written);
  }

  async #write(state: OperationState): Promise<void> {
    // The client's answer goes out first.
    await new Promise(setImmediate);
    try {
      await this.#entries.put(keyOf(state.name), encodeOperation(state), this.#abort.signal);
      this.#isFailing = false;
    } catch (error) {
      this.#failed++;
      if (!this.#isFailing) this.#log.warn({ err: error }, 'finished operations cannot be stored for after a restart');
      this.#isFailing = true;
    }
  }

  /** The operation that waited longest. */
  #take(): OperationState | undefined {
    const [first] = this.#queue.values();
    if (first === undefined) return undefined;
    this.#queue.delete(first.name);
    this.#queuedBytes -= sizeOf(first);
    return first;
  }

  #skip(count: number): void {
    if (count > 0 && this.#skipped === 0) {
      this.#log.warn('more operations finish than the store can take; some will be unknown after a restart');
    }
    this.#skipped += count;
  }

  async #read(name: string, signal: AbortSignal): Promise<OperationState | undefined> {
    if (!isOurs(name)) return undefined;
    try {
      const entry = await this.#entries.get(keyOf(name), signal);
      return entry && decodeOperation(entry.value);
    } catch (error) {
      if (isKind(error, 'data-loss') || isKind(error, 'undecodable') || isKind(error, 'invalid-argument')) {
        this.#log.warn({ err: error }, 'a stored operation is damaged');
        return undefined;
      }
      throw error;
    }
  }

  /** A clock that was set back makes nothing older than it was. */
  #isOver({ finishedAtMs = 0 }: OperationState): boolean {
    return finishedAtMs <= this.#forgottenUntilMs || this.#clock.nowMs() - finishedAtMs >= this.#options.retentionMs;
  }
}

/** Other names were never written, and need not be looked for. */
function isOurs(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && NAME.test(name);
}

/** The key of the entry of an operation. Stable, it is stored on disk. */
function keyOf(name: string): string {
  return `operation/${name}`;
}

function sizeOf({ response }: OperationState): number {
  return response?.length ?? 0;
}
