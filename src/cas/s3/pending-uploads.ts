import { hash as hashOf } from 'node:crypto';
import type { Digest } from '../../digest/digest.ts';
import { isKind } from '../../errors.ts';
import type { Log } from '../../system/log.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { digestOfKey, type RowKey } from '../segment/record-index/row-key.ts';
import type { Backlog } from './backlog.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { BucketWriter, VersionedEntry } from './bucket-writer.ts';
import { compareVersions } from './entry-version.ts';
import { decodeLocalEntry, keyOfLocalEntry, localEntryKey } from './local-entry.ts';
import type { LocalTier } from './local-tier.ts';

/** Digests that wait in memory. What is beyond is found again by looking through the local tier. */
const MAX_QUEUED = 100_000;

/** Bytes that are read from the local tier and not in the bucket yet. */
const MAX_READ_BYTES = 64 * 1024 * 1024;

/** Nobody waits for these uploads: records gather for so long. */
const PATIENCE_MS = 1000;

/** What pending uploads stand on. */
export interface PendingUploadsParts {
  readonly local: LocalTier;
  readonly index: BucketIndex;
  readonly writer: BucketWriter;
  readonly backlog: Backlog;
  readonly log: Log;
  /** Aborts when the tier closes. What is pending then is found by the next start. */
  readonly closing: AbortSignal;
}

/** How they are treated. */
export interface PendingUploadsOptions {
  readonly durability: 's3' | 'local';
  readonly maxPackedBlobBytes: number;
}

/** A blob on its way. */
interface QueuedBlob {
  readonly digest: Digest;
  /** Bytes of the backlog to give back. */
  readonly takenBytes: number;
}

/**
 * What the local tier has and the bucket has not. It is not written down anywhere: the local tier is compared with the index of the bucket at the start,
 * and whenever more was pending than is kept in memory. With durability `local` such blobs and entries have been
 * acknowledged, so the local tier may not evict them: it asks `mayEvict`.
 */
export class PendingUploads {
  readonly #parts: PendingUploadsParts;
  readonly #options: PendingUploadsOptions;
  readonly #blobs = new Queue<QueuedBlob>();
  /** Values on their way, by the hash of the key that the local tier knows them by. */
  readonly #entries = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  #readBytes = 0;
  #isIncomplete = false;
  #areEntriesKnown = false;
  /** More was found at the start than the backlog may hold: data of before the bucket was configured. It is not held fast. */
  #isTakenOver = false;

