import type { Digest } from '../digest/digest.ts';
import type { ByteRange, ByteStream } from '../system/byte-stream.ts';
import type { Clock } from '../system/clock.ts';
import type { BlobStore } from './blob-store.ts';
import type { OperationCalls, StoreCalls } from './store-calls.ts';

/**
 * Counts all calls to a store and changes nothing. A put of a small blob takes a few microseconds in all, so the calls with
 * bytes hand on the inner promise itself: watching it on the side keeps the caller from waiting one turn longer.
 */
export class MeteredBlobStore implements BlobStore {
  readonly #inner: BlobStore;
  readonly #calls: StoreCalls;
  readonly #clock: Clock;

  constructor(inner: BlobStore, calls: StoreCalls, clock: Clock) {
    this.#inner = inner;
    this.#calls = calls;
    this.#clock = clock;
  }

  findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    const startMs = this.#clock.monotonicMs();
    const answer = this.#inner.findMissing(digests, signal);
    const calls = this.#calls;
    answer.then(
      (missing) => {
        calls.lookedUp(digests.length, missing.length);
        calls.findMissing.succeeded(0, this.#secondsSince(startMs));
      },
      (error: unknown) => calls.findMissing.failed(error, 0, this.#secondsSince(startMs)),
    );
    return answer;
  }

  async open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    const startMs = this.#clock.monotonicMs();
    const calls = this.#calls.open;
    try {
      const stream = await this.#inner.open(digest, range, signal);
      return new MeteredStream(stream, calls, () => this.#secondsSince(startMs));
    } catch (error) {
      calls.failed(error, 0, this.#secondsSince(startMs));
      throw error;
    }
  }

  async put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const calls = this.#calls.put;
    const counted = new MeteredStream(bytes);
    try {
      await this.#inner.put(digest, counted, signal);
      calls.succeeded(counted.bytes, this.#secondsSince(startMs));
    } catch (error) {
      calls.failed(error, counted.bytes, this.#secondsSince(startMs));
      throw error;
    }
  }

  getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    const startMs = this.#clock.monotonicMs();
    const answer = this.#inner.getBytes(digest, signal);
    const calls = this.#calls.getBytes;
    answer.then(
      (bytes) => calls.succeeded(bytes.length, this.#secondsSince(startMs)),
      (error: unknown) => calls.failed(error, 0, this.#secondsSince(startMs)),
    );
    return answer;
  }

  putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const answer = this.#inner.putBytes(digest, bytes, signal);
    const calls = this.#calls.putBytes;
    answer.then(
      () => calls.succeeded(bytes.length, this.#secondsSince(startMs)),
      (error: unknown) => calls.failed(error, bytes.length, this.#secondsSince(startMs)),
    );
    return answer;
  }

  #secondsSince(startMs: number): number {
    return (this.#clock.monotonicMs() - startMs) / 1000;
  }
}

/**
 * Counts the bytes of a stream and, if it is given `calls`, tells them once how the stream ended. Not a generator: those
 * swallow a `return` before the first `next`.
 */
class MeteredStream implements AsyncIterableIterator<Uint8Array> {
  readonly #source: AsyncIterator<Uint8Array>;
  #calls: OperationCalls | undefined;
  readonly #seconds: () => number;
  /** What passed so far. */
  bytes = 0;

  constructor(stream: ByteStream, calls?: OperationCalls, seconds: () => number = () => 0) {
    this.#source = stream[Symbol.asyncIterator]();
    this.#calls = calls;
    this.#seconds = seconds;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    try {
      const next = await this.#source.next();
      if (next.done !== true) {
        this.bytes += next.value.length;
        return next;
      }
      this.#end()?.succeeded(this.bytes, this.#seconds());
      return { done: true, value: undefined };
    } catch (error) {
      this.#end()?.failed(error, this.bytes, this.#seconds());
      throw error;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#end()?.ended('stopped', this.bytes, this.#seconds());
    await this.#source.return?.();
    return { done: true, value: undefined };
  }

  /** Whom to tell of the end, the first time. */
  #end(): OperationCalls | undefined {
    const calls = this.#calls;
    this.#calls = undefined;
    return calls;
  }
}
