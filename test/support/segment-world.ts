import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RECORD_HEADER_BYTES } from '../../src/cas/segment/log/format.ts';
import { type LocalStoreOptions, type OpenedStore, openStore } from '../../src/cas/segment/open-store.ts';
import type { RecordIndex } from '../../src/cas/segment/record-index/record-index.ts';
import { RowKey } from '../../src/cas/segment/record-index/row-key.ts';
import { SegmentBlobStore } from '../../src/cas/segment/segment-blob-store.ts';
import { SegmentEntryStore } from '../../src/cas/segment/segment-entry-store.ts';
import type { Eviction } from '../../src/cas/segment/store-report.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { digestFunctionToWire } from '../../src/digest/digest-function.ts';
import { sha256, someBytes } from './blob-store-contract.ts';
import { CONTRACT_MAX_ENTRY_BYTES } from './entry-store-contract.ts';
import { noAbort } from './expectations.ts';
import { FakeClock } from './fake-clock.ts';
import { HookedFileSystem } from './hooked-file-system.ts';
import { storeOptions } from './local-store-for-test.ts';
import { type LoggedLine, recordingLog } from './recording-log.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** What tests of the parts of a local store set. */
export type WorldOptions = Partial<LocalStoreOptions> & {
  /** Frees something when there is no room; nothing by default. */
  readonly free?: () => Promise<number>;
};

const worlds: SegmentWorld[] = [];

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

/** Seconds after which nothing is leased any more, with the retention of one minute that worlds have. */
export const LEASE_OVER_SECONDS = 95;

/**
 * The parts of a local store on a disk with hooks, small enough that a few records fill a segment: segments of 8 KiB and blobs up to 2 KiB
 * in them, one minute of retention. What the parts do by themselves is left to the test: nothing rotates, nothing is written down.
 */
export class SegmentWorld {
  readonly folder: string;
  readonly clock: FakeClock;
  readonly files: HookedFileSystem;
  readonly parts: OpenedStore;
  readonly blobs: SegmentBlobStore;
  readonly entries: SegmentEntryStore;
  readonly lines: readonly LoggedLine[];
  readonly evictions: readonly Eviction[];
  readonly refusals: readonly string[];
  #isClosed = false;

  private constructor(folder: string, clock: FakeClock, parts: OpenedStore, seen: Seen) {
    this.folder = folder;
    this.clock = clock;
    this.parts = parts;
    this.files = seen.files;
    this.lines = seen.lines;
    this.evictions = seen.evictions;
    this.refusals = seen.refusals;
    this.blobs = new SegmentBlobStore(parts.core, parts.files, {
      events: seen.events,
      maxRecordBlobBytes: parts.sizes.maxRecordBlobBytes,
      maxLeasedBytes: parts.sizes.maxLeasedBytes,
      leaseSeconds: parts.leaseSeconds,
    });
    this.entries = new SegmentEntryStore(parts.core, { maxEntryBytes: CONTRACT_MAX_ENTRY_BYTES });
  }

  /** Opens one in a new folder, or in the one given; it is closed after the test. */
  static async open({ free, ...options }: WorldOptions = {}, folder = temporaryFolder()): Promise<SegmentWorld> {
    const clock = new FakeClock();
    const { log, lines } = recordingLog();
    const evictions: Eviction[] = [];
    const refusals: string[] = [];
    const files = new HookedFileSystem();
    const events = {
      committed: () => undefined,
      evicted: (eviction: Eviction) => void evictions.push(eviction),
      refused: (reason: string) => void refusals.push(reason),
    };
    const given = { clock, log, files, events, segmentBytes: 8192, ...options };
    const folders = { segments: join(folder, 'segments'), files: join(folder, 'blobs') };
    const hooks = { free: free ?? (() => Promise.resolve(0)), isPinned: () => false, committed: () => undefined };
    const parts = await openStore(folders, storeOptions(given), hooks);
    const world = new SegmentWorld(folder, clock, parts, { files, lines, evictions, refusals, events });
    worlds.push(world);
    return world;
  }

