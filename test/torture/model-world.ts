import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { LocalStore } from '../../src/cas/segment/local-store.ts';
import type { LocalStoreOptions } from '../../src/cas/segment/open-store.ts';
import type { Eviction } from '../../src/cas/segment/store-report.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { isKind } from '../../src/errors.ts';
import { type ByteRange, collect, streamOf } from '../../src/system/byte-stream.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { diskBytesOf, foldersIn, tortureOptions } from './torture-load.ts';

const NEVER = new AbortController().signal;
const KIB = 1024;

/** A store so small that a sequence of a few dozen steps turns it over more than once. */
export const MODEL_LIMITS = {
  maxBytes: 3 * 1024 * KIB,
  segmentBytes: 128 * KIB,
  minRetentionMs: 30_000,
  checkpointMs: 60_000,
} as const;

/** Around the sizes that a store treats differently: one record, more than a buffer, the largest record, a file of its own. */
const SIZES = [1, 100, 3000, 20_000, 32 * KIB, 32 * KIB + 1, 150_000] as const;

/** The blob with that number. */
export function modelBlob(number: number): { readonly bytes: Buffer; readonly digest: Digest } {
  const sizeBytes = SIZES[number % SIZES.length] ?? 1;
  const bytes = sizeBytes === 1 ? Buffer.of(number) : Buffer.alloc(sizeBytes, `blob ${number} `);
  return { bytes, digest: digestOf('sha256', bytes) };
}

/** A local store beside a naive model of what it must hold. Each method is a step; it fails if the store breaks a law. */
export class ModelWorld {
  readonly clock = new FakeClock();
  readonly #options: Partial<LocalStoreOptions>;
  readonly #temporaryFolder: () => string;
  #folder: string;
  #opened: LocalStore | undefined;
  /** When each blob was last promised: of those that were not evicted. */
  readonly #promised = new Map<number, number>();
  readonly #numbers = new Map<string, number>();
  readonly #entries = new Map<string, string>();
  readonly #broken: string[] = [];
  #version = 0;

  constructor(temporaryFolder: () => string, options: Partial<LocalStoreOptions> = {}) {
    this.#temporaryFolder = temporaryFolder;
    this.#folder = temporaryFolder();
    this.#options = options;
  }

