import type { Digest } from '../../digest/digest.ts';
import { isKind, ReapiError, throwIfAborted } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import { forEachBounded } from '../../system/for-each-bounded.ts';
import type { Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import type { BlobStore } from '../blob-store.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { digestOfKey, RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex, IndexedRow } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import { ByteWindow } from './byte-window.ts';
import type { ContainerNumbers } from './container-numbers.ts';
import { decodeEntryBody } from './entry-body.ts';
import { fetchBlob, readPlace } from './fetch-blob.ts';
import type { LocalTier } from './local-tier.ts';
import { containerKey } from './object-names.ts';
import type { ObjectStore } from './object-store.ts';
import { ENTRY_RECORD_KIND, REMOVAL_RECORD_KIND } from './pack-record.ts';
import type { PackWriter } from './pack-writer.ts';
import type { RangeReader } from './range-reader.ts';
import { untilDone } from './until-done.ts';

/** Beside one full pack, what is in memory at the same time while it is copied. */
const SLACK_BYTES = 16 * 1024 * 1024;

/** What a row on its way takes in memory beside its body, roughly. */
const ROW_OVERHEAD_BYTES = 2048;

/** Bodies that are read side by side. */
const READS_AT_ONCE = 256;

/** Large blobs that S3 copies at the same time. */
const LARGE_AT_ONCE = 4;

/** How long a copy may wait for company: it has some, unless it is among the last. */
const PATIENCE_MS = 1000;

/** What copying forward stands on. */
export interface CopyForwardParts {
  readonly local: Pick<LocalTier, 'has'> & { readonly blobs: Pick<BlobStore, 'getBytes'> };
  readonly objects: ObjectStore;
  readonly index: BucketIndex;
  readonly reader: RangeReader;
  readonly packs: PackWriter;
  readonly numbers: ContainerNumbers;
  readonly time: BucketTime;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Moves what is still needed out of containers that will be deleted, into packs and objects of this server. */
export class CopyForward {
  readonly #parts: CopyForwardParts;
  readonly #key = new RowKey();
  readonly #window: ByteWindow;
  #bytes = 0;

  /** @param options.packBytes of a full pack. */
  constructor(parts: CopyForwardParts, options: { readonly packBytes: number }) {
    this.#parts = parts;
    this.#window = new ByteWindow(options.packBytes + SLACK_BYTES);
  }

  /** Bytes copied since the start. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Resolves when each row stands elsewhere, or is gone because its bytes are. Tries again until S3 answers.
   * @throws cancelled; unavailable once the tier is closed.
   */
  async copy(rows: readonly IndexedRow[], signal: AbortSignal): Promise<void> {
    const small = rows.filter(({ place }) => place.container.digest === undefined);
    const stored: Promise<void>[] = [];
    try {
      await forEachBounded(small.length, READS_AT_ONCE, async (number) => {
        const row = small[number];
        if (row !== undefined) await this.#copySmall(row, stored, signal);
      });
      const large = rows.filter(({ place }) => place.container.digest !== undefined);
      await forEachBounded(large.length, LARGE_AT_ONCE, async (number) => {
        const row = large[number];
        if (row !== undefined) await this.#copyLarge(row, signal);
      });
    } finally {
      await Promise.allSettled(stored);
    }
    await Promise.all(stored);
  }

  /** Reads a row and hands it to the packs. @param stored gets what is to be waited for. */
  async #copySmall(row: IndexedRow, stored: Promise<void>[], signal: AbortSignal): Promise<void> {
    const { lengthBytes } = row.place;
    const takenBytes = lengthBytes + ROW_OVERHEAD_BYTES;
    await this.#window.take(takenBytes);
    const release = (): void => this.#window.give(takenBytes);
    let packed: Promise<void> | undefined;
    try {
      const body = await this.#read(row, signal);
      if (body !== undefined) packed = this.#pack(row, body);
    } finally {
      // A failure of the pack is looked at by whoever waits for all of them.
      if (packed === undefined) release();
      else packed.then(release, release);
    }
    if (packed !== undefined) stored.push(packed);
  }

  /** The body of a row; undefined if there is nothing to copy. */
  async #read(row: IndexedRow, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { index, log } = this.#parts;
    if (!index.isCurrent(row)) return undefined;
    try {
      return await this.#untilDone(() => this.#bodyOf(row, signal), signal);
    } catch (error) {
      if (!isKind(error, 'blob-not-found') && !isKind(error, 'data-loss') && !isKind(error, 'not-found')) throw error;
      log.error({ err: error, hash: row.hash, key: row.place.container.key }, 'a row could not be copied forward');
      index.drop(row);
      return undefined;
    }
  }

  #pack(row: IndexedRow, body: Uint8Array): Promise<void> {
    return this.#parts.packs.add({
      bytes: body.length,
      patienceMs: PATIENCE_MS,
      build: (builder) => {
        const { kind, hash, entry } = row;
        if (entry === undefined) return builder.addBlob(kind, hash, body);
        const recordKind = entry.isRemoval ? REMOVAL_RECORD_KIND : ENTRY_RECORD_KIND;
        return builder.addEntryBody(recordKind, hash, body, entry.version);
      },
      stored: (container, place) => {
        this.#bytes += body.length;
        if (place !== undefined) this.#moved(row, { container, ...place });
      },
    });
  }

  /** Large blobs are copied by S3 itself. */
  async #copyLarge(row: IndexedRow, signal: AbortSignal): Promise<void> {
    const { index, numbers, objects, time, log } = this.#parts;
    const { digest, key, sizeBytes } = row.place.container;
    if (digest === undefined || !index.isCurrent(row)) return;
    const id = numbers.take();
    try {
      await this.#untilDone(() => objects.copy(key, containerKey({ id, digest }), sizeBytes, signal), signal);
      const container = index.containers.add({ id, digest }, sizeBytes, time.now());
      this.#bytes += sizeBytes;
      this.#moved(row, { container, offset: 0, lengthBytes: sizeBytes });
    } catch (error) {
      if (!isKind(error, 'not-found') && !isKind(error, 'data-loss')) throw error;
      log.error(
        { err: error, key },
        'a large blob is gone from the bucket, or damaged, and could not be copied forward',
      );
      index.drop(row);
    } finally {
      numbers.settle(id);
    }
  }

  /** If it was learned meanwhile that it is elsewhere, the copy is garbage. */
  #moved(row: IndexedRow, place: IndexedRow['place']): void {
    const { index } = this.#parts;
    if (!index.isCurrent(row)) return;
    const touched = index.touchedOf(row);
    const key = this.#key.setHex(row.kind, row.hash);
    if (row.entry === undefined) index.putBlob(key, place, touched);
    else index.putEntry(key, place, row.entry, touched);
  }

  #bodyOf(row: IndexedRow, signal: AbortSignal): Promise<Uint8Array> {
    return row.kind === ENTRY_KIND ? this.#entryBody(row, signal) : this.#blobBytes(row, signal);
  }

  async #blobBytes({ kind, hash, place }: IndexedRow, signal: AbortSignal): Promise<Uint8Array> {
    const digest: Digest = digestOfKey(this.#key.setHex(kind, hash), place.lengthBytes);
    const { local, log } = this.#parts;
    if (local.has(digest)) {
      try {
        return await local.blobs.getBytes(digest, signal);
      } catch (error) {
        // Whatever is wrong with this machine: the bucket has it.
        throwIfAborted(signal);
        log.debug({ err: error, hash }, 'the local tier does not give a blob that is copied forward');
      }
    }
    return fetchBlob(this.#parts, digest, place, signal);
  }

  async #entryBody({ hash, place }: IndexedRow, signal: AbortSignal): Promise<Uint8Array> {
    const body = await readPlace(this.#parts, place, signal);
    const decoded = decodeEntryBody(body);
    if ('damage' in decoded) throw new ReapiError('data-loss', `the entry ${hash} is damaged: ${decoded.damage}`);
    return body;
  }

  /** Until S3 answers, and has room. */
  #untilDone<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { clock, random, log } = this.#parts;
    const failed = (error: unknown): void => {
      log.warn({ err: error }, 'copying forward is tried again');
    };
    const isFinal = (error: unknown): boolean => !isKind(error, 'unavailable') && !isKind(error, 'quota-exceeded');
    return untilDone(attempt, { clock, random, failed, isFinal }, signal);
  }
}
