import type { ObjectInfo, ObjectStore, UnfinishedUpload } from '../../../src/cas/s3/object-store.ts';
import { ReapiError, throwIfAborted } from '../../../src/errors.ts';
import { type ByteStream, collect } from '../../../src/system/byte-stream.ts';
import { type MemoryBucket, MemoryObjectStore } from '../../support/memory-object-store.ts';
import type { BucketWatch } from './bucket-watch.ts';
import type { SimProcess, SimTime } from './sim-time.ts';

/** What becomes of one call. Times in milliseconds. */
export interface CallFate {
  /** When it reaches the bucket, after the call; undefined: never. */
  readonly landsAfterMs: number | undefined;
  /** When the caller has its answer, after the call. */
  readonly answersAfterMs: number;
  /** The answer is that it failed, whether it reached the bucket or not. */
  readonly fails: boolean;
  /** If the caller gives up before it has landed, it lands all the same: bytes that are on their way are. */
  readonly landsUnasked: boolean;
}

/** Objects on a page of a listing: few, so that listings have several pages. */
const PAGE_KEYS = 64;

const NEVER = new AbortController().signal;

/**
 * A bucket as one process sees it. What may go wrong, and must be survived:
 *
 * - a call fails without having done anything, or though it was done;
 * - a call hangs for long, then fails; it may have been done, at any time before;
 * - a call is given up, or its process killed, and it lands all the same, later;
 * - all calls of a machine fail for a while.
 */
export class SimObjects implements ObjectStore {
  readonly #time: SimTime;
  readonly #process: SimProcess;
  readonly #inner: MemoryObjectStore;
  readonly #watch: BucketWatch | undefined;
  readonly #fate: (call: keyof ObjectStore) => CallFate;

  constructor(
    process: SimProcess,
    bucket: MemoryBucket,
    { time, watch, fate }: { time: SimTime; watch?: BucketWatch; fate: (call: keyof ObjectStore) => CallFate },
  ) {
    this.#time = time;
    this.#process = process;
    this.#inner = new MemoryObjectStore(time, { bucket, pageKeys: PAGE_KEYS });
    this.#watch = watch;
    this.#fate = fate;
  }

  put(key: string, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    const bytes = Buffer.concat(chunks);
    return this.#call('put', signal, () => this.#landed(key, bytes, this.#inner.put(key, [bytes], NEVER)));
  }

  async putStream(key: string, stream: ByteStream, sizeBytes: number, signal: AbortSignal): Promise<void> {
    const bytes = await collect(stream, sizeBytes);
    await this.put(key, [bytes], signal);
  }

  get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#call('get', signal, () => this.#inner.get(key, maxBytes, NEVER));
  }

  getRange(key: string, offset: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#call('getRange', signal, () => this.#inner.getRange(key, offset, lengthBytes, NEVER));
  }

  async *list(prefix: string, after: string | undefined, signal: AbortSignal): AsyncIterable<readonly ObjectInfo[]> {
    for (let last = after; ; ) {
      const page = await this.#call('list', signal, async () => {
        for await (const infos of this.#inner.list(prefix, last, NEVER)) return infos;
        return [];
      });
      if (page.length > 0) yield page;
      if (page.length < PAGE_KEYS) return;
      last = page.at(-1)?.key;
    }
  }

  copy(from: string, to: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    return this.#call('copy', signal, async () => {
      await this.#inner.copy(from, to, sizeBytes, NEVER);
      this.#watch?.landed(to, this.#inner.bucket.objects.get(to)?.bytes ?? new Uint8Array());
    });
  }

  delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    return this.#call('delete', signal, async () => {
      for (const key of keys) if (this.#inner.bucket.objects.has(key)) this.#watch?.deleted(key);
      await this.#inner.delete(keys, NEVER);
    });
  }

  unfinishedUploads(signal: AbortSignal): AsyncIterable<readonly UnfinishedUpload[]> {
    return this.#inner.unfinishedUploads(signal);
  }

  dropUpload(upload: UnfinishedUpload, signal: AbortSignal): Promise<void> {
    return this.#inner.dropUpload(upload, signal);
  }

  async #landed(key: string, bytes: Uint8Array, done: Promise<void>): Promise<void> {
    await done;
    this.#watch?.landed(key, bytes);
  }

  #call<T>(call: keyof ObjectStore, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
    throwIfAborted(signal);
    const fate = this.#fate(call);
    return new Promise((resolve, reject) => {
      let outcome: Promise<T> | undefined;
      const landing =
        fate.landsAfterMs === undefined
          ? undefined
          : this.#time.wakeAt(this.#time.monotonicMs() + fate.landsAfterMs, () => {
              outcome = run();
              outcome.catch(() => undefined);
            });
      const onAbort = (): void => {
        if (!fate.landsUnasked) landing?.cancel();
        reject(new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason }));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#process.wakeAt(this.#time.monotonicMs() + fate.answersAfterMs, () => {
        signal.removeEventListener('abort', onAbort);
        if (!fate.fails && outcome !== undefined) outcome.then(resolve, reject);
        else reject(new ReapiError('unavailable', 'simulated S3: no', { retryAfterMs: 1000 }));
      });
    });
  }
}