  constructor(parts: PendingUploadsParts, options: PendingUploadsOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Blobs and entries that are known to wait, without those that only a look through the local tier would find. */
  get count(): number {
    return this.#blobs.size + this.#entries.size + this.#running.size;
  }

  /** Whether the local tier may forget it. Runs on its hot path. */
  mayEvict(key: RowKey): boolean {
    if (this.#options.durability === 's3' || this.#isTakenOver) return true;
    if (key.kind !== ENTRY_KIND) return this.#parts.index.keepsBlob(key);
    return this.#areEntriesKnown && !this.#entries.has(key.hex());
  }

  /** A blob was put into the local tier, and room for it was taken of the backlog: that is given back when the bucket has it. */
  addBlob(digest: Digest): void {
    this.#enqueue({ digest, takenBytes: digest.sizeBytes });
    this.#pump();
  }

  /** Whether another entry may be pending. */
  get hasRoomForEntry(): boolean {
    return this.#entries.size < MAX_QUEUED;
  }

  /** Likewise of a value. @param takenBytes of the backlog. */
  addEntry(entry: VersionedEntry, takenBytes: number): void {
    const hash = hashOf('sha256', localEntryKey(entry.key));
    this.#entries.set(hash, (this.#entries.get(hash) ?? 0) + 1);
    this.#run(async () => {
      try {
        await this.#parts.writer.writeEntry(entry, PATIENCE_MS);
        this.#parts.backlog.give(takenBytes);
      } finally {
        const left = (this.#entries.get(hash) ?? 1) - 1;
        if (left > 0) this.#entries.set(hash, left);
        else this.#entries.delete(hash);
      }
    });
  }

  /**
   * Finds what is pending after a start. @param adopt takes up an entry of the time before the bucket was configured.
   * @throws cancelled; unavailable.
   */
  async findAll(adopt: (key: string, value: Uint8Array, writtenMs: number) => Promise<void>): Promise<void> {
    const { backlog, log, closing, local } = this.#parts;
    const bytes = this.#queueLacking();
    this.#isTakenOver = bytes > backlog.maxBytes;
    if (!this.#isTakenOver) backlog.add(bytes);
    if (bytes > 0) log.info({ bytes }, 'the local tier has blobs that the bucket has not; they are being stored there');
    this.#pump();
    await local.eachEntry(async (key, { value, writtenMs }) => {
      const own = keyOfLocalEntry(key);
      if (own === undefined) await adopt(key, value, writtenMs);
      else this.#addIfLacking(own, value, writtenMs);
    }, closing);
    this.#areEntriesKnown = true;
  }

  /** Waits for what runs, after `closing`. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  #addIfLacking(key: string, stored: Uint8Array, writtenMs: number): void {
    const decoded = decodeLocalEntry(stored);
    if (decoded === undefined) return;
    const { version } = decoded;
    this.#parts.index.sawSequence(version.sequence);
    const known = this.#parts.index.findEntry(hashOf('sha256', key));
    if (known !== undefined && compareVersions(version, known.version) <= 0) return;
    const takenBytes = decoded.value.length;
    this.#parts.backlog.add(takenBytes);
    this.addEntry({ key, writtenMs, ...decoded }, takenBytes);
  }

  /** Queues what the bucket lacks, as far as there is room in the queue. @returns bytes of all of it. */
  #queueLacking(): number {
    const { local, index } = this.#parts;
    let bytes = 0;
    this.#isIncomplete = false;
    local.forEachBlob((key, sizeBytes) => {
      if (index.keepsBlob(key)) return;
      bytes += sizeBytes;
      if (this.#blobs.size >= MAX_QUEUED) this.#isIncomplete = true;
      else this.#blobs.push({ digest: digestOfKey(key, sizeBytes), takenBytes: sizeBytes });
    });
    return bytes;
  }

  #enqueue(blob: QueuedBlob): void {
    if (this.#blobs.size < MAX_QUEUED) this.#blobs.push(blob);
    else this.#isIncomplete = true;
  }

  #pump(): void {
    const { closing } = this.#parts;
    while (!closing.aborted && this.#readBytes < MAX_READ_BYTES) {
      const blob = this.#blobs.shift() ?? this.#findMore();
      if (blob === undefined) return;
      const readBytes = Math.min(blob.digest.sizeBytes, this.#options.maxPackedBlobBytes);
      this.#readBytes += readBytes;
      this.#run(async () => {
        try {
          await this.#upload(blob);
        } finally {
          this.#readBytes -= readBytes;
          this.#pump();
        }
      });
    }
  }

  /** What did not fit into the queue, once that is empty and nothing of it is on its way any more. */
  #findMore(): QueuedBlob | undefined {
    if (this.#readBytes > 0) return undefined;
    if (this.#isIncomplete) this.#queueLacking();
    const next = this.#blobs.shift();
    if (next === undefined) this.#isTakenOver = false;
    return next;
  }

  async #upload({ digest, takenBytes }: QueuedBlob): Promise<void> {
    const { local, writer, backlog, index, closing, log } = this.#parts;
    try {
      if (!index.keeps(digest)) {
        if (digest.sizeBytes > this.#options.maxPackedBlobBytes) await writer.writeLarge(digest, closing);
        else await writer.writeBlob(digest, await local.blobs.getBytes(digest, closing), PATIENCE_MS);
      }
    } catch (error) {
      if (!isKind(error, 'blob-not-found') && !isKind(error, 'data-loss')) throw error;
      log.error({ err: error, hash: digest.hash }, 'a blob was lost in the local tier before the bucket had it');
    }
    if (!this.#isTakenOver) backlog.give(takenBytes);
  }

  /** Failures are those of closing; everything else is tried again or logged before. */
  #run(work: () => Promise<void>): void {
    const run = work()
      .catch((error: unknown) => {
        if (!this.#parts.closing.aborted) this.#parts.log.error({ err: error }, 'storing in the bucket failed');
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }
}

/** First in, first out, without moving the rest at every `shift`. */
class Queue<T> {
  #items: T[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head++;
    if (this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
