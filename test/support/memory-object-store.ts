import type { ObjectInfo, ObjectStore, UnfinishedUpload } from '../../src/cas/s3/object-store.ts';
import { RequestCounts, type S3Operation } from '../../src/cas/s3/request-counts.ts';
import { PART_BYTES, partBytesOf, pieces } from '../../src/cas/s3/s3-multipart.ts';
import { ReapiError, throwIfAborted } from '../../src/errors.ts';
import { abortable } from '../../src/system/abortable.ts';
import type { ByteStream } from '../../src/system/byte-stream.ts';
import { type Clock, sleep } from '../../src/system/clock.ts';

/** An object as the bucket keeps it. */
export interface MemoryObject {
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly modifiedMs: number;
}

/** What is in the bucket, for several stores that share it and for tests that look into it. */
export class MemoryBucket {
  readonly objects = new Map<string, MemoryObject>();
  /** By id. */
  readonly uploads = new Map<string, UnfinishedUpload>();
  #written = 0;

  /** Stores an object behind everybody's back. */
  set(key: string, bytes: Uint8Array, modifiedMs: number): void {
    this.#written += 1;
    this.objects.set(key, { bytes: new Uint8Array(bytes), etag: `"${this.#written}"`, modifiedMs });
  }

  /** Begins an upload that nobody goes on with. @returns its id. */
  beginUpload(key: string, startedMs: number): string {
    this.#written += 1;
    const id = `upload-${this.#written}`;
    this.uploads.set(id, { key, id, startedMs });
    return id;
  }
}

/** The methods of `ObjectStore`. */
export type ObjectStoreCall = Exclude<keyof ObjectStore, symbol>;

/** What goes wrong with one call; see `MemoryObjectStore`. */
export type ObjectStoreFault = 'fail-before' | 'fail-middle' | 'fail-after' | 'hang' | 'quota';

/** How a `MemoryObjectStore` behaves. */
export interface MemoryObjectStoreOptions {
  /** Default: one of its own. */
  readonly bucket?: MemoryBucket;
  /** Asked once per call, for a listing once per page. `key` is the first key, or the prefix of a listing. */
  readonly faults?: (call: ObjectStoreCall, key: string) => ObjectStoreFault | undefined;
  /** How long a call takes; half passes before the bucket does it, half after. Default nothing. */
  readonly latencyMs?: (call: ObjectStoreCall) => number;
  /** Objects and uploads on a page of a listing. Default 1,000, as S3. */
  readonly pageKeys?: number;
}

/**
 * A bucket in memory with the laws of `ObjectStore`: strongly consistent, and the same calls at the same times give the same results.
 * It counts requests as the real one sends them. What callers must survive:
 *
 * - `fail-before`: `unavailable`, and nothing was done: the server is down, or asks to slow down. Everyone: keep what is not stored yet, try later.
 * - `fail-middle`: `unavailable` with half of it done. `delete`: the first half of the keys is gone. `putStream`: no object, and its parts are left as
 *   an unfinished upload, since dropping them failed, too. A listing: pages came before. Others: as `fail-before`. Everyone: do it again from the start.
 * - `fail-after`: it was done, and `unavailable` is reported: the answer was lost. Whoever puts must not take the name for free, nor count the object twice;
 *   whoever deletes must be content that it is gone. Reads: as `fail-before`.
 * - `quota`: `quota-exceeded`, and nothing was done: the bucket has no room. Only writing calls for it. Everyone: go on with all that takes no room.
 * - `hang`: no answer until the signal aborts, then `cancelled`, nothing done. The real store gives up by itself; everyone must do so when told.
 *
 * Bytes that change, objects that vanish unasked and listings that leave objects out are not among them: an S3 that does so has no law to rely on.
 * Tests that want damaged objects write them into `bucket`.
 */
export class MemoryObjectStore implements ObjectStore {
  readonly bucket: MemoryBucket;
  readonly counts = new RequestCounts();
  readonly #clock: Clock;
  readonly #options: MemoryObjectStoreOptions;
  readonly #pageKeys: number;

  constructor(clock: Clock, options: MemoryObjectStoreOptions = {}) {
    this.#clock = clock;
    this.#options = options;
    this.#pageKeys = options.pageKeys ?? 1_000;
    this.bucket = options.bucket ?? new MemoryBucket();
  }

