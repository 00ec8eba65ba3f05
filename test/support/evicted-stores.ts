import type { BlobStore } from '../../src/cas/blob-store.ts';
import type { Digest } from '../../src/digest/digest.ts';
import type { Entry, EntryStore } from '../../src/entries/entry-store.ts';
import type { ByteRange, ByteStream } from '../../src/system/byte-stream.ts';
import type { BucketWorld } from './bucket-world.ts';

/** The blobs of a world whose local tier has forgotten everything before each read, so that all of it comes from the bucket. */
export class EvictedBlobStore implements BlobStore {
  readonly #world: BucketWorld;

  constructor(world: BucketWorld) {
    this.#world = world;
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    return (await this.#evicted()).findMissing(digests, signal);
  }

  async open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    return (await this.#evicted()).open(digest, range, signal);
  }

  async getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    return (await this.#evicted()).getBytes(digest, signal);
  }

  put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    return this.#world.tier.blobs.put(digest, bytes, signal);
  }

  putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.#world.tier.blobs.putBytes(digest, bytes, signal);
  }

  async #evicted(): Promise<BlobStore> {
    await this.#world.uploaded();
    await this.#world.evict();
    return this.#world.tier.blobs;
  }
}

/** The entries of a world, likewise. */
export class EvictedEntryStore implements EntryStore {
  readonly #world: BucketWorld;

  constructor(world: BucketWorld) {
    this.#world = world;
  }

  async get(key: string, signal: AbortSignal): Promise<Entry | undefined> {
    await this.#world.uploaded();
    await this.#world.evict();
    return this.#world.tier.entries.get(key, signal);
  }

  put(key: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.#world.tier.entries.put(key, value, signal);
  }

  delete(key: string, signal: AbortSignal): Promise<boolean> {
    return this.#world.tier.entries.delete(key, signal);
  }
}
