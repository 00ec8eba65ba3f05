import { type Digest, digestKey, isEmptyBlob } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { ReapiError, throwIfAborted } from '../../src/errors.ts';
import { type ByteStream, collect } from '../../src/system/byte-stream.ts';
import type { SmallBlob, WorkerStore } from '../../src/worker/worker-store.ts';

/** The CAS of a worker's tests. `before` runs ahead of every call and may fail it or hold it back. */
export class MemoryWorkerStore implements WorkerStore {
  readonly blobs = new Map<string, Uint8Array>();
  /** Names of the calls, in order. */
  readonly calls: string[] = [];
  readonly maxSmallBytes: number;
  before: (call: string, signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  constructor(options: { readonly maxSmallBytes?: number } = {}) {
    this.maxSmallBytes = options.maxSmallBytes ?? 1000;
  }

  /** Adds a blob and returns its digest. */
  seed(bytes: Uint8Array | string): Digest {
    const data = Buffer.from(bytes);
    const digest = digestOf('sha256', data);
    this.blobs.set(digestKey(digest), data);
    return digest;
  }

  /** Text of a blob that must be there. */
  text(digest: Digest): string {
    const bytes = this.blobs.get(digestKey(digest));
    if (bytes === undefined) throw new ReapiError('blob-not-found', digestKey(digest));
    return Buffer.from(bytes).toString();
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    await this.#enter('findMissing', signal);
    return digests.filter((digest) => !this.#has(digest));
  }

  async readAll(digests: readonly Digest[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>> {
    await this.#enter('readAll', signal);
    const present = digests.filter((digest) => this.#has(digest));
    return new Map(present.map((d) => [digestKey(d), this.blobs.get(digestKey(d)) ?? new Uint8Array(0)]));
  }

  async *open(digest: Digest, signal: AbortSignal): ByteStream {
    await this.#enter('open', signal);
    const bytes = this.blobs.get(digestKey(digest));
    if (bytes === undefined) throw new ReapiError('blob-not-found', digestKey(digest));
    for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
  }

  async writeAll(blobs: readonly SmallBlob[], signal: AbortSignal): Promise<void> {
    await this.#enter('writeAll', signal);
    for (const { digest, bytes } of blobs) this.#keep(digest, bytes);
  }

  async write(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    await this.#enter('write', signal);
    this.#keep(digest, await collect(bytes, digest.sizeBytes + 1));
  }

  #has(digest: Digest): boolean {
    return isEmptyBlob(digest) || this.blobs.has(digestKey(digest));
  }

  #keep(digest: Digest, bytes: Uint8Array): void {
    if (digestKey(digestOf(digest.function, bytes)) !== digestKey(digest)) {
      throw new ReapiError('digest-mismatch', digestKey(digest));
    }
    this.blobs.set(digestKey(digest), bytes);
  }

  async #enter(call: string, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    this.calls.push(call);
    await this.before(call, signal);
  }
}