  async put(key: string, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    const bytes = Buffer.concat(chunks);
    await this.#call({ call: 'put', key, signal }, () => {
      this.#count('put', { sentBytes: bytes.length });
      this.bucket.set(key, bytes, this.#clock.nowMs());
    });
  }

  async putStream(key: string, bytes: ByteStream, sizeBytes: number, signal: AbortSignal): Promise<void> {
    const isOne = sizeBytes <= PART_BYTES;
    const parts: Uint8Array[] = [];
    if (!isOne) this.#count('begin-upload');
    try {
      for await (const part of pieces(
        abortable(bytes, signal),
        sizeBytes,
        isOne ? sizeBytes : partBytesOf(sizeBytes),
      )) {
        this.#count(isOne ? 'put' : 'put-part', { sentBytes: part.length });
        parts.push(part);
      }
    } catch (error) {
      if (!isOne) this.#count('drop-upload');
      throw error;
    }
    const store = () => {
      if (!isOne) this.#count('complete-upload');
      this.bucket.set(key, Buffer.concat(parts), this.#clock.nowMs());
    };
    const half = () => {
      if (!isOne) this.bucket.beginUpload(key, this.#clock.nowMs());
    };
    await this.#call({ call: 'putStream', key, signal, half }, store);
  }

  get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#call({ call: 'get', key, signal }, () => {
      const object = this.bucket.objects.get(key);
      if (object === undefined) {
        this.#count('get', { error: 'NoSuchKey' });
        return undefined;
      }
      if (object.bytes.length > maxBytes)
        throw new ReapiError('too-large', `the object has more than ${maxBytes} bytes`);
      this.#count('get', { receivedBytes: object.bytes.length });
      return new Uint8Array(object.bytes);
    });
  }

  getRange(key: string, offset: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#call({ call: 'getRange', key, signal }, () => {
      const bytes = this.#existing(key, 'get').bytes.slice(offset, offset + lengthBytes);
      if (bytes.length < lengthBytes)
        throw new ReapiError('data-loss', 'the object ends before the bytes that were asked for');
      this.#count('get', { receivedBytes: bytes.length });
      return bytes;
    });
  }

  async *list(prefix: string, after: string | undefined, signal: AbortSignal): AsyncIterable<readonly ObjectInfo[]> {
    let last = after;
    for (;;) {
      const page = await this.#call({ call: 'list', key: prefix, signal }, () => {
        this.#count('list');
        return this.#page(prefix, last);
      });
      if (page.length > 0) yield page;
      if (page.length < this.#pageKeys) return;
      last = page.at(-1)?.key;
    }
  }

  copy(from: string, to: string, _sizeBytes: number, signal: AbortSignal): Promise<void> {
    return this.#call({ call: 'copy', key: to, signal }, () => {
      const { bytes } = this.#existing(from, 'copy');
      this.#count('copy');
      this.bucket.set(to, bytes, this.#clock.nowMs());
    });
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    const remove = (some: readonly string[]) => {
      for (let at = 0; at < some.length; at += 1_000) this.#count('delete');
      for (const key of some) this.bucket.objects.delete(key);
    };
    const half = () => remove(keys.slice(0, keys.length >> 1));
    await this.#call({ call: 'delete', key: keys[0] ?? '', signal, half }, () => remove(keys));
  }

  async *unfinishedUploads(signal: AbortSignal): AsyncIterable<readonly UnfinishedUpload[]> {
    const all = await this.#call({ call: 'unfinishedUploads', key: '', signal }, () => {
      this.#count('list-uploads');
      return [...this.bucket.uploads.values()].sort((a, b) => inOrder(a.key, b.key) || inOrder(a.id, b.id));
    });
    for (let at = 0; at < all.length; at += this.#pageKeys) yield all.slice(at, at + this.#pageKeys);
  }

  dropUpload(upload: UnfinishedUpload, signal: AbortSignal): Promise<void> {
    return this.#call({ call: 'dropUpload', key: upload.key, signal }, () => {
      this.#count('drop-upload');
      this.bucket.uploads.delete(upload.id);
    });
  }

  async #call<T>(
    { call, key, signal, half }: { call: ObjectStoreCall; key: string; signal: AbortSignal; half?: () => void },
    run: () => T,
  ): Promise<T> {
    throwIfAborted(signal);
    const fault = this.#options.faults?.(call, key);
    const latencyMs = this.#options.latencyMs?.(call) ?? 0;
    if (fault === 'hang') await untilAborted(signal);
    await this.#wait(latencyMs / 2, signal);
    if (fault === 'fail-middle') half?.();
    if (fault === 'quota') throw new ReapiError('quota-exceeded', 'a bucket in memory: no room');
    if (fault === 'fail-before' || fault === 'fail-middle') throw failed(fault);
    const result = run();
    await this.#wait(latencyMs / 2, signal);
    if (fault === 'fail-after') throw failed(fault);
    return result;
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (ms > 0) await sleep(this.#clock, ms, signal).catch(() => throwIfAborted(signal));
    else await Promise.resolve();
    throwIfAborted(signal);
  }

  #existing(key: string, operation: S3Operation): MemoryObject {
    const object = this.bucket.objects.get(key);
    if (object !== undefined) return object;
    this.#count(operation, { error: 'NoSuchKey' });
    throw new ReapiError('not-found', 'there is no such object');
  }

  #page(prefix: string, after: string | undefined): readonly ObjectInfo[] {
    const keys = [...this.bucket.objects.keys()].filter((key) => key.startsWith(prefix));
    const later = keys.filter((key) => after === undefined || inOrder(key, after) > 0).sort(inOrder);
    return later.slice(0, this.#pageKeys).flatMap((key) => {
      const object = this.bucket.objects.get(key);
      return object === undefined ? [] : [infoOf(key, object)];
    });
  }

  #count(operation: S3Operation, outcome: { sentBytes?: number; receivedBytes?: number; error?: string } = {}): void {
    this.counts.record(operation, { seconds: 0, sentBytes: 0, receivedBytes: 0, ...outcome });
  }
}

function infoOf(key: string, { bytes, etag, modifiedMs }: MemoryObject): ObjectInfo {
  return { key, sizeBytes: bytes.length, etag, modifiedMs };
}

/** By bytes of UTF-8, as S3 does it. */
function inOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason }));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

function failed(fault: ObjectStoreFault): ReapiError {
  return new ReapiError('unavailable', `a bucket in memory: ${fault}`, { retryAfterMs: 1_000 });
}
