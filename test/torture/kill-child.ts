import { writeSync } from 'node:fs';
import { LocalStore } from '../../src/cas/segment/local-store.ts';
import { isKind, ReapiError, systemCode } from '../../src/errors.ts';
import { collect, streamOf } from '../../src/system/byte-stream.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Orders } from './kill-orders.ts';
import { watchedFileSystem } from './killing-file-system.ts';
import {
  blobNumbered,
  digestNumbered,
  diskBytesOf,
  ENTRY_KEYS,
  entryKey,
  entryValue,
  foldersIn,
  TORTURED,
  tortureOptions,
  versionOf,
} from './torture-load.ts';

// The victim of kill.ts: opens a store, works it hard and says on standard output, a line each, what was promised to it.

const NEVER = new AbortController().signal;

/** Operations under way at the same time. */
const IN_FLIGHT = 48;

type Phase = NonNullable<Orders['dieIn']>['phase'];

class Victim {
  readonly #orders: Orders;
  readonly #random: SeededRandom;
  readonly #clock: FakeClock;
  #phase: Phase = 'open';
  #calls = 0;
  #nextBlob: number;
  readonly #recent: number[] = [];

  constructor(orders: Orders) {
    this.#orders = orders;
    this.#random = new SeededRandom(orders.seed);
    this.#clock = new FakeClock(orders.startMs);
    this.#nextBlob = orders.firstNumber;
  }

  async run(): Promise<void> {
    const { folder, sync, operations, ends, prunes } = this.#orders;
    const files = watchedFileSystem((writeHalf) => this.#perhapsDie(writeHalf));
    const store = await LocalStore.open(foldersIn(folder), {
      ...tortureOptions(this.#clock, sync, ({ what, hash }) => this.#say('gone', what, hash)),
      files,
    });
    this.#enter('load');
    await this.#load(store, operations / 2);
    if (prunes) {
      this.#enter('prune');
      const [pruned] = await Promise.all([
        store.prune(TORTURED.maxBytes / 4, () => undefined, NEVER),
        this.#load(store, operations / 8),
      ]);
      if (pruned.sizeBytes > TORTURED.maxBytes) this.#say('bad', `the store has ${pruned.sizeBytes} bytes after prune`);
      this.#enter('load');
    }
    await this.#load(store, operations / 2);
    this.#enter('close');
    if (ends === 'cleanly') await store.close();
    this.#say('end');
    process.kill(process.pid, 'SIGKILL');
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#calls = 0;
    this.#say('phase', phase);
  }

  /** Lines are written at once, so that whatever was said before the end is heard. */
  #say(...words: readonly (string | number)[]): void {
    const line = Buffer.from(`${this.#clock.monotonicMs()} ${words.join(' ')}\n`);
    for (let done = 0; done < line.length; ) done += writeSome(line.subarray(done));
  }

  #perhapsDie(writeHalf: (() => void) | undefined): void {
    const { dieIn } = this.#orders;
    if (dieIn === undefined || dieIn.phase !== this.#phase || ++this.#calls !== dieIn.atCall) return;
    if (dieIn.half) writeHalf?.();
    process.kill(process.pid, 'SIGKILL');
  }

  async #load(store: LocalStore, operations: number): Promise<void> {
    const running = new Set<Promise<void>>();
    for (let count = 0; count < operations; count++) {
      while (running.size >= IN_FLIGHT) await Promise.race(running);
      this.#clock.advance(this.#random.between(0, 200));
      const work = this.#operation(store).catch((error: unknown) => this.#complain(error));
      const watched = work.finally(() => running.delete(watched));
      running.add(watched);
      if (count % 64 === 0) this.#measure();
    }
    await Promise.all(running);
  }

  #measure(): void {
    const bytes = diskBytesOf(this.#orders.folder);
    if (bytes > TORTURED.maxBytes) this.#say('bad', `the folder has ${bytes} bytes`);
  }

  /** Being refused is no mistake of the store while its leases hold too much. */
  #complain(error: unknown): void {
    if (isKind(error, 'quota-exceeded')) this.#say('refused');
    else this.#say('bad', error instanceof ReapiError ? `${error.kind}: ${error.message}` : String(error));
  }

  #operation(store: LocalStore): Promise<void> {
    const dice = this.#random.fraction();
    if (dice < 0.45) return this.#put(store, this.#nextBlob++);
    if (dice < 0.52) return this.#put(store, this.#anyBlob());
    if (dice < 0.62) return this.#read(store, this.#anyBlob());
    if (dice < 0.7) return this.#find(store);
    if (dice < 0.95) return this.#putEntry(store);
    return this.#deleteEntry(store);
  }

  #anyBlob(): number {
    const number = this.#random.between(Math.max(0, this.#nextBlob - 500), this.#nextBlob);
    return this.#recent.length > 0 && this.#random.chance(0.5)
      ? (this.#recent[this.#random.between(0, this.#recent.length - 1)] ?? number)
      : number;
  }

  async #put(store: LocalStore, number: number): Promise<void> {
    const bytes = blobNumbered(number);
    const digest = digestNumbered(number);
    if (this.#random.chance(0.5)) await store.blobs.putBytes(digest, bytes, NEVER);
    else await store.blobs.put(digest, streamOf(bytes), NEVER);
    this.#say('put', number);
    this.#recent.push(number);
    if (this.#recent.length > 100) this.#recent.shift();
  }

  async #read(store: LocalStore, number: number): Promise<void> {
    const expected = blobNumbered(number);
    const digest = digestNumbered(number);
    try {
      const bytes = this.#random.chance(0.5)
        ? await store.blobs.getBytes(digest, NEVER)
        : await collect(await store.blobs.open(digest, { offset: 0 }, NEVER), digest.sizeBytes);
      if (!expected.equals(bytes)) this.#say('bad', `blob ${number} was read torn`);
      else this.#say('here', number);
    } catch (error) {
      if (!isKind(error, 'blob-not-found')) throw error;
    }
  }

  async #find(store: LocalStore): Promise<void> {
    const numbers = Array.from({ length: 10 }, () => this.#anyBlob());
    const missing = await store.blobs.findMissing(numbers.map(digestNumbered), NEVER);
    const absent = new Set(missing.map(({ hash }) => hash));
    this.#say('here', ...numbers.filter((number) => !absent.has(digestNumbered(number).hash)));
  }

  async #putEntry(store: LocalStore): Promise<void> {
    const key = this.#random.between(0, ENTRY_KEYS - 1);
    const version = this.#nextBlob++;
    this.#say('try', key, version);
    await store.entries.put(entryKey(key), entryValue(key, version), NEVER);
    this.#say('set', key, version);
    const entry = await store.entries.get(entryKey(key), NEVER);
    if (entry === undefined) return;
    const read = versionOf(key, entry.value);
    if (read === undefined) this.#say('bad', `entry ${key} was read torn`);
    else this.#say('got', key, version, read);
  }

  async #deleteEntry(store: LocalStore): Promise<void> {
    const key = this.#random.between(0, ENTRY_KEYS - 1);
    const version = this.#nextBlob++;
    this.#say('trydelete', key, version);
    await store.entries.delete(entryKey(key), NEVER);
    this.#say('deleted', key, version);
  }
}

/** Whoever listens may be slow: then the pipe is full, and this process has to wait. @returns the bytes that went through. */
function writeSome(bytes: Buffer): number {
  try {
    return writeSync(1, bytes);
  } catch (error) {
    if (systemCode(error) !== 'EAGAIN') throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    return 0;
  }
}

await new Victim(JSON.parse(process.argv[2] ?? '') as Orders).run();
