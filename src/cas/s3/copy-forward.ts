import type { Digest } from '../../digest/digest.ts';
import { isKind, ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { digestOfKey, RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex, IndexedRow } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { ContainerNumbers } from './container-numbers.ts';
import { decodeEntryBody } from './entry-body.ts';
import { fetchBlob, readPlace } from './fetch-blob.ts';
import type { LocalTier } from './local-tier.ts';
import { containerKey } from './object-names.ts';
import type { ObjectStore } from './object-store.ts';
import { ENTRY_RECORD_KIND, REMOVAL_RECORD_KIND } from './pack-format.ts';
import type { PackWriter } from './pack-writer.ts';
import type { RangeReader } from './range-reader.ts';
import { untilStored } from './until-stored.ts';

/** What is in memory at the same time while it is copied. */
const BATCH_BYTES = 16 * 1024 * 1024;

/** Rows of one batch; their bodies are read side by side. */
const BATCH_ROWS = 4096;

/** How long a copy may wait for company: until the batch is complete it has some. */
const PATIENCE_MS = 1000;

/** What copying forward stands on. */
export interface CopyForwardParts {
  readonly local: LocalTier;
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
  #bytes = 0;

  constructor(parts: CopyForwardParts) {
    this.#parts = parts;
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
    let batch: IndexedRow[] = [];
    let bytes = 0;
    for (const row of rows) {
      if (row.place.container.digest !== undefined) {
        await this.#copyLarge(row, signal);
        continue;
      }
      batch.push(row);
      bytes += row.place.lengthBytes;
      if (bytes < BATCH_BYTES && batch.length < BATCH_ROWS) continue;
      await this.#copyBatch(batch, signal);
      batch = [];
      bytes = 0;
    }
    await this.#copyBatch(batch, signal);
  }

  async #copyBatch(rows: readonly IndexedRow[], signal: AbortSignal): Promise<void> {
    const outcomes = await Promise.allSettled(rows.map((row) => this.#copySmall(row, signal)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  async #copySmall(row: IndexedRow, signal: AbortSignal): Promise<void> {
    const { index, packs, log } = this.#parts;
    if (!index.isCurrent(row)) return;
    let body: Uint8Array;
    try {
      body = await this.#untilDone(() => this.#bodyOf(row, signal), signal);
    } catch (error) {
      if (!isKind(error, 'blob-not-found') && !isKind(error, 'data-loss') && !isKind(error, 'not-found')) throw error;
      log.error({ err: error, hash: row.hash, key: row.place.container.key }, 'a row could not be copied forward');
      index.drop(row);
      return;
    }
    await packs.add({
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
      if (!isKind(error, 'not-found')) throw error;
      log.error({ err: error, key }, 'a large blob is gone from the bucket and could not be copied forward');
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
    const { local } = this.#parts;
    if (local.has(digest)) {
      try {
        return await local.blobs.getBytes(digest, signal);
      } catch (error) {
        if (!isKind(error, 'blob-not-found')) throw error;
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

  /** Until S3 answers; what it answers is final unless it is `unavailable`. */
  async #untilDone<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { clock, random, log } = this.#parts;
    const failed = (error: unknown): void => {
      log.warn({ err: error }, 'copying forward is tried again');
    };
    const outcome = await untilStored(() => finalOutcome(attempt), { clock, random, failed }, signal);
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }
}

/** Turns failures that trying again does not change into outcomes. */
async function finalOutcome<T>(
  attempt: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly error: unknown }> {
  try {
    return { value: await attempt() };
  } catch (error) {
    if (isKind(error, 'unavailable')) throw error;
    return { error };
  }
}
