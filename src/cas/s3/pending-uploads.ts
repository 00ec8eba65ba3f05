import { hash as hashOf } from 'node:crypto';
import type { Digest } from '../../digest/digest.ts';
import { isKind, ReapiError } from '../../errors.ts';
import type { Log } from '../../system/log.ts';
import { Semaphore } from '../../system/semaphore.ts';
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

/** What a blob on its way takes in memory beside its bytes, roughly. */
const BLOB_OVERHEAD_BYTES = 2048;

/** Values of the local tier that are in memory on their way into the bucket; reading the others waits for them. */
const MAX_FOUND_ENTRIES = 4096;

/** When to try again if the tier is closed. */
const RETRY_MS = 1000;

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
  /** Nothing was pending when the last process ended. */
  readonly wasIdle: boolean;
  /** What was there before the bucket has been stored in it: whatever is found has been acknowledged. */
  readonly isTakenOver: boolean;
}

/** A blob on its way. */
interface QueuedBlob {
  readonly digest: Digest;
  /** Bytes of the backlog to give back. */
  readonly takenBytes: number;
  /** The local tier must not evict it: it has been acknowledged. */
  readonly isHeld: boolean;
  /** It was found before the take-over was complete. */
  readonly isTakenOver: boolean;
}

/** A blob's name among those that are pending: what a `RowKey` holds of its hash. */
const HASH_CHARACTERS = 64;

/**
 * What the local tier has and the bucket has not. It is not written down anywhere: the local tier is compared with the index of the bucket at the start,
 * and whenever more was pending than is kept in memory. With durability `local` such blobs and entries have been
 * acknowledged, so the local tier may not evict them: it asks `mayEvict`.
 */
export class PendingUploads {
  readonly #parts: PendingUploadsParts;
  readonly #options: PendingUploadsOptions;
  /** What was put, which goes first, and what was found in the local tier. */
  readonly #put = new Queue<QueuedBlob>();
  readonly #found = new Queue<QueuedBlob>();
  /** Blobs that are queued or on their way, by hash, and whether they are held fast. */
  readonly #blobs = new Map<string, boolean>();
  /** Values on their way, by the hash of the key that the local tier knows them by. */
  readonly #entries = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  readonly #foundEntries = new Semaphore(MAX_FOUND_ENTRIES);
  #readBytes = 0;
  /** There is more than the queues took, and of the backlog so many bytes were taken for it. */
  #isIncomplete = false;
  #unqueuedBytes = 0;
  #isMoreHeld = false;
  #areBlobsKnown = false;
  #areEntriesKnown = false;

  #isTakenOver: boolean;
  /** Blobs and values that were found before the take-over was complete, and whether there are more than the queue took. */
  #takingOver = 0;
  #isLookedFor = false;
  /** Something was given up, or came, when the tier was closing: the next start has to look for it. */
  #isAbandoned = false;

  constructor(parts: PendingUploadsParts, options: PendingUploadsOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#areBlobsKnown = options.wasIdle;
    this.#areEntriesKnown = options.wasIdle;
    this.#isTakenOver = options.isTakenOver;
  }

  /** Whether the bucket has all that the local tier has, but for what is being forgotten. */
  get isIdle(): boolean {
    const isKnown = this.#areBlobsKnown && this.#areEntriesKnown && !this.#isIncomplete;
    return isKnown && this.count === 0 && !this.#isAbandoned;
  }

  /** Whether all that was found, and is not known to have been acknowledged, is in the bucket. */
  get hasTakenOver(): boolean {
    return this.#areBlobsKnown && this.#areEntriesKnown && !this.#isLookedFor && this.#takingOver === 0;
  }

  /** What was there before the bucket is in the bucket: whatever is found from now on has been acknowledged. */
  tookOver(): void {
    this.#isTakenOver = true;
  }

  /** Blobs and entries that are known to wait, without those that only a look through the local tier would find. */
  get count(): number {
    return this.#put.size + this.#found.size + this.#running.size;
  }

