import { type Digest, isEmptyBlob } from '../../digest/digest.ts';
import { isKind, ReapiError, throwIfAborted } from '../../errors.ts';
import { discard } from '../../system/abortable.ts';
import { type ByteRange, type ByteStream, collect, streamOf, WHOLE } from '../../system/byte-stream.ts';
import type { Clock } from '../../system/clock.ts';
import { absentAmong, blobNotFound, sliceOf } from '../blob-lookup.ts';
import type { BlobStore } from '../blob-store.ts';
import { verified } from '../verified-stream.ts';
import type { Backlog } from './backlog.ts';
import type { BucketIndex, BucketPlace } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { BucketWriter } from './bucket-writer.ts';
import { type FetchParts, fetchBlob } from './fetch-blob.ts';
import type { LocalTier } from './local-tier.ts';
import type { ObjectStore } from './object-store.ts';
import type { PartBudget } from './part-budget.ts';
import { partStream } from './part-stream.ts';
import type { PendingUploads } from './pending-uploads.ts';
import type { Promises } from './promises.ts';
import type { S3Health } from './s3-health.ts';
import { SharedWork } from './shared-work.ts';
import { waitAtMost } from './wait-at-most.ts';

/** A blob that somebody waits for goes out after that, with whatever has come by then. */
const PATIENCE_MS = 10;

/** Large blobs up to this size are fetched into the local tier before their first byte is served: once for all readers, and verified. */
const MAX_FETCHED_WHOLE_BYTES = 64 * 1024 * 1024;

/** What the store of blobs stands on. */
export interface DurableBlobStoreParts extends FetchParts {
  readonly local: LocalTier;
  readonly objects: ObjectStore;
  readonly index: BucketIndex;
  readonly writer: BucketWriter;
  readonly pending: PendingUploads;
  readonly backlog: Backlog;
  readonly promises: Promises;
  readonly health: S3Health;
  readonly time: BucketTime;
  readonly clock: Clock;
  readonly partBudget: PartBudget;
}

/** How blobs are stored. */
export interface DurableBlobStoreOptions {
  /** `s3`: acknowledged when the bucket has it; `local`: when the local tier has it. */
  readonly durability: 's3' | 'local';
  /** Blobs up to this size go into packs. */
  readonly maxPackedBlobBytes: number;
  /** With `s3`: how long a write waits for the bucket. */
  readonly uploadWaitMs: number;
}

/**
 * Blobs in the bucket, with the local tier before it. What is in the bucket is known from the index: looking up never asks S3, reading does if
 * the local tier has no copy.
 *
 * With durability `s3` only what the bucket has is there; a copy in the local tier alone is not. With `local` both count, and what
 * the local tier alone has is kept there until the bucket has it too.
 */
export class DurableBlobStore implements BlobStore {
  readonly #parts: DurableBlobStoreParts;
  readonly #options: DurableBlobStoreOptions;
  readonly #fetches = new SharedWork<void>();

