import { type Digest, isEmptyBlob } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { digestOf } from '../../digest/hasher.ts';
import { ReapiError, throwIfAborted } from '../../errors.ts';
import { abortable, discard } from '../../system/abortable.ts';
import { type ByteRange, type ByteStream, collect, streamOf } from '../../system/byte-stream.ts';
import { absentAmong, blobNotFound, sliceOf } from '../blob-lookup.ts';
import type { BlobStore } from '../blob-store.ts';
import type { FileBlobStore } from '../file-blob-store.ts';
import { verified, verifyBytes } from '../verified-stream.ts';
import { RECORD_HEADER_BYTES } from './log/format.ts';
import type { RecordPlace } from './log/segment-log.ts';
import { MAX_WARMED } from './record-index/digest-table.ts';
import { hexWord, RowKey } from './record-index/row-key.ts';
import type { StoreCore } from './store-core.ts';
import type { StoreEvents } from './store-report.ts';

/** Uploads that are gathered in memory at the same time; what comes on top becomes files of its own. */
const MAX_GATHERED_BYTES = 64 * 1024 * 1024;

/** For fewer digests than this the caches are not warmed: it would cost more than it saves. */
const MIN_WARMED = 16;

/** Limits of a segment blob store. */
export interface SegmentBlobStoreOptions {
  readonly events: StoreEvents;
  /** Larger blobs have files of their own. */
  readonly maxRecordBlobBytes: number;
  /** Above this many leased bytes nothing is added. */
  readonly maxLeasedBytes: number;
  /** How long a lease lasts after its last renewal, in store seconds. */
  readonly leaseSeconds: number;
}

/**
 * Small and medium blobs as records of the log, large ones in files of their own, all under one limit and one rule: a blob that
 * was stored, asked for or read is leased, and while its lease lasts it is not evicted. When leases hold too much, writes are
 * refused, with the time after which some end.
 *
 * Bytes are verified before they become visible (R-CAS-09) and whenever a record is read (R-BS-19). A damaged record is put aside and
 * is `blob-not-found` from then on, so that clients upload it again.
 */
export class SegmentBlobStore implements BlobStore {
  readonly #core: StoreCore;
  readonly #files: FileBlobStore;
  readonly #options: SegmentBlobStoreOptions;
  readonly #key = new RowKey();
  readonly #prefixes = new Uint32Array(2 * MAX_WARMED);
  #gatheredBytes = 0;
  /** Of blobs that are being stored: they will be leased. */
  #admittedBytes = 0;
  /** Hashes of the large ones; bounded by the uploads there are. */
  readonly #storing = new Set<string>();

  constructor(core: StoreCore, files: FileBlobStore, options: SegmentBlobStoreOptions) {
    this.#core = core;
    this.#files = files;
    this.#options = options;
  }

  findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    try {
      this.#begin(signal);
      const now = this.#core.index.time.now();
      let asked = 0;
      const missing = absentAmong(digests, (digest) => {
        if (asked++ % MAX_WARMED === 0) this.#warm(digests, asked - 1);
        return this.#touch(digest, now);
      });
      this.#core.index.flushRenewals();
      return Promise.resolve(missing);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    this.#begin(signal);
    const bytes = await this.#read(digest);
    if (bytes !== undefined) return streamOf(sliceOf(bytes, range));
    this.#throwUnlessFile(digest);
    return this.#files.open(digest, range, signal);
  }

