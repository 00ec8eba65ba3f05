import type { Digest } from '../digest/digest.ts';
import { type ErrorKind, ReapiError } from '../errors.ts';
import type { ByteRange, ByteStream } from '../system/byte-stream.ts';
import type { Clock } from '../system/clock.ts';
import type { BlobStore } from './blob-store.ts';

/** One finished call to a store. */
export interface StoreCall {
  readonly operation: 'find-missing' | 'open' | 'put' | 'get-bytes' | 'put-bytes';
  /** `internal` also for errors that are no `ReapiError`; `stopped`: the reader wanted no more. */
  readonly outcome: 'ok' | 'stopped' | ErrorKind;
  /** Blob bytes that passed in either direction. */
  readonly bytes: number;
  /** How many blobs it was about, and how many of them were absent. */
  readonly blobs: number;
  readonly missing: number;
  /** Until the answer, or the end of the stream. */
  readonly seconds: number;
}

/** Told of every call when it has ended. Must not throw. */
export interface StoreObserver {
  observe(call: StoreCall): void;
}

/** What is counted while a call runs. */
interface Tally {
  bytes: number;
  blobs: number;
  missing: number;
}

/** Tells an observer of all calls to a store and changes nothing. One per store, each with its own labels. */
export class MeteredBlobStore implements BlobStore {
  readonly #inner: BlobStore;
  readonly #observer: StoreObserver;
  readonly #clock: Clock;

  constructor(inner: BlobStore, observer: StoreObserver, clock: Clock) {
    this.#inner = inner;
    this.#observer = observer;
    this.#clock = clock;
  }

  findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    return this.#measure('find-missing', async (tally) => {
      tally.blobs = digests.length;
      const missing = await this.#inner.findMissing(digests, signal);
      tally.missing = missing.length;
      return missing;
    });
  }

  async open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    const finish = this.#start('open');
    const tally = { bytes: 0, blobs: 1, missing: 0 };
    try {
      const stream = await this.#inner.open(digest, range, signal);
      return new MeteredStream(stream, tally, (outcome) => finish(outcome, tally));
    } catch (error) {
      finish(outcomeOf(error, tally), tally);
      throw error;
    }
  }

  put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    return this.#measure('put', (tally) => this.#inner.put(digest, new MeteredStream(bytes, tally), signal));
  }

  getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    return this.#measure('get-bytes', async (tally) => {
      const bytes = await this.#inner.getBytes(digest, signal);
      tally.bytes = bytes.length;
      return bytes;
    });
  }

  putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.#measure('put-bytes', (tally) => {
      tally.bytes = bytes.length;
      return this.#inner.putBytes(digest, bytes, signal);
    });
  }

  async #measure<T>(operation: StoreCall['operation'], run: (tally: Tally) => Promise<T>): Promise<T> {
    const finish = this.#start(operation);
    const tally = { bytes: 0, blobs: 1, missing: 0 };
    try {
      const result = await run(tally);
      finish('ok', tally);
      return result;
    } catch (error) {
      finish(outcomeOf(error, tally), tally);
      throw error;
    }
  }

  #start(operation: StoreCall['operation']): (outcome: StoreCall['outcome'], tally: Tally) => void {
    const startMs = this.#clock.monotonicMs();
    return (outcome, tally) => {
      const seconds = (this.#clock.monotonicMs() - startMs) / 1000;
      this.#observer.observe({ operation, outcome, ...tally, seconds });
    };
  }
}

function outcomeOf(error: unknown, tally: Tally): ErrorKind {
  const kind = error instanceof ReapiError ? error.kind : 'internal';
  if (kind === 'blob-not-found') tally.missing = 1;
  return kind;
}

/** Counts the bytes of a stream and tells once how it ended. Not a generator: those swallow a `return` before the first `next`. */
class MeteredStream implements AsyncIterableIterator<Uint8Array> {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #tally: Tally;
  #finish: ((outcome: StoreCall['outcome']) => void) | undefined;

  constructor(stream: ByteStream, tally: Tally, finish?: (outcome: StoreCall['outcome']) => void) {
    this.#source = stream[Symbol.asyncIterator]();
    this.#tally = tally;
    this.#finish = finish;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    try {
      const next = await this.#source.next();
      if (next.done !== true) {
        this.#tally.bytes += next.value.length;
        return next;
      }
      this.#end('ok');
      return { done: true, value: undefined };
    } catch (error) {
      this.#end(outcomeOf(error, this.#tally));
      throw error;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#end('stopped');
    await this.#source.return?.();
    return { done: true, value: undefined };
  }

  #end(outcome: StoreCall['outcome']): void {
    this.#finish?.(outcome);
    this.#finish = undefined;
  }
}