  /** Whether the local tier may forget it. Runs on its hot path. */
  mayEvict(key: RowKey): boolean {
    if (this.#options.durability === 's3') return true;
    if (key.kind === ENTRY_KIND) return this.#areEntriesKnown && !this.#entries.has(key.hex());
    if (this.#parts.index.keepsBlob(key)) return true;
    // What the bucket has forgotten may be forgotten here as well.
    const isKnown = this.#areBlobsKnown && !this.#isMoreHeld && this.#unqueuedBytes === 0;
    return isKnown && this.#blobs.get(key.hex()) !== true;
  }

  /** Whether a blob that the local tier has is on its way into the bucket, as far as is known. */
  isOnItsWay({ hash }: Digest): boolean {
    return !this.#areBlobsKnown || this.#isIncomplete || this.#blobs.has(nameOf(hash));
  }

  /** Whether a value that the local tier has is on its way into the bucket, as far as is known. */
  isEntryOnItsWay(key: string): boolean {
    return !this.#areEntriesKnown || this.#entries.has(hashOf('sha256', localEntryKey(key)));
  }

  /** A blob was put into the local tier, and room for it was taken of the backlog: that is given back when the bucket has it. */
  addBlob(digest: Digest): void {
    const takenBytes = digest.sizeBytes;
    this.#throwIfClosing(takenBytes);
    if (this.#blobs.get(nameOf(digest.hash)) === true) this.#parts.backlog.give(takenBytes);
    else if (this.#put.size >= MAX_QUEUED) this.#leaveOut(takenBytes);
    else this.#enqueue(this.#put, { digest, takenBytes, isHeld: true, isTakenOver: false });
    this.#pump();
  }

  /** Likewise of a value. @param takenBytes of the backlog. */
  addEntry(entry: VersionedEntry, takenBytes: number): void {
    this.#throwIfClosing(takenBytes);
    this.#run(() => this.#storeEntry(entry, takenBytes));
  }

  /**
   * Finds what is pending after a start. @param adopt gives an entry of the time before the bucket was configured a version, if it is wanted.
   * @throws cancelled; unavailable.
   */
  async findAll(
    adopt: (key: string, value: Uint8Array, writtenMs: number) => Promise<VersionedEntry | undefined>,
    signal: AbortSignal,
  ): Promise<void> {
    const { log, local } = this.#parts;
    const bytes = this.#queueLacking();
    this.#areBlobsKnown = true;
    if (bytes > 0) log.info({ bytes }, 'the local tier has blobs that the bucket has not; they are being stored there');
    this.#pump();
    await local.eachEntry(async (key, { value, writtenMs }) => {
      const own = keyOfLocalEntry(key);
      const entry = own === undefined ? await adopt(key, value, writtenMs) : this.#lackingEntry(own, value, writtenMs);
      if (entry !== undefined) await this.#addFound(entry, signal);
    }, signal);
    this.#areEntriesKnown = true;
  }

  /** Waits for what runs, after `closing`, and gives up the rest. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
    const { backlog } = this.#parts;
    this.#isAbandoned ||= this.#put.size + this.#found.size > 0 || this.#unqueuedBytes > 0;
    for (const queue of [this.#put, this.#found]) {
      for (let blob = queue.shift(); blob !== undefined; blob = queue.shift()) backlog.give(blob.takenBytes);
    }
    backlog.give(this.#unqueuedBytes);
    this.#unqueuedBytes = 0;
  }

  async #storeEntry(entry: VersionedEntry, takenBytes: number): Promise<void> {
    const hash = hashOf('sha256', localEntryKey(entry.key));
    this.#entries.set(hash, (this.#entries.get(hash) ?? 0) + 1);
    try {
      await this.#parts.writer.writeEntry(entry, PATIENCE_MS);
    } finally {
      this.#parts.backlog.give(takenBytes);
      const left = (this.#entries.get(hash) ?? 1) - 1;
      if (left > 0) this.#entries.set(hash, left);
      else this.#entries.delete(hash);
    }
  }

  async #addFound(entry: VersionedEntry, signal: AbortSignal): Promise<void> {
    const { backlog } = this.#parts;
    await this.#foundEntries.acquire(signal);
    const takenBytes = entry.value.length;
    backlog.add(takenBytes);
    const isTakenOver = !this.#isTakenOver;
    if (isTakenOver) this.#takingOver++;
    this.#run(() =>
      this.#storeEntry(entry, takenBytes).finally(() => {
        this.#foundEntries.release();
        if (isTakenOver) this.#takingOver--;
      }),
    );
  }

  /** A value that the local tier has, if the bucket has none that is as new. */
  #lackingEntry(key: string, stored: Uint8Array, writtenMs: number): VersionedEntry | undefined {
    const { index } = this.#parts;
    const decoded = decodeLocalEntry(stored);
    if (decoded === undefined || this.#entries.has(hashOf('sha256', localEntryKey(key)))) return undefined;
    const { version } = decoded;
    index.sawSequence(version.sequence);
    const known = index.findEntry(hashOf('sha256', key));
    if (known !== undefined && compareVersions(version, known.version) <= 0) return undefined;
    return { key, writtenMs, ...decoded };
  }

  /**
   * Queues what the bucket lacks, as far as there is room in the queue. If it is more than the backlog may hold, most of it is not owed to anybody: data of
   * before the bucket was configured, or what the bucket has forgotten. Then it takes nothing of the backlog, or nothing else could be
   * written. @returns bytes of all of it.
   */
  #queueLacking(): number {
    const { local, index, backlog } = this.#parts;
    backlog.give(this.#unqueuedBytes);
    this.#unqueuedBytes = 0;
    const digests: Digest[] = [];
    let bytes = 0;
    let queuedBytes = 0;
    local.forEachBlob((key, sizeBytes) => {
      if (index.keepsBlob(key) || this.#blobs.has(key.hex())) return;
      bytes += sizeBytes;
      if (digests.length >= MAX_QUEUED - this.#found.size) return;
      digests.push(digestOfKey(key, sizeBytes));
      queuedBytes += sizeBytes;
    });
    const isCounted = bytes <= backlog.maxBytes;
    const isHeld = this.#isTakenOver || isCounted;
    if (isCounted) backlog.add(queuedBytes);
    const isTakenOver = !this.#isTakenOver;
    for (const digest of digests) {
      this.#enqueue(this.#found, { digest, takenBytes: isCounted ? digest.sizeBytes : 0, isHeld, isTakenOver });
      if (isTakenOver) this.#takingOver++;
    }
    this.#isIncomplete = bytes > queuedBytes;
    this.#isLookedFor = this.#isIncomplete;
    this.#isMoreHeld = isHeld && this.#isIncomplete;
    if (isCounted) this.#unqueuedBytes = bytes - queuedBytes;
    backlog.add(this.#unqueuedBytes);
    return bytes;
  }

  #enqueue(queue: Queue<QueuedBlob>, blob: QueuedBlob): void {
    this.#blobs.set(nameOf(blob.digest.hash), blob.isHeld);
    queue.push(blob);
  }

  #leaveOut(takenBytes: number): void {
    this.#isIncomplete = true;
    this.#unqueuedBytes += takenBytes;
  }

  #pump(): void {
    const { closing } = this.#parts;
    while (!closing.aborted && this.#readBytes < MAX_READ_BYTES) {
      const blob = this.#put.shift() ?? this.#found.shift() ?? this.#findMore();
      if (blob === undefined) return;
      const readBytes = Math.min(blob.digest.sizeBytes, this.#options.maxPackedBlobBytes) + BLOB_OVERHEAD_BYTES;
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
    if (this.#readBytes > 0 || !this.#isIncomplete) return undefined;
    this.#queueLacking();
    return this.#found.shift();
  }

  /** What fails stays held fast until the next start finds it again. */
  async #upload({ digest, takenBytes, isTakenOver }: QueuedBlob): Promise<void> {
    const { local, writer, backlog, index, closing, log } = this.#parts;
    try {
      if (!index.keeps(digest)) {
        if (digest.sizeBytes > this.#options.maxPackedBlobBytes) await writer.writeLarge(digest, closing);
        else await writer.writeBlob(digest, await local.blobs.getBytes(digest, closing), PATIENCE_MS);
      }
    } catch (error) {
      if (!isKind(error, 'blob-not-found') && !isKind(error, 'data-loss')) throw error;
      log.error({ err: error, hash: digest.hash }, 'a blob was lost in the local tier before the bucket had it');
    } finally {
      backlog.give(takenBytes);
    }
    if (isTakenOver) this.#takingOver--;
    this.#blobs.delete(nameOf(digest.hash));
  }

  /** What is not acknowledged need not be found again. @throws unavailable. */
  #throwIfClosing(takenBytes: number): void {
    if (!this.#parts.closing.aborted) return;
    this.#parts.backlog.give(takenBytes);
    throw new ReapiError('unavailable', 'the S3 tier is closed', { retryAfterMs: RETRY_MS });
  }

  /** Failures are those of packs that are closed; everything else is tried again or logged before. */
  #run(work: () => Promise<void>): void {
    const run = work()
      .catch((error: unknown) => {
        this.#isAbandoned = true;
        if (this.#parts.closing.aborted || isKind(error, 'unavailable')) return;
        this.#parts.log.error({ err: error }, 'storing in the bucket failed');
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }
}

/** As `RowKey.hex` gives it. */
function nameOf(hash: string): string {
  return hash.length === HASH_CHARACTERS ? hash : hash.slice(0, HASH_CHARACTERS).padEnd(HASH_CHARACTERS, '0');
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
