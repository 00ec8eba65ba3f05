import { hash as hashOf } from 'node:crypto';
import { absentAmong, blobNotFound, sliceOf } from '../../../src/cas/blob-lookup.ts';
import type { BlobStore } from '../../../src/cas/blob-store.ts';
import type { LocalTier } from '../../../src/cas/s3/local-tier.ts';
import { ENTRY_KIND } from '../../../src/cas/segment/log/format.ts';
import { RowKey } from '../../../src/cas/segment/record-index/row-key.ts';
import { verifyBytes } from '../../../src/cas/verified-stream.ts';
import { type Digest, digestKey, isEmptyBlob } from '../../../src/digest/digest.ts';
import { digestFunctionToWire } from '../../../src/digest/digest-function.ts';
import type { Entry } from '../../../src/entries/entry-store.ts';
import { ReapiError, throwIfAborted } from '../../../src/errors.ts';
import { type ByteStream, collect, streamOf } from '../../../src/system/byte-stream.ts';
import { sleep } from '../../../src/system/clock.ts';
import type { SimProcess } from './sim-time.ts';

/** How long a write to the disk takes: long enough for a process to be killed in the middle. */
const WRITE_MS = 2;

interface Kept {
  readonly kind: number;
  /** Of a blob its hash, of an entry the SHA-256 of its key. */
  readonly hash: string;
  readonly name: string;
  readonly digest?: Digest;
  readonly value: Uint8Array;
  readonly writtenMs: number;
  usedMs: number;
}

/** What is on the disk of a machine: it survives the process. */
export type SimDisk = Map<string, Kept>;

/** How a local tier behaves. */
export interface SimLocalTierOptions {
  readonly maxBytes: number;
  /** What was used that shortly ago is not evicted. */
  readonly leaseMs: number;
  readonly mayEvict: (key: RowKey) => boolean;
}

/** The laws of `LocalStore` as far as the S3 tier rests on them, small: the least recently used goes if nobody holds it. */
export class SimLocalTier implements LocalTier {
  readonly blobs: BlobStore;
  readonly entries: LocalTier['entries'];
  readonly #process: SimProcess;
  readonly #disk: SimDisk;
  readonly #options: SimLocalTierOptions;

  constructor(process: SimProcess, disk: SimDisk, options: SimLocalTierOptions) {
    this.#process = process;
    this.#disk = disk;
    this.#options = options;
    this.blobs = {
      findMissing: async (digests, signal) => {
        throwIfAborted(signal);
        return absentAmong(digests, (digest) => this.#use(digestKey(digest)) !== undefined);
      },
      open: async (digest, range, signal) => streamOf(sliceOf(await this.#bytesOf(digest, signal), range)),
      getBytes: (digest, signal) => this.#bytesOf(digest, signal),
      put: async (digest, bytes, signal) => this.#putBlob(digest, await all(bytes, digest), signal),
      putBytes: (digest, bytes, signal) => this.#putBlob(digest, bytes, signal),
    };
    this.entries = {
      get: async (key, signal) => {
        throwIfAborted(signal);
        return this.#use(`=${key}`);
      },
      put: (key, value, signal) => this.#putEntry(key, value, this.#process.nowMs(), signal),
      putWritten: (key, value, writtenMs, signal) => this.#putEntry(key, value, writtenMs, signal),
      delete: async (key, signal) => {
        throwIfAborted(signal);
        return this.#disk.delete(`=${key}`);
      },
    };
  }

  has(digest: Digest): boolean {
    return isEmptyBlob(digest) || this.#disk.has(digestKey(digest));
  }

  forEachBlob(visit: (key: RowKey, sizeBytes: number) => void): void {
    const key = new RowKey();
    for (const { kind, hash, digest } of this.#disk.values()) {
      if (digest !== undefined) visit(key.setHex(kind, hash), digest.sizeBytes);
    }
  }

  async eachEntry(visit: (key: string, entry: Entry) => void | Promise<void>, signal: AbortSignal): Promise<void> {
    for (const { name, digest, value, writtenMs } of [...this.#disk.values()]) {
      throwIfAborted(signal);
      if (digest === undefined) await visit(name.slice(1), { value, writtenMs });
    }
  }

  #use(name: string): Kept | undefined {
    const kept = this.#disk.get(name);
    if (kept === undefined) return undefined;
    kept.usedMs = this.#process.monotonicMs();
    this.#disk.delete(name);
    this.#disk.set(name, kept);
    return kept;
  }

  async #bytesOf(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    throwIfAborted(signal);
    const kept = this.#use(digestKey(digest));
    if (kept === undefined) throw blobNotFound(digest);
    return kept.value;
  }

  async #putBlob(digest: Digest, value: Uint8Array, signal: AbortSignal): Promise<void> {
    verifyBytes(digest, value);
    const kind = digestFunctionToWire(digest.function);
    await this.#keep(
      { kind, hash: digest.hash, name: digestKey(digest), digest, value, writtenMs: 0, usedMs: 0 },
      signal,
    );
  }

  async #putEntry(key: string, value: Uint8Array, writtenMs: number, signal: AbortSignal): Promise<void> {
    const hash = hashOf('sha256', key);
    await this.#keep({ kind: ENTRY_KIND, hash, name: `=${key}`, value, writtenMs, usedMs: 0 }, signal);
  }

  async #keep(kept: Kept, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    await sleep(this.#process, WRITE_MS, signal).catch(() => throwIfAborted(signal));
    this.#disk.delete(kept.name);
    this.#makeRoom(kept.value.length);
    this.#disk.set(kept.name, kept);
    this.#use(kept.name);
  }

  #makeRoom(bytes: number): void {
    const { maxBytes, leaseMs, mayEvict } = this.#options;
    let total = bytes;
    for (const { value } of this.#disk.values()) total += value.length;
    const key = new RowKey();
    for (const [name, { kind, hash, usedMs }] of this.#disk) {
      if (total <= maxBytes) return;
      if (this.#process.monotonicMs() - usedMs < leaseMs || !mayEvict(key.setHex(kind, hash))) continue;
      total -= this.#disk.get(name)?.value.length ?? 0;
      this.#disk.delete(name);
    }
    if (total > maxBytes) throw new ReapiError('quota-exceeded', 'the local tier is full');
  }
}

function all(bytes: ByteStream, digest: Digest): Promise<Uint8Array> {
  return collect(bytes, digest.sizeBytes);
}