  get store(): LocalStore {
    assert.ok(this.#opened, 'the world was opened');
    return this.#opened;
  }

  async open(): Promise<void> {
    const options = tortureOptions(this.clock, 'none', (eviction) => this.#evicted(eviction));
    this.#opened = await LocalStore.open(foldersIn(this.#folder), { ...options, ...MODEL_LIMITS, ...this.#options });
  }

  async close(): Promise<void> {
    await this.#opened?.close();
    this.#opened = undefined;
  }

  async reopen(): Promise<void> {
    await this.close();
    await this.open();
  }

  /** What is on disk now is what a killed process leaves. */
  async crash(): Promise<void> {
    const copy = join(this.#temporaryFolder(), 'copy');
    cpSync(this.#folder, copy, { recursive: true });
    await this.close();
    this.#folder = copy;
    await this.open();
  }

  async put(number: number, way: 'bytes' | 'stream'): Promise<void> {
    const { bytes, digest } = modelBlob(number);
    const pieces = [bytes.subarray(0, 10), bytes.subarray(10)];
    const { blobs } = this.store;
    try {
      if (way === 'bytes') await blobs.putBytes(digest, bytes, NEVER);
      else await blobs.put(digest, streamOf(...pieces), NEVER);
      this.#promise(number);
    } catch (error) {
      assertFull(error);
      assert.ok(!this.#promised.has(number), 'a blob that is there was refused');
      assert.equal((await blobs.findMissing([digest], NEVER)).length, 1);
    }
  }

  /** Many at once. */
  async putMany(first: number, count: number): Promise<void> {
    await Promise.all(
      Array.from({ length: count }, (_, at) => this.put(first + at, at % 2 === 0 ? 'bytes' : 'stream')),
    );
  }

  async read(number: number, range: ByteRange | undefined): Promise<void> {
    const { bytes, digest } = modelBlob(number);
    const { blobs } = this.store;
    const offset = Math.min(range?.offset ?? 0, bytes.length);
    const end = range?.limit === undefined ? bytes.length : offset + range.limit;
    try {
      const read = range
        ? await collect(await blobs.open(digest, { ...range, offset }, NEVER), bytes.length)
        : await blobs.getBytes(digest, NEVER);
      assert.ok(bytes.subarray(offset, end).equals(read), `blob ${number} has other bytes`);
      this.#promise(number);
    } catch (error) {
      assert.ok(isKind(error, 'blob-not-found'), String(error));
      assert.ok(!this.#promised.has(number), `blob ${number} is gone`);
    }
  }

  async find(numbers: readonly number[]): Promise<void> {
    const missing = await this.store.blobs.findMissing(
      numbers.map((number) => modelBlob(number).digest),
      NEVER,
    );
    const absent = new Set(missing.map((digest) => digest.hash));
    for (const number of numbers) {
      const isAbsent = absent.has(modelBlob(number).digest.hash);
      assert.ok(!(isAbsent && this.#promised.has(number)), `blob ${number} is gone`);
      if (!isAbsent) this.#promise(number);
    }
  }

  async putEntry(key: string, sizeBytes: number): Promise<void> {
    const value = `${this.#version++} `.padEnd(sizeBytes, key);
    try {
      await this.store.entries.put(key, Buffer.from(value), NEVER);
      this.#entries.set(key, value);
    } catch (error) {
      assertFull(error);
      await this.readEntry(key);
    }
  }

  async readEntry(key: string): Promise<void> {
    const entry = await this.store.entries.get(key, NEVER);
    assert.equal(entry && Buffer.from(entry.value).toString(), this.#entries.get(key), `entry ${key}`);
  }

  /** A removal is written down, so that a store full of what is promised may refuse it too. */
  async deleteEntry(key: string): Promise<void> {
    try {
      assert.equal(await this.store.entries.delete(key, NEVER), this.#entries.has(key));
      this.#entries.delete(key);
    } catch (error) {
      assertFull(error);
      await this.readEntry(key);
    }
  }

  async prune(share: number): Promise<void> {
    await this.store.prune(share * MODEL_LIMITS.maxBytes, () => undefined, NEVER);
  }

  /** The laws that hold after every step. */
  checkStep(): void {
    assert.deepEqual(this.#broken, []);
    const { segmentBytes, fileBytes, otherBytes } = this.store.stats();
    const diskBytes = diskBytesOf(this.#folder);
    const countedBytes = segmentBytes + fileBytes + otherBytes;
    assert.ok(diskBytes <= MODEL_LIMITS.maxBytes, `${diskBytes} bytes on disk`);
    assert.ok(diskBytes <= countedBytes, `${diskBytes} bytes on disk, ${countedBytes} counted`);
    assert.ok(countedBytes <= MODEL_LIMITS.maxBytes, `${countedBytes} bytes counted`);
  }

  /** All that must be there is, and whole. */
  async checkAll(): Promise<void> {
    for (const number of [...this.#promised.keys()]) await this.read(number, undefined);
    for (const key of [...this.#entries.keys()]) await this.readEntry(key);
    const report = await this.store.check(() => undefined, NEVER);
    assert.deepEqual(report.damage, []);
    assert.equal(this.store.stats().quarantined, 0);
    this.checkStep();
  }

  #promise(number: number): void {
    this.#promised.set(number, this.clock.monotonicMs());
    this.#numbers.set(modelBlob(number).digest.hash, number);
  }

  #evicted({ what, hash: gone }: Eviction): void {
    if (what === 'entry') {
      for (const key of this.#entries.keys()) if (hash('sha256', key) === gone) this.#entries.delete(key);
      return;
    }
    const number = this.#numbers.get(gone) ?? -1;
    const ageMs = this.clock.monotonicMs() - (this.#promised.get(number) ?? Number.NEGATIVE_INFINITY);
    if (ageMs < MODEL_LIMITS.minRetentionMs)
      this.#broken.push(`blob ${number} was evicted ${ageMs} ms after a promise`);
    this.#promised.delete(number);
  }
}

/** The store is full up to its own limit: the disk below has plenty, and who is refused for another reason was refused wrongly. */
function assertFull(error: unknown): void {
  assert.ok(isKind(error, 'quota-exceeded') && /^the store is full/.test(error.message), String(error));
}
