import { isKind, ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import { AbortWatch } from './abort-watch.ts';
import type { ObjectStore } from './object-store.ts';
import { deliver, endOfReads, join, type RangeRequest, type Read, spanOf } from './range-request.ts';
import { type ReadAhead, ReadAheadWindows } from './read-ahead.ts';
import { type Batch, covers, oldestBatch } from './read-batch.ts';

/** Some bytes of an object, at least none. */
export interface ObjectRange {
  readonly objectKey: string;
  readonly offset: number;
  readonly lengthBytes: number;
}

/** What reading ranges needs of an object store. */
export type RangeSource = Pick<ObjectStore, 'getRange'>;

/** Options of a range reader. */
export interface RangeReaderOptions {
  /** Requests at the same time. */
  readonly maxConcurrent: number;
  /** Bytes of all requests under way; a request that is longer than that goes alone. Default 64 MiB. */
  readonly maxBytesInFlight?: number;
  /** Reads that have no answer yet; above it they are turned away. Default 20,000: some 10 MiB of bookkeeping. */
  readonly maxWaitingReads?: number;
  /** Two ranges are read at once if no more lies between them. Default 64 KiB: less than a request takes time for. */
  readonly maxGapBytes?: number;
  /** What ranges are joined up to, and read ahead up to. Default 4 MiB: more transfer than latency. */
  readonly maxRequestBytes?: number;
  /** Finds what to read ahead; none is read without it. */
  readonly readAhead?: ReadAhead;
}

/** When a read that was turned away makes sense again: many requests have come back by then. */
const RETRY_MS = 1_000;

/**
 * Reads many small ranges of objects with few requests. A read waits until the end of the current turn of the event loop, and
 * longer while no request can begin; whatever has come by then is joined, object by object. A read of bytes that a request under
 * way is about to bring waits for that one. Objects take turns; within one the oldest read goes first.
 *
 * Memory: requests under way take at most `maxBytesInFlight`, and an answer keeps at most twice its size alive.
 */
export class RangeReader {
  readonly #objects: RangeSource;
  readonly #windows: ReadAheadWindows;
  readonly #readAhead: ReadAhead | undefined;
  readonly #limits: Readonly<Required<Omit<RangeReaderOptions, 'readAhead'>>>;
  /** By object, in the order in which objects take turns; each set in order of arrival and never empty. */
  readonly #queued = new Map<string, Set<Read>>();
  /** Requests that others may join, by object; no set is empty. */
  readonly #requests = new Map<string, Set<RangeRequest>>();
  readonly #aborts = new AbortWatch<Read>((read, signal) => {
    this.#leave(read);
    read.reject(cancelled(signal));
  });
  #waitingReads = 0;
  #running = 0;
  #bytesInFlight = 0;
  /** The next request has no room until one ends. */
  #isFull = false;
  #isScheduled = false;

  constructor(objects: RangeSource, clock: Clock, options: RangeReaderOptions) {
    this.#objects = objects;
    this.#windows = new ReadAheadWindows(clock);
    this.#readAhead = options.readAhead;
    this.#limits = {
      maxConcurrent: options.maxConcurrent,
      maxBytesInFlight: options.maxBytesInFlight ?? 64 * 1024 * 1024,
      maxWaitingReads: options.maxWaitingReads ?? 20_000,
      maxGapBytes: options.maxGapBytes ?? 64 * 1024,
      maxRequestBytes: options.maxRequestBytes ?? 4 * 1024 * 1024,
    };
  }

  /** Reads that have no answer yet. */
  get waitingReads(): number {
    return this.#waitingReads;
  }

  /** Bytes of the requests under way: those that were aborted count until they have ended. */
  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  /**
   * The bytes of a range; others may be given the same memory, so nobody changes it. A range that is longer than `maxRequestBytes`
   * is one request all the same: `partStream` is for those.
   * @throws cancelled at once if `signal` aborts; unavailable, also if too many reads wait; not-found and data-loss if the object
   * is not there or ends before: also if that is true only of another range that was read with this one.
   */
  read({ objectKey, offset, lengthBytes }: ObjectRange, signal: AbortSignal): Promise<Uint8Array> {
    if (signal.aborted) return Promise.reject(cancelled(signal));
    if (lengthBytes === 0) return Promise.resolve(new Uint8Array());
    if (this.#waitingReads >= this.#limits.maxWaitingReads) {
      const message = 'too many reads wait for the bucket';
      return Promise.reject(new ReapiError('unavailable', message, { retryAfterMs: RETRY_MS }));
    }
    this.#waitingReads++;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#waitingReads--;
        this.#aborts.delete(read, signal);
      };
      const read: Read = {
        objectKey,
        offset,
        endOffset: offset + lengthBytes,
        resolve: (bytes) => {
          end();
          resolve(bytes);
        },
        reject: (error) => {
          end();
          reject(error);
        },
        request: undefined,
      };
      this.#aborts.add(read, signal);
      this.#enter(read);
    });
  }

  #enter(read: Read): void {
    for (const request of this.#requests.get(read.objectKey) ?? []) {
      if (!covers(request, read)) continue;
      join(request, read);
      return;
    }
    const queued = this.#queued.get(read.objectKey);
    if (queued === undefined) this.#queued.set(read.objectKey, new Set([read]));
    else queued.add(read);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#startRequests();
    });
  }

  #leave(read: Read): void {
    const { request } = read;
    if (request === undefined) {
      dropFrom(this.#queued, read);
      return;
    }
    request.reads.delete(read);
    if (request.reads.size > 0) return;
    dropFrom(this.#requests, request);
    request.abort.abort();
  }

  #startRequests(): void {
    while (this.#running < this.#limits.maxConcurrent && !this.#isFull) {
      const [next] = this.#queued;
      if (next === undefined) return;
      const [objectKey, queued] = next;
      const batch = oldestBatch(queued, this.#limits);
      this.#isFull = this.#running > 0 && batch.endOffset - batch.offset > this.#roomBytes();
      if (this.#isFull) return;
      this.#queued.delete(objectKey);
      for (const read of batch.spans) queued.delete(read);
      if (queued.size > 0) this.#queued.set(objectKey, queued);
      this.#run(objectKey, batch);
    }
  }

  #roomBytes(): number {
    return this.#limits.maxBytesInFlight - this.#bytesInFlight;
  }

  /** Never rejects: whatever happens, it happens to the reads. */
  async #run(objectKey: string, { offset, endOffset, spans }: Batch<Read>): Promise<void> {
    const request: RangeRequest = {
      objectKey,
      offset,
      endOffset,
      reads: new Set(),
      ahead: [],
      abort: new AbortController(),
    };
    for (const read of spans) join(request, read);
    let sizeBytes = 0;
    this.#running++;
    try {
      this.#extend(request);
      addTo(this.#requests, request);
      sizeBytes = request.endOffset - offset;
      this.#bytesInFlight += sizeBytes;
      const bytes = await this.#fetch(request);
      dropFrom(this.#requests, request);
      deliver(request, bytes);
    } catch (error) {
      dropFrom(this.#requests, request);
      for (const read of request.reads) read.reject(error);
    } finally {
      this.#running--;
      this.#bytesInFlight -= sizeBytes;
      this.#isFull = false;
      this.#startRequests();
    }
  }

  /** What was read ahead must not be the reason of a failure: if the object ends before, it is read again without. */
  async #fetch(request: RangeRequest): Promise<Uint8Array> {
    const { objectKey, offset, abort } = request;
    try {
      return await this.#objects.getRange(objectKey, offset, request.endOffset - offset, abort.signal);
    } catch (error) {
      if (!isKind(error, 'data-loss') || request.ahead.length === 0 || request.reads.size === 0) throw error;
      request.ahead = [];
      request.endOffset = endOfReads(request);
      return await this.#objects.getRange(objectKey, offset, request.endOffset - offset, abort.signal);
    }
  }

  /** Adds what is worth reading ahead, as far as there is room, and the reads in the queue that are served by that. */
  #extend(request: RangeRequest): void {
    const { objectKey, offset, endOffset } = request;
    if (this.#readAhead === undefined) return;
    const maxBytes = Math.min(
      this.#windows.next(objectKey, offset, endOffset),
      offset + this.#limits.maxRequestBytes - endOffset,
      this.#roomBytes() - (endOffset - offset),
      this.#untilNextRequest(objectKey, endOffset),
    );
    if (maxBytes <= 0) return;
    const reach = { offset: endOffset, endOffset: endOffset + maxBytes };
    const items = this.#readAhead.after(objectKey, endOffset, maxBytes);
    request.ahead = items.filter((item) => covers(reach, spanOf(item)));
    for (const item of request.ahead) request.endOffset = Math.max(request.endOffset, spanOf(item).endOffset);
    for (const read of this.#queued.get(objectKey) ?? []) {
      if (!covers(request, read)) continue;
      dropFrom(this.#queued, read);
      join(request, read);
    }
  }

  /** Bytes after `endOffset` that no request under way reads. */
  #untilNextRequest(objectKey: string, endOffset: number): number {
    let bytes = Number.POSITIVE_INFINITY;
    for (const other of this.#requests.get(objectKey) ?? []) {
      if (other.endOffset > endOffset) bytes = Math.min(bytes, other.offset - endOffset);
    }
    return bytes;
  }
}

function addTo<T extends { readonly objectKey: string }>(sets: Map<string, Set<T>>, item: T): void {
  const set = sets.get(item.objectKey);
  if (set === undefined) sets.set(item.objectKey, new Set([item]));
  else set.add(item);
}

function dropFrom<T extends { readonly objectKey: string }>(sets: Map<string, Set<T>>, item: T): void {
  const set = sets.get(item.objectKey);
  if (set?.delete(item) && set.size === 0) sets.delete(item.objectKey);
}

function cancelled(signal: AbortSignal): ReapiError {
  return new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason });
}