  async getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    this.#begin(signal);
    const read = this.#read(digest);
    const bytes = read instanceof Promise ? await read : read;
    if (bytes !== undefined) return bytes;
    this.#throwUnlessFile(digest);
    return this.#files.getBytes(digest, signal);
  }

  async putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#begin(signal);
    if (this.#renew(digest)) return;
    verifyBytes(digest, bytes);
    if (digest.sizeBytes > this.#options.maxRecordBlobBytes) {
      return this.#admitted(digest, () => this.#files.putBytes(digest, bytes, signal));
    }
    // `#admitted` once more: small blobs come by the thousand, and a function for each costs as much as its checksum.
    this.#admit(digest);
    this.#admittedBytes += digest.sizeBytes;
    try {
      await this.#append(digest, bytes);
    } finally {
      this.#admittedBytes -= digest.sizeBytes;
    }
  }

  async put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    this.#begin(signal);
    if (this.#renew(digest)) {
      discard(bytes);
      return;
    }
    const store = async (): Promise<void> => {
      const isGathered =
        digest.sizeBytes <= this.#options.maxRecordBlobBytes &&
        this.#gatheredBytes + digest.sizeBytes <= MAX_GATHERED_BYTES;
      if (isGathered) await this.#append(digest, await this.#gather(digest, bytes, signal));
      else await this.#files.put(digest, bytes, signal);
    };
    await this.#admitted(digest, store, bytes);
  }

  /** Stores a blob if leases leave room for it beside what is being stored already. @param unread released if they do not. */
  async #admitted(digest: Digest, store: () => Promise<void>, unread?: ByteStream): Promise<void> {
    try {
      this.#admit(digest);
    } catch (error) {
      if (unread !== undefined) discard(unread);
      throw error;
    }
    // Many may upload one large blob at the same time; one of them will be leased.
    const isLarge = digest.sizeBytes > this.#options.maxRecordBlobBytes;
    if (isLarge && this.#storing.has(digest.hash)) return store();
    if (isLarge) this.#storing.add(digest.hash);
    this.#admittedBytes += digest.sizeBytes;
    try {
      await store();
    } finally {
      this.#storing.delete(digest.hash);
      this.#admittedBytes -= digest.sizeBytes;
    }
  }

  #begin(signal: AbortSignal): void {
    throwIfAborted(signal);
    this.#core.throwIfClosed();
  }

  /** Has the rows of the next digests brought into the processor's caches, all at once instead of one after the other. */
  #warm(digests: readonly Digest[], from: number): void {
    const count = Math.min(MAX_WARMED, digests.length - from);
    if (count < MIN_WARMED) return;
    for (let at = 0; at < count; at++) {
      const hash = digests[from + at]?.hash ?? '';
      this.#prefixes[2 * at] = hexWord(hash, 0);
      this.#prefixes[2 * at + 1] = hexWord(hash, 8);
    }
    this.#core.index.table.warm(this.#prefixes, count);
  }

  /** Whether the blob is there. Promises nothing. */
  has(digest: Digest): boolean {
    if (isEmptyBlob(digest) || this.#rowOf(digest) >= 0) return true;
    return this.#mayBeFile(digest) && this.#files.has(digest);
  }

  /** Whether the blob is there; then it is leased anew. */
  #renew(digest: Digest): boolean {
    if (isEmptyBlob(digest)) return true;
    const { index } = this.#core;
    const isThere = this.#touch(digest, index.time.now());
    index.flushRenewals();
    return isThere;
  }

  #touch(digest: Digest, now: number): boolean {
    const row = this.#rowOf(digest);
    if (row >= 0) {
      this.#core.index.touch(row, now);
      return true;
    }
    return this.#mayBeFile(digest) && this.#touchFile(digest);
  }

  /** The row of the blob, or −1. Right hash and wrong size is another, absent blob (R-DIG-02). */
  #rowOf(digest: Digest): number {
    const { table } = this.#core.index;
    const row = table.find(this.#key.setHex(digestFunctionToWire(digest.function), digest.hash));
    return row >= 0 && table.payloadBytes(row) === digest.hash.length / 2 + digest.sizeBytes ? row : -1;
  }

  /** Small blobs have files only if an earlier version, or many uploads at once, left some. */
  #mayBeFile(digest: Digest): boolean {
    return digest.sizeBytes > this.#options.maxRecordBlobBytes || this.#files.smallFiles > 0;
  }

  #touchFile(digest: Digest): boolean {
    const { index, clock } = this.#core;
    const touchedMs = this.#files.touchedMs(digest);
    if (touchedMs === undefined) return false;
    if (clock.monotonicMs() - touchedMs >= index.slackSeconds * 1000) {
      const { words } = this.#key.setHex(0, digest.hash);
      index.noteRenewal(words[0] ?? 0, words[1] ?? 0);
    }
    return this.#files.touch(digest);
  }

  #throwUnlessFile(digest: Digest): void {
    if (!this.#mayBeFile(digest) || !this.#touchFile(digest)) throw blobNotFound(digest);
    this.#core.index.flushRenewals();
  }

  /** The blob, verified, or undefined if it is no record. @throws blob-not-found for a damaged one; unavailable. */
  #read(digest: Digest): Uint8Array | undefined | Promise<Uint8Array> {
    if (isEmptyBlob(digest)) return new Uint8Array();
    const { index } = this.#core;
    const row = this.#rowOf(digest);
    if (row < 0) return undefined;
    index.touch(row, index.time.now());
    index.flushRenewals();
    const place = this.#core.placeOf(row);
    const record = this.#core.readRow(row);
    if (record instanceof Promise) return record.then((bytes) => this.#verified(digest, place, bytes));
    return this.#verified(digest, place, record);
  }

  #verified(digest: Digest, place: RecordPlace, record: Buffer | undefined): Uint8Array {
    const dataAt = RECORD_HEADER_BYTES + digest.hash.length / 2;
    const data = record?.subarray(dataAt, dataAt + digest.sizeBytes);
    if (data !== undefined && digestOf(digest.function, data).hash === digest.hash) return data;
    const key = this.#key.setHex(digestFunctionToWire(digest.function), digest.hash);
    this.#core.putAside(key, place, { bytes: record, reason: 'its bytes do not have its digest' });
    throw blobNotFound(digest);
  }

  /** @throws quota-exceeded when leases hold too much for another blob. */
  #admit(digest: Digest): void {
    const { index, clock } = this.#core;
    const { maxLeasedBytes, events } = this.#options;
    const now = index.time.now();
    const heldBytes = index.ledger.heldBytes(now) + this.#files.bytesHeld(clock.monotonicMs()) + this.#admittedBytes;
    if (heldBytes + digest.sizeBytes <= maxLeasedBytes) return;
    if (digest.sizeBytes > maxLeasedBytes) {
      events.refused('too-large');
      const message = `${digest.sizeBytes} bytes are more than the store may promise (${maxLeasedBytes} bytes); it needs a larger --max-size`;
      throw new ReapiError('too-large', message);
    }
    events.refused('leased');
    const retryAfterMs = Math.max(1, this.#secondsUntilRelease(now)) * 1000;
    const message = `the store is full of blobs that clients were promised (${heldBytes} of at most ${maxLeasedBytes} bytes); this build needs a larger store (--max-size)`;
    throw new ReapiError('quota-exceeded', message, { retryAfterMs });
  }

  /** When the next lease ends, of a record or of the file that was used longest ago. */
  #secondsUntilRelease(now: number): number {
    const { index, clock } = this.#core;
    const ofRecords = index.ledger.secondsUntilRelease(now);
    const oldestMs = this.#files.oldestTouchMs();
    if (oldestMs === undefined) return ofRecords;
    const ofFiles = this.#options.leaseSeconds - Math.floor((clock.monotonicMs() - oldestMs) / 1000);
    return ofRecords > 0 ? Math.min(ofRecords, ofFiles) : ofFiles;
  }

  async #gather(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<Uint8Array> {
    this.#gatheredBytes += digest.sizeBytes;
    try {
      return await collect(verified(digest, abortable(bytes, signal)), digest.sizeBytes);
    } finally {
      this.#gatheredBytes -= digest.sizeBytes;
    }
  }

  /** @param bytes verified. */
  #append(digest: Digest, bytes: Uint8Array): Promise<void> {
    const { index, clock } = this.#core;
    const kind = digestFunctionToWire(digest.function);
    const record = {
      kind,
      isRemoval: false,
      key: Buffer.from(digest.hash, 'hex'),
      data: bytes,
      writtenMs: clock.nowMs(),
    };
    return this.#core.append(record, (place) => {
      const key = this.#key.setHex(kind, digest.hash);
      // Another upload of the same blob may have been faster: its record stays, this one is garbage.
      const row = index.table.find(key);
      if (row >= 0) index.setTouched(row, index.time.now());
      else index.put(key, { ...place, touched: index.time.now() });
    });
  }
}