  constructor(parts: DurableBlobStoreParts, options: DurableBlobStoreOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    const { local } = this.#parts;
    const missingHere = await local.blobs.findMissing(digests, signal);
    const look = this.#parts.promises.look();
    if (this.#options.durability === 's3') return absentAmong(digests, (digest) => this.#isStored(digest, look));
    // Looked up also if they are here: a use counts for the bucket, too.
    for (const digest of digests) if (!this.#touch(digest, look)) this.#storeIfForgotten(digest);
    return absentAmong(missingHere, (digest) => this.#touch(digest, look));
  }

  async open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    throwIfAborted(signal);
    const here = await this.#here(digest, () => this.#parts.local.blobs.open(digest, range, signal));
    if (here !== undefined) return here;
    const place = this.#placeOf(digest);
    if (place.container.digest === undefined) return streamOf(sliceOf(await this.#fetch(digest, place, signal), range));
    const isWhole = range.offset === 0 && (range.limit ?? digest.sizeBytes) >= digest.sizeBytes;
    if (isWhole && digest.sizeBytes <= MAX_FETCHED_WHOLE_BYTES && (await this.#fetchLarge(digest, place, signal)))
      return this.#parts.local.blobs.open(digest, range, signal);
    return isWhole ? this.#whole(digest, place, signal) : this.#stream(digest, place, range, signal);
  }

  async getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    throwIfAborted(signal);
    const here = await this.#here(digest, () => this.#parts.local.blobs.getBytes(digest, signal));
    if (here !== undefined) return here;
    const place = this.#placeOf(digest);
    if (place.container.digest === undefined) return this.#fetch(digest, place, signal);
    return collect(this.#whole(digest, place, signal), digest.sizeBytes);
  }

  async putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { local } = this.#parts;
    throwIfAborted(signal);
    if (await this.#isPresent(digest, signal)) return;
    await this.#store(digest, signal, {
      here: () => local.blobs.putBytes(digest, bytes, signal),
      bytes: async () => bytes,
    });
  }

  async put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    const { local } = this.#parts;
    // The local tier makes sure that nothing comes for an empty blob.
    if (isEmptyBlob(digest)) return local.blobs.put(digest, bytes, signal);
    if (signal.aborted || (await this.#isPresent(digest, signal))) {
      discard(bytes);
      throwIfAborted(signal);
      return;
    }
    await this.#store(digest, signal, {
      here: () => local.blobs.put(digest, bytes, signal),
      bytes: () => local.blobs.getBytes(digest, signal),
    });
  }

  /** Stores a blob in the local tier and then, or later, in the bucket. */
  async #store(
    digest: Digest,
    signal: AbortSignal,
    { here, bytes }: { readonly here: () => Promise<void>; readonly bytes: () => Promise<Uint8Array> },
  ): Promise<void> {
    const { backlog, pending, clock, health } = this.#parts;
    const { sizeBytes } = digest;
    this.#parts.writer.throwIfFull();
    // Counted when they have come: whoever sends slowly must not keep the others from sending.
    backlog.throwIfFull(sizeBytes);
    await here();
    backlog.add(sizeBytes);
    if (this.#options.durability === 'local') {
      pending.addBlob(digest);
      return;
    }
    const stored = this.#upload(digest, bytes, signal);
    // The room is taken until the bucket has it, also if nobody waits any more.
    const give = (): void => backlog.give(sizeBytes);
    stored.then(give, give);
    await waitAtMost(stored, this.#options.uploadWaitMs, { clock, health, signal });
  }

  async #upload(digest: Digest, bytes: () => Promise<Uint8Array>, signal: AbortSignal): Promise<void> {
    const { writer } = this.#parts;
    if (digest.sizeBytes > this.#options.maxPackedBlobBytes) return writer.writeLarge(digest, signal);
    return writer.writeBlob(digest, await bytes(), PATIENCE_MS);
  }

  /** Whether a put has nothing to do. */
  async #isPresent(digest: Digest, signal: AbortSignal): Promise<boolean> {
    if (this.#options.durability === 's3') return this.#isStored(digest);
    if (this.#touch(digest)) return true;
    const { local, index, pending } = this.#parts;
    if (!local.has(digest) || !(index.keeps(digest) || pending.isOnItsWay(digest))) return false;
    // What the bucket may have lost is promised by the local tier.
    return (await local.blobs.findMissing([digest], signal)).length === 0;
  }

  /** What the local tier has and the bucket has forgotten is used again. */
  #storeIfForgotten(digest: Digest): void {
    const { local, index, pending, backlog } = this.#parts;
    if (index.keeps(digest) || pending.isOnItsWay(digest) || !local.has(digest)) return;
    backlog.add(digest.sizeBytes);
    pending.addBlob(digest);
  }

  /** Whether the bucket has it; then that is promised. Where news is overdue, a copy here answers for it. */
  #isStored(digest: Digest, look = this.#parts.promises.look()): boolean {
    if (this.#touch(digest, look)) return true;
    const { index, local } = this.#parts;
    return look.isHeard && index.keeps(digest) && local.has(digest);
  }

  /** Whether the bucket may be relied on to have it. If it has it at all, this is a use: what others condemn meanwhile is copied. */
  #touch(digest: Digest, look = this.#parts.promises.look()): boolean {
    if (isEmptyBlob(digest)) return true;
    const { index, promises } = this.#parts;
    const row = index.blobRow(digest);
    if (row < 0) return false;
    const { blobTable } = index;
    if (look.now - blobTable.touched(row) >= promises.slackSeconds) blobTable.setTouched(row, look.now);
    return look.mayPromise(index.containerOf(row));
  }

  /** What the local tier gives, or undefined if it has no copy. A read of it is a use of the one in the bucket. */
  async #here<T>(digest: Digest, read: () => Promise<T>): Promise<T | undefined> {
    this.#touch(digest);
    if (!isEmptyBlob(digest) && !this.#parts.local.has(digest)) return undefined;
    try {
      return await read();
    } catch (error) {
      if (!isKind(error, 'blob-not-found')) throw error;
      return undefined;
    }
  }

  #placeOf(digest: Digest): BucketPlace {
    const place = this.#parts.index.findBlob(digest);
    if (place === undefined) throw blobNotFound(digest);
    this.#parts.health.throwIfDown();
    return place;
  }

