import { hash as hashOf } from 'node:crypto';
import { type Digest, digestKey } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { isKind, ReapiError } from '../../errors.ts';
import { unlessAborted } from '../../system/abortable.ts';
import { WHOLE } from '../../system/byte-stream.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import type { Semaphore } from '../../system/semaphore.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { ContainerNumbers } from './container-numbers.ts';
import type { EntryVersion } from './entry-version.ts';
import type { LocalTier } from './local-tier.ts';
import { containerKey } from './object-names.ts';
import type { ObjectStore } from './object-store.ts';
import type { PackWriter } from './pack-writer.ts';
import { SharedWork } from './shared-work.ts';
import { untilDone } from './until-done.ts';

/** Blobs and entries that wait for a pack: each takes some 2 KiB beside its bytes. */
const MAX_WAITING = 100_000;

/** When to try again then. */
const RETRY_MS = 5000;

/** Bytes of an entry's body beside key and value, roughly. */
const ENTRY_OVERHEAD_BYTES = 16;

/** A value of an entry on its way into the bucket. */
export interface VersionedEntry {
  readonly key: string;
  /** Empty for a removal. */
  readonly value: Uint8Array;
  /** Wall-clock milliseconds of the put. */
  readonly writtenMs: number;
  readonly version: EntryVersion;
  readonly isRemoval: boolean;
}

/** What writing stands on. */
export interface BucketWriterParts {
  readonly local: LocalTier;
  readonly objects: ObjectStore;
  readonly index: BucketIndex;
  readonly packs: PackWriter;
  readonly numbers: ContainerNumbers;
  readonly time: BucketTime;
  /** Large blobs that are uploaded at the same time. */
  readonly largeSlots: Semaphore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** As for packs. */
  readonly connected: Promise<void>;
  /** Aborts when the tier closes; its reason is `unavailable`. */
  readonly closing: AbortSignal;
}

/** Puts blobs and entries into the bucket and, once they are there, into the index. */
export class BucketWriter {
  readonly #parts: BucketWriterParts;
  readonly #key = new RowKey();
  /** Blobs that are becoming part of a pack; bounded by the backlog. */
  readonly #packing = new Map<string, Promise<void>>();
  readonly #large = new SharedWork<void>();
  /** Values that are becoming part of a pack. */
  #entries = 0;

  constructor(parts: BucketWriterParts) {
    this.#parts = parts;
  }

  /** To be called before something is accepted that nobody else bounds. @throws unavailable when too much waits, however short it is. */
  throwIfFull(): void {
    if (this.#packing.size + this.#entries < MAX_WAITING) return;
    const message = 'S3 does not keep up or is out of reach: too many blobs and action results wait to be stored there';
    throw new ReapiError('unavailable', message, { retryAfterMs: RETRY_MS });
  }

  /**
   * Resolves when the blob is in a pack in the bucket; those who store the same one share its place in it.
   * @param bytes verified. @throws unavailable once the tier closes.
   */
  writeBlob(digest: Digest, bytes: Uint8Array, patienceMs: number): Promise<void> {
    const name = digestKey(digest);
    const underWay = this.#packing.get(name);
    if (underWay !== undefined) return underWay;
    const packing = this.#pack(digest, bytes, patienceMs).finally(() => this.#packing.delete(name));
    this.#packing.set(name, packing);
    return packing;
  }

  async #pack(digest: Digest, bytes: Uint8Array, patienceMs: number): Promise<void> {
    const { packs, index, time } = this.#parts;
    const kind = digestFunctionToWire(digest.function);
    await packs.add({
      bytes: bytes.length,
      patienceMs,
      build: (builder) => builder.addBlob(kind, digest.hash, bytes),
      stored: (container, place) => {
        if (place !== undefined)
          index.putBlob(this.#key.setHex(kind, digest.hash), { container, ...place }, time.now());
      },
    });
  }

  /** Resolves when the value is in a pack in the bucket. @throws unavailable once the tier closes. */
  async writeEntry(entry: VersionedEntry, patienceMs: number): Promise<void> {
    const { packs, index, time } = this.#parts;
    const { key, value, writtenMs, version, isRemoval } = entry;
    this.#entries++;
    try {
      await packs.add({
        bytes: Buffer.byteLength(key) + value.length + ENTRY_OVERHEAD_BYTES,
        patienceMs,
        build: (builder) => builder.addEntry({ key, value, writtenMs, isRemoval, ...version }),
        stored: (container, place) => {
          if (place === undefined) return;
          const rowKey = this.#key.setHex(ENTRY_KIND, hashOf('sha256', key));
          index.putEntry(rowKey, { container, ...place }, { version, isRemoval }, time.now());
        },
      });
    } finally {
      this.#entries--;
    }
  }

  /**
   * Resolves when a blob of the local tier is an object in the bucket. Tries until S3 takes it; many callers share one upload, which
   * ends when none of them is left.
   * @throws blob-not-found if the local tier has lost it; cancelled; unavailable once the tier closes.
   */
  async writeLarge(digest: Digest, signal: AbortSignal): Promise<void> {
    const { closing, largeSlots } = this.#parts;
    try {
      await this.#large.run(
        digest.hash,
        (shared) => {
          const either = AbortSignal.any([shared, closing]);
          return largeSlots.run(either, () => this.#upload(digest, either));
        },
        signal,
      );
    } catch (error) {
      // It was not the caller who cancelled.
      throw closing.aborted && !signal.aborted ? closing.reason : error;
    }
  }

  async #upload(digest: Digest, signal: AbortSignal): Promise<void> {
    const { numbers, index, time, clock, random, log, connected } = this.#parts;
    await unlessAborted(connected, signal);
    if (index.keeps(digest)) return;
    const id = numbers.take();
    const key = containerKey({ id, digest });
    const failed = (error: unknown): void => {
      log.warn({ err: error, key }, 'a large blob could not be stored in the bucket; it is tried again');
    };
    try {
      await untilDone(() => this.#attempt(key, digest, signal), { clock, random, failed, isFinal: isLost }, signal);
      const container = index.containers.add({ id, digest }, digest.sizeBytes, time.now());
      const rowKey = this.#key.setHex(digestFunctionToWire(digest.function), digest.hash);
      index.putBlob(rowKey, { container, offset: 0, lengthBytes: digest.sizeBytes }, time.now());
    } finally {
      numbers.settle(id);
    }
  }

  async #attempt(key: string, digest: Digest, signal: AbortSignal): Promise<void> {
    const { local, objects } = this.#parts;
    const bytes = await local.blobs.open(digest, WHOLE, signal);
    await objects.putStream(key, bytes, digest.sizeBytes, signal);
  }
}

/** The local tier does not have the blob any more. */
function isLost(error: unknown): boolean {
  return isKind(error, 'blob-not-found') || isKind(error, 'data-loss');
}
