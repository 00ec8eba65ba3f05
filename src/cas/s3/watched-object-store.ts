import { isKind } from '../../errors.ts';
import type { ByteStream } from '../../system/byte-stream.ts';
import type { ObjectInfo, ObjectStore, UnfinishedUpload } from './object-store.ts';
import type { S3Health } from './s3-health.ts';

/** Tells `S3Health` how each call ended, and changes nothing. */
export class WatchedObjectStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #health: S3Health;

  constructor(inner: ObjectStore, health: S3Health) {
    this.#inner = inner;
    this.#health = health;
  }

  put(key: string, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    return this.#watch(() => this.#inner.put(key, chunks, signal));
  }

  putStream(key: string, bytes: ByteStream, sizeBytes: number, signal: AbortSignal): Promise<void> {
    return this.#watch(() => this.#inner.putStream(key, bytes, sizeBytes, signal));
  }

  get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#watch(() => this.#inner.get(key, maxBytes, signal));
  }

  getRange(key: string, offset: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#watch(() => this.#inner.getRange(key, offset, lengthBytes, signal));
  }

  list(prefix: string, after: string | undefined, signal: AbortSignal): AsyncIterable<readonly ObjectInfo[]> {
    return this.#watchPages(this.#inner.list(prefix, after, signal));
  }

  copy(from: string, to: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    return this.#watch(() => this.#inner.copy(from, to, sizeBytes, signal));
  }

  delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    return this.#watch(() => this.#inner.delete(keys, signal));
  }

  unfinishedUploads(signal: AbortSignal): AsyncIterable<readonly UnfinishedUpload[]> {
    return this.#watchPages(this.#inner.unfinishedUploads(signal));
  }

  dropUpload(upload: UnfinishedUpload, signal: AbortSignal): Promise<void> {
    return this.#watch(() => this.#inner.dropUpload(upload, signal));
  }

  async #watch<T>(call: () => Promise<T>): Promise<T> {
    try {
      const answer = await call();
      this.#health.succeeded();
      return answer;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  async *#watchPages<T>(pages: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      for await (const page of pages) {
        this.#health.succeeded();
        yield page;
      }
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  /** Other kinds are answers, or failures of ours. */
  #failed(error: unknown): void {
    if (isKind(error, 'unavailable') || isKind(error, 'quota-exceeded')) this.#health.failed(error);
    else if (isKind(error, 'not-found')) this.#health.succeeded();
  }
}
