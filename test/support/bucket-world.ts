import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BucketTier, type BucketTierOptions } from '../../src/cas/s3/bucket-tier.ts';
import type { RecoveryProgress } from '../../src/cas/s3/refresh.ts';
import { LocalStore } from '../../src/cas/segment/local-store.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { type ByteRange, collect, WHOLE } from '../../src/system/byte-stream.ts';
import type { Clock } from '../../src/system/clock.ts';
import { NODE_FILE_SYSTEM } from '../../src/system/file-system.ts';
import { SystemRandom } from '../../src/system/random.ts';
import { sha256, someBytes } from './blob-store-contract.ts';
import { turns, until } from './deferred.ts';
import { CONTRACT_MAX_ENTRY_BYTES } from './entry-store-contract.ts';
import { noAbort } from './expectations.ts';
import { storeOptions } from './local-store-for-test.ts';
import { MemoryBucket, MemoryObjectStore, type ObjectStoreCall, type ObjectStoreFault } from './memory-object-store.ts';
import { QuickClock } from './quick-clock.ts';
import { type LoggedLine, recordingLog } from './recording-log.ts';

/** Blobs above this size are objects of their own. */
export const MAX_PACKED_BYTES = 256 * 1024;

/** Until a put is told that the bucket did not take it in time. */
export const UPLOAD_WAIT_MS = 60_000;

/** How old the news of other servers may be. */
export const REFRESH_MS = 30_000;

const TIER_OPTIONS: BucketTierOptions = {
  durability: 's3',
  maxBacklogBytes: 16 * 1024 * 1024,
  uploadWaitMs: UPLOAD_WAIT_MS,
  refreshMs: REFRESH_MS,
  promiseSeconds: 600,
  retentionSeconds: 0,
  maxBytes: 0,
  packBytes: 4 * 1024 * 1024,
  maxSmallPacksPerSecond: 100,
  maxPackedBlobBytes: MAX_PACKED_BYTES,
  maxEntryBytes: CONTRACT_MAX_ENTRY_BYTES,
  maxConcurrentRequests: 16,
};

/** What goes wrong with the bucket; a test changes it as it goes. */
export interface Faults {
  of: (call: ObjectStoreCall, key: string) => ObjectStoreFault | undefined;
}

/** What a test sets. */
export interface BucketWorldOptions extends Partial<BucketTierOptions> {
  /** Default: a new empty one. */
  readonly bucket?: MemoryBucket;
  /** Default: one of its own. */
  readonly clock?: QuickClock;
  /** Where wall time comes from; default: from `clock`. */
  readonly wall?: Clock;
  /** Default: a new one. */
  readonly folder?: string;
  /** Ends a start. */
  readonly signal?: AbortSignal;
  /** Default: none. */
  readonly faults?: Faults;
  readonly onProgress?: (progress: RecoveryProgress) => void;
  /** Limit of the local tier. Default 64 MiB. */
  readonly localMaxBytes?: number;
}

/** A bucket that does not answer until its `of` is changed. */
export function down(): Faults {
  return { of: () => 'fail-before' };
}

const worlds: BucketWorld[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A new empty folder for a machine. It goes after the machine has stopped, which is later than other folders of tests go. */
export function machineFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  folders.push(folder);
  return folder;
}

/** A machine with a local store in a folder and a bucket in memory behind it. */
export class BucketWorld {
  readonly tier: BucketTier;
  readonly local: LocalStore;
  readonly objects: MemoryObjectStore;
  readonly clock: QuickClock;
  readonly faults: Faults;
  readonly folder: string;
  readonly lines: readonly LoggedLine[];
  readonly #options: BucketWorldOptions;

  private constructor(parts: Pick<BucketWorld, 'tier' | 'local' | 'objects' | 'lines'>, machine: Machine) {
    this.tier = parts.tier;
    this.local = parts.local;
    this.objects = parts.objects;
    this.lines = parts.lines;
    this.clock = machine.clock;
    this.faults = machine.faults;
    this.folder = machine.folder;
    this.#options = machine.options;
  }

  /** Starts one; it is closed after the test. */
  static async open(options: BucketWorldOptions = {}): Promise<BucketWorld> {
    const quick = options.clock ?? new QuickClock();
    const clock = clockOf(quick, options.wall ?? quick);
    const faults = options.faults ?? { of: () => undefined };
    const machine = { clock: quick, faults, folder: options.folder ?? machineFolder(), options };
    const { log, lines } = recordingLog();
    let tier: BucketTier | undefined;
    const local = await openLocal(machine, clock, (key) => tier?.mayEvict(key) ?? options.durability !== 'local');
    const objects = new MemoryObjectStore(clock, {
      bucket: options.bucket ?? new MemoryBucket(),
      faults: (call, key) => faults.of(call, key),
    });
    const host = {
      ...{ objects, local, clock, log, random: new SystemRandom(), files: NODE_FILE_SYSTEM },
      folder: join(machine.folder, 's3'),
      onProgress: options.onProgress ?? (() => undefined),
      onForgotten: () => undefined,
    };
    try {
      tier = await BucketTier.open(host, { ...TIER_OPTIONS, ...options }, options.signal ?? noAbort());
    } catch (error) {
      await local.close();
      throw error;
    }
    const world = new BucketWorld({ tier, local, objects, lines }, machine);
    worlds.push(world);
    return world;
  }