  get index(): RecordIndex {
    return this.parts.core.index;
  }

  /** Segments, index and leases. */
  get segmentFolder(): string {
    return join(this.folder, 'segments');
  }

  /** The store as a killed process leaves it: a copy of its folder, opened. */
  afterCrash(options: WorldOptions = {}): Promise<SegmentWorld> {
    return SegmentWorld.open(options, this.crashCopy());
  }

  /** A copy of its folder as it is. */
  crashCopy(): string {
    const copy = join(temporaryFolder(), 'copy');
    cpSync(this.folder, copy, { recursive: true });
    return copy;
  }

  /** Without writing the index down. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.files.mend();
    this.files.plan(undefined);
    await this.parts.core.close();
    await this.parts.files.close();
    this.parts.checkpoints.close();
    await this.parts.segments.close();
  }

  /** Stores bytes that depend on the seed. */
  async put(sizeBytes: number, seed: number): Promise<Digest> {
    const bytes = someBytes(sizeBytes, seed);
    await this.blobs.putBytes(sha256(bytes), bytes, noAbort());
    return sha256(bytes);
  }

  /** As many blobs of 1,000 bytes: seven make a segment. */
  async fill(count: number, firstSeed: number): Promise<readonly Digest[]> {
    const digests: Digest[] = [];
    for (let seed = firstSeed; seed < firstSeed + count; seed++) digests.push(await this.put(1000, seed));
    return digests;
  }

  async putEntry(key: string, text: string): Promise<void> {
    await this.entries.put(key, Buffer.from(text), noAbort());
  }

  async textOf(key: string): Promise<string | undefined> {
    const entry = await this.entries.get(key, noAbort());
    return entry && Buffer.from(entry.value).toString();
  }

  /** How many of them are missing; the others are promised anew. */
  async missing(digests: readonly Digest[]): Promise<number> {
    return (await this.blobs.findMissing(digests, noAbort())).length;
  }

  /** The row of a blob, or −1, without promising it. */
  rowOf(digest: Digest): number {
    return this.index.table.find(blobKey(digest));
  }

  /** When a blob was last promised. */
  touched(digest: Digest): number {
    return this.index.table.touched(this.rowOf(digest));
  }

  /** Puts a blob's record aside, as whoever finds it damaged does. */
  putAside(digest: Digest, bytes?: Uint8Array): void {
    const { core } = this.parts;
    core.putAside(blobKey(digest), core.placeOf(this.rowOf(digest)), { bytes, reason: 'a test' });
  }

  /** Changes a byte of a blob's data on disk. */
  damage(digest: Digest): void {
    this.damageRow(this.rowOf(digest), RECORD_HEADER_BYTES + digest.hash.length / 2);
  }

  /** Changes a byte of a record on disk. */
  damageRow(row: number, at: number): void {
    const { table } = this.index;
    flipByte(this.segmentPath(table.segment(row)), table.offset(row) + at);
  }

  segmentPath(id: number): string {
    return join(this.segmentFolder, `${id.toString(16).padStart(8, '0')}.segment`);
  }

  /** Names in the folder of segments that match. */
  names(pattern: RegExp): readonly string[] {
    return readdirSync(this.segmentFolder)
      .filter((name) => pattern.test(name))
      .sort();
  }

  quarantined(): readonly string[] {
    return readdirSync(join(this.segmentFolder, 'quarantine')).sort();
  }
}

interface Seen {
  readonly files: HookedFileSystem;
  readonly lines: readonly LoggedLine[];
  readonly evictions: readonly Eviction[];
  readonly refusals: readonly string[];
  readonly events: LocalStoreOptions['events'];
}

/** What the row of a blob is found by. */
export function blobKey(digest: Digest): RowKey {
  return new RowKey().setHex(digestFunctionToWire(digest.function), digest.hash);
}

/** Changes a byte of a file. */
export function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
