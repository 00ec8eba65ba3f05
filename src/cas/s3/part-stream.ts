import { ReapiError } from '../../errors.ts';
import type { ByteStream } from '../../system/byte-stream.ts';
import type { PartBudget } from './part-budget.ts';
import type { ObjectRange, RangeSource } from './range-reader.ts';

/** Options of a part stream. */
export interface PartStreamOptions {
  /** Bounds the parts of all streams together, beside one of `firstPartBytes` that each stream may always hold. */
  readonly budget: PartBudget;
  /** Bytes of one request. Default 8 MiB: long enough for the latency not to matter, short enough to be tried again. */
  readonly partBytes?: number;
  /** Bytes of the first request, so that the first byte does not wait for a whole part. Default 1 MiB. */
  readonly firstPartBytes?: number;
  /** Parts that are requested or wait behind the one being consumed. Default 3: one stream rarely gets all of a link. */
  readonly partsAhead?: number;
}

/** Large enough to be worth a turn of the event loop, small enough to hash or send in one. */
const CHUNK_BYTES = 256 * 1024;

type Outcome = { readonly bytes: Uint8Array } | { readonly error: unknown };

/** A part that is requested, or has come and waits for its turn. */
interface Part {
  /** Of the budget; 0 for the one that is free. */
  readonly heldBytes: number;
  /** Never rejects. */
  readonly outcome: Promise<Outcome>;
}

/**
 * Streams a long range of an object, in order, requesting several parts at a time.
 *
 * A stream that gets nothing of the budget goes on with parts of `firstPartBytes`, one after the other: so streams never wait for
 * each other, and together they hold no more than the budget and one such part each. One stream holds at most `partsAhead + 1`
 * parts. Nothing is requested before the first `next`; everything is given back at the end, on error, when the consumer stops
 * and when `signal` aborts. An error comes where its bytes would have; nothing is requested after it. Chunks are views: one that is
 * kept keeps its part. For one consumer, one `next` at a time.
 * @throws cancelled; not-found; data-loss; unavailable.
 */
export function partStream(
  objects: RangeSource,
  range: ObjectRange,
  options: PartStreamOptions,
  signal: AbortSignal,
): ByteStream {
  return new PartReader(objects, range, options, signal);
}

class PartReader implements AsyncIterableIterator<Uint8Array> {
  readonly #objects: RangeSource;
  readonly #objectKey: string;
  readonly #options: Readonly<Required<PartStreamOptions>>;
  readonly #signal: AbortSignal;
  readonly #abort = new AbortController();
  readonly #onAbort = (): void => this.#stop();
  readonly #endOffset: number;
  /** Where the next part begins. */
  #offset: number;
  #isStarted = false;
  #isStopped = false;
  #hasFailed = false;
  /** In order; the first is the one being consumed. */
  readonly #parts: Part[] = [];
  /** What is left of the first part, once it has come. */
  #rest: Uint8Array = new Uint8Array();

  constructor(objects: RangeSource, range: ObjectRange, options: PartStreamOptions, signal: AbortSignal) {
    this.#objects = objects;
    this.#objectKey = range.objectKey;
    this.#offset = range.offset;
    this.#endOffset = range.offset + range.lengthBytes;
    const partBytes = options.partBytes ?? 8 * 1024 * 1024;
    this.#options = {
      budget: options.budget,
      partBytes,
      firstPartBytes: Math.min(partBytes, options.firstPartBytes ?? 1024 * 1024),
      partsAhead: options.partsAhead ?? 3,
    };
    this.#signal = signal;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#throwIfAborted();
    if (!this.#isStarted && !this.#isStopped) {
      this.#signal.addEventListener('abort', this.#onAbort, { once: true });
    }
    if (this.#rest.length === 0 && this.#isStarted) this.#dropFirst();
    this.#requestAhead();
    this.#isStarted = true;
    if (this.#rest.length === 0) {
      const outcome = await this.#parts[0]?.outcome;
      this.#throwIfAborted();
      if (outcome === undefined || this.#isStopped) {
        this.#stop();
        return { done: true, value: undefined };
      }
      if ('error' in outcome) {
        this.#stop();
        throw outcome.error;
      }
      this.#rest = outcome.bytes;
    }
    const value = this.#rest.subarray(0, CHUNK_BYTES);
    this.#rest = this.#rest.subarray(CHUNK_BYTES);
    return { done: false, value };
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#stop();
    return { done: true, value: undefined };
  }

  #requestAhead(): void {
    while (!this.#isStopped && !this.#hasFailed && this.#parts.length <= this.#options.partsAhead) {
      const part = this.#request();
      if (part === undefined) return;
      this.#parts.push(part);
    }
  }

  /** The next part, if there is one and room for it. */
  #request(): Part | undefined {
    const leftBytes = this.#endOffset - this.#offset;
    if (leftBytes === 0) return undefined;
    const { budget, partBytes, firstPartBytes } = this.#options;
    const takenBytes = Math.min(partBytes, leftBytes);
    if (this.#isStarted || this.#parts.length > 0) {
      if (budget.tryTake(takenBytes)) return this.#begin(takenBytes, takenBytes);
    }
    return this.#parts.length === 0 ? this.#begin(Math.min(firstPartBytes, leftBytes), 0) : undefined;
  }

  #begin(lengthBytes: number, heldBytes: number): Part {
    const request = this.#objects.getRange(this.#objectKey, this.#offset, lengthBytes, this.#abort.signal);
    this.#offset += lengthBytes;
    const outcome = request.then(
      (bytes) => ({ bytes }),
      (error: unknown) => {
        this.#hasFailed = true;
        return { error };
      },
    );
    return { heldBytes, outcome };
  }

  #dropFirst(): void {
    const part = this.#parts.shift();
    if (part !== undefined) this.#options.budget.giveBack(part.heldBytes);
  }

  /** Parts under way take memory until their requests have ended. */
  #stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#rest = new Uint8Array();
    this.#abort.abort();
    for (const { heldBytes, outcome } of this.#parts.splice(0)) {
      outcome.then(() => this.#options.budget.giveBack(heldBytes));
    }
  }

  #throwIfAborted(): void {
    if (!this.#signal.aborted) return;
    this.#stop();
    throw new ReapiError('cancelled', 'the call was cancelled', { cause: this.#signal.reason });
  }
}