  get bucket(): MemoryBucket {
    return this.objects.bucket;
  }

  /** The same machine again, after an orderly stop. */
  async restart(options: BucketWorldOptions = {}): Promise<BucketWorld> {
    await this.close();
    return BucketWorld.open({ ...this.#same(), folder: this.folder, ...options });
  }

  /** The same machine as a killed process leaves it: with its folder as it is now. */
  async crash(options: BucketWorldOptions = {}): Promise<BucketWorld> {
    const folder = machineFolder();
    cpSync(this.folder, folder, { recursive: true });
    this.faults.of = () => 'fail-before';
    await this.close();
    return BucketWorld.open({ ...this.#same(), folder, faults: { of: () => undefined }, ...options });
  }

  /** Another machine on the same bucket, with nothing on its disk. */
  beside(options: BucketWorldOptions = {}): Promise<BucketWorld> {
    return BucketWorld.open({ ...this.#same(), faults: { of: () => undefined }, ...options });
  }

  async close(): Promise<void> {
    await this.tier.close(0);
    await this.local.close();
  }

  /** Stores bytes that depend on the seed. */
  async put(sizeBytes: number, seed: number): Promise<Digest> {
    const bytes = someBytes(sizeBytes, seed);
    await this.tier.blobs.putBytes(sha256(bytes), bytes, noAbort());
    return sha256(bytes);
  }

  async putEntry(key: string, text: string): Promise<void> {
    await this.tier.entries.put(key, Buffer.from(text), noAbort());
  }

  async textOf(key: string): Promise<string | undefined> {
    const entry = await this.tier.entries.get(key, noAbort());
    return entry && Buffer.from(entry.value).toString();
  }

  /** A blob's bytes as a stream gives them. */
  async read(digest: Digest, range: ByteRange = WHOLE): Promise<Uint8Array> {
    return collect(await this.tier.blobs.open(digest, range, noAbort()), digest.sizeBytes);
  }

  async isMissing(digest: Digest): Promise<boolean> {
    return (await this.tier.blobs.findMissing([digest], noAbort())).length === 1;
  }

  /** Bytes that are accepted and not in the bucket. */
  get backlogBytes(): number {
    return this.tier.stats().backlogBytes;
  }

  /** Waits until everything that was accepted is in the bucket. */
  async uploaded(): Promise<void> {
    await until(() => this.backlogBytes === 0 && this.tier.stats().pendingUploads === 0);
  }

  /** The bucket answers again, and whoever waits to try again has done so. */
  async mend(): Promise<void> {
    this.faults.of = () => undefined;
    for (let round = 0; round < 2; round++) {
      await turns(20);
      this.clock.advance(10_000);
    }
  }

  /** Waits until this machine has read what the others published before. */
  async refreshed(): Promise<void> {
    this.clock.advance(REFRESH_MS / 2 + 1);
    await until(() => (this.tier.stats().staleSeconds ?? REFRESH_MS) < REFRESH_MS / 2000);
  }

  /** Makes the local tier forget all that it may forget. */
  async evict(): Promise<void> {
    while ((await this.local.room.free('nothing')) > 0);
  }

  /** Keys of packs and large blobs. */
  containers(): readonly string[] {
    return [...this.bucket.objects.keys()].filter((key) => key.startsWith('packs/')).sort();
  }

  /** Key of the object that is a large blob. */
  objectOf(digest: Digest): string {
    const key = this.containers().find((name) => name.includes(digest.hash));
    if (key === undefined) throw new Error('there is no such object');
    return key;
  }

  /** Changes a byte of an object. */
  damage(key: string, at: number): void {
    const object = this.bucket.objects.get(key);
    if (object !== undefined) object.bytes[at] = (object.bytes[at] ?? 0) ^ 1;
  }

  #same(): BucketWorldOptions {
    return { ...this.#options, bucket: this.bucket, clock: this.clock, faults: this.faults };
  }
}

interface Machine {
  readonly clock: QuickClock;
  readonly faults: Faults;
  readonly folder: string;
  readonly options: BucketWorldOptions;
}

function clockOf(quick: QuickClock, wall: Clock): Clock {
  return {
    nowMs: () => wall.nowMs(),
    monotonicMs: () => quick.monotonicMs(),
    wakeAt: (atMs, fn) => quick.wakeAt(atMs, fn),
  };
}

function openLocal(
  { folder, options }: Pick<Machine, 'folder' | 'options'>,
  clock: Clock,
  mayEvict: BucketTier['mayEvict'],
): Promise<LocalStore> {
  const given = {
    ...{ clock, guard: { mayEvict } },
    maxEntryBytes: CONTRACT_MAX_ENTRY_BYTES + 4096,
    ...(options.localMaxBytes && { maxBytes: options.localMaxBytes }),
  };
  return LocalStore.open({ segments: join(folder, 'segments'), files: join(folder, 'blobs') }, storeOptions(given));
}

/** Uses the store of a machine while there is no bucket yet. */
export async function withoutBucket(folder: string, use: (local: LocalStore) => Promise<void>): Promise<void> {
  const local = await openLocal({ folder, options: {} }, new QuickClock(), () => true);
  try {
    await use(local);
  } finally {
    await local.close();
  }
}