  /** A small blob; the local tier keeps a copy if it has room. */
  async #fetch(digest: Digest, place: BucketPlace, signal: AbortSignal): Promise<Uint8Array> {
    const bytes = await fetchBlob(this.#parts, digest, place, signal);
    await ifThereIsRoom(() => this.#parts.local.blobs.putBytes(digest, bytes, signal));
    return bytes;
  }

  /** Fetches a large blob into the local tier, once for all who want it. @returns whether it is there now. */
  async #fetchLarge(digest: Digest, place: BucketPlace, signal: AbortSignal): Promise<boolean> {
    const { local } = this.#parts;
    await this.#fetches
      .run(
        digest.hash,
        (shared) => ifThereIsRoom(() => local.blobs.put(digest, this.#stream(digest, place, WHOLE, shared), shared)),
        signal,
      )
      .catch((error: unknown) => {
        throw isKind(error, 'digest-mismatch') ? this.#lost(digest, place, error) : error;
      });
    return local.has(digest);
  }

  /** All of a large blob, verified: whoever reads to the end has exactly the blob. */
  async *#whole(digest: Digest, place: BucketPlace, signal: AbortSignal): ByteStream {
    try {
      yield* verified(digest, this.#stream(digest, place, WHOLE, signal));
    } catch (error) {
      throw isKind(error, 'digest-mismatch') ? this.#lost(digest, place, error) : error;
    }
  }

  /** The object of a large blob as a stream. */
  async *#stream(digest: Digest, place: BucketPlace, { offset, limit }: ByteRange, signal: AbortSignal): ByteStream {
    const { container } = place;
    const { objects, partBudget } = this.#parts;
    const lengthBytes = Math.max(0, Math.min(limit ?? digest.sizeBytes, digest.sizeBytes - offset));
    if (lengthBytes === 0) return;
    try {
      yield* partStream(objects, { objectKey: container.key, offset, lengthBytes }, { budget: partBudget }, signal);
    } catch (error) {
      throw isKind(error, 'not-found') || isKind(error, 'data-loss') ? this.#lost(digest, place, error) : error;
    }
  }

  /** The object of a large blob is gone or holds something else: from now on the index knows. */
  #lost(digest: Digest, { container }: BucketPlace, error: unknown): ReapiError {
    const { index, log } = this.#parts;
    log.error({ err: error, key: container.key, hash: digest.hash }, 'a large blob in the bucket is damaged or gone');
    index.dropBlob(digest, container);
    return blobNotFound(digest);
  }
}

/** Keeping a copy is a convenience: a local tier that is full, or whose disk fails, must not keep anybody from reading. */
async function ifThereIsRoom(keep: () => Promise<void>): Promise<void> {
  try {
    await keep();
  } catch (error) {
    const isRoom = error instanceof ReapiError && ['quota-exceeded', 'too-large', 'unavailable'].includes(error.kind);
    if (!isRoom) throw error;
  }
}
