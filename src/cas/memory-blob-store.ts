import { LRUCache } from 'lru-cache';
import { type Digest, digestKey, isEmptyBlob } from '../digest/digest.ts';
import { ReapiError, throwIfAborted } from '../errors.ts';
import { abortable, discard } from '../system/abortable.ts';
import { type ByteRange, type ByteStream, collect, streamOf } from '../system/byte-stream.ts';
import { absentAmong, blobNotFound, sliceOf } from './blob-lookup.ts';
import type { BlobStore } from './blob-store.ts';
import { verified, verifyBytes } from './verified-stream.ts';

/** What a blob costs beside its bytes: key, list node, array. */
const OVERHEAD_BYTES = 256;

/**
 * Blobs in memory, the least recently used going first; for tests and small caches. It keeps no promise of retention:
 * whatever is above `maxBytes` goes at once.
 */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs: LRUCache<string, Uint8Array>;
  readonly #maxBytes: number;

  /** @param options.maxBytes total of all blobs, each counted with 256 bytes for its bookkeeping. */
  constructor(options: { readonly maxBytes: number }) {
    this.#maxBytes = options.maxBytes;
    this.#blobs = new LRUCache({
      maxSize: options.maxBytes,
      sizeCalculation: (bytes) => bytes.length + OVERHEAD_BYTES,
    });
  }

  /** What the blobs take, bookkeeping included. */
  get bytes(): number {
    return this.#blobs.calculatedSize;
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    throwIfAborted(signal);
    return absentAmong(digests, (digest) => this.#blobs.get(digestKey(digest)) !== undefined);
  }

  async open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    return streamOf(sliceOf(await this.getBytes(digest, signal), range));
  }

  async put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (this.#has(digest)) {
      discard(bytes);
      return;
    }
    this.#throwIfTooLarge(digest);
    this.#keep(digest, await collect(verified(digest, abortable(bytes, signal)), digest.sizeBytes));
  }

  async getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    throwIfAborted(signal);
    if (isEmptyBlob(digest)) return new Uint8Array();
    const bytes = this.#blobs.get(digestKey(digest));
    if (bytes === undefined) throw blobNotFound(digest);
    return bytes;
  }

  async putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (this.#has(digest)) return;
    this.#throwIfTooLarge(digest);
    verifyBytes(digest, bytes);
    this.#keep(digest, bytes);
  }

  #has(digest: Digest): boolean {
    return isEmptyBlob(digest) || this.#blobs.get(digestKey(digest)) !== undefined;
  }

  #throwIfTooLarge(digest: Digest): void {
    if (digest.sizeBytes + OVERHEAD_BYTES <= this.#maxBytes) return;
    const message = `${digest.sizeBytes} bytes are more than the whole store may hold (${this.#maxBytes} bytes)`;
    throw new ReapiError('too-large', message);
  }

  /** A small piece of a large message is copied: keeping it as it is would keep the whole message. */
  #keep(digest: Digest, bytes: Uint8Array): void {
    const isPiece = bytes.buffer.byteLength > 2 * bytes.length;
    this.#blobs.set(digestKey(digest), isPiece ? new Uint8Array(bytes) : bytes);
  }
}
