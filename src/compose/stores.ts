import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { BlobStore } from '../cas/blob-store.ts';
import { MeteredBlobStore } from '../cas/metered-blob-store.ts';
import type { BucketStats } from '../cas/s3/bucket-stats.ts';
import type { BucketTier } from '../cas/s3/bucket-tier.ts';
import type { S3Options } from '../cas/s3/s3-options.ts';
import { forgetMarks } from '../cas/s3/tier-folder.ts';
import { LocalStore } from '../cas/segment/local-store.ts';
import type { StoreControl, StoreEvents } from '../cas/segment/store-report.ts';
import { MIN_SEGMENT_BYTES } from '../cas/segment/store-sizes.ts';
import { StoreCalls } from '../cas/store-calls.ts';
import type { Config } from '../config/load.ts';
import type { EntryStore } from '../entries/entry-store.ts';
import { migrateFileEntries } from '../entries/file-entries.ts';
import { isKind } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import { DataFolder } from '../system/data-folder.ts';
import { NODE_FILE_SYSTEM } from '../system/file-system.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Random } from '../system/random.ts';
import { BUCKET_TIER_FOLDER, openBucketTier } from './bucket-tier-role.ts';
import type { OfflineStore } from './operator/offline-store.ts';
import type { StartProgress } from './start-progress.ts';
import { createStoreEvents, publishStoreCalls, publishStoreMetrics } from './store-metrics.ts';

/** What everything else stores in. */
export interface Stores {
  readonly blobs: BlobStore;
  readonly entries: EntryStore;
}

/** The stores, and what operators may ask of them. */
export interface OpenedStores extends Stores {
  readonly control: StoreControl;
  /** Of the bucket, if there is one. */
  readonly bucketStats?: () => BucketStats;
}

/** What opening a store takes in every process. */
interface StoreGround {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What opening the stores of a server takes. */
export interface StoresParts extends StoreGround {
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly progress: StartProgress;
  /** The bucket behind the local store, if there is one. */
  readonly s3: S3Options | undefined;
  /** Ends a start that waits for S3. */
  readonly signal: AbortSignal;
  /** Told of entries that room was made of: SHA-256 of the key in hex, and the time since its last use. */
  readonly onEntryEvicted: (hash: string, ageSeconds: number) => void;
}

/** Bytes of an entry beside the action result: its key and header. */
const ENTRY_OVERHEAD_BYTES = 4096;

/** The index is written down this often: a start after a crash replays what came after. */
const CHECKPOINT_MS = 300_000;

/** Where the parts of a store are in the data folder. `entries` is of the earlier version. */
const FOLDERS = { segments: 'segments', files: 'blobs', earlierEntries: 'entries' };

/** A limit that no disk has: a store that is only looked at is not made smaller. */
const NO_LIMIT_BYTES = 2 ** 50;

/** What was used that shortly before the server stopped is not thrown away: it will be promised still when it starts again. */
const OFFLINE_RETENTION_MS = 600_000;

/** What the local store promises if there is a bucket, which makes the longer promise: it may forget what the bucket has. */
const CACHE_RETENTION_MS = 60_000;

/** Opens blobs and entries in the data folder, and the bucket behind them; the lifecycle closes them. @throws as the stores do. */
export async function openStores(folder: DataFolder, config: Config, parts: StoresParts): Promise<OpenedStores> {
  const { clock, metrics, lifecycle, onEntryEvicted, s3 } = parts;
  const counted = createStoreEvents(metrics);
  const events: StoreEvents = {
    ...counted,
    evicted: (eviction) => {
      counted.evicted(eviction);
      // With a bucket it is only a copy.
      if (eviction.what === 'entry' && s3 === undefined) onEntryEvicted(eviction.hash, eviction.ageSeconds);
    },
  };
  const { store } = config;
  const maxEntryBytes = config.actionCache.maxResultBytes + ENTRY_OVERHEAD_BYTES;
  const retentionMs = store.minRetentionSeconds * 1000;
  let tier: BucketTier | undefined;
  const local = await LocalStore.open(foldersIn(folder), {
    ...optionsOf(parts, events),
    sync: store.sync,
    maxBytes: store.maxSizeBytes,
    minFreeBytes: store.minFreeBytes,
    minRetentionMs: s3 === undefined ? retentionMs : Math.min(retentionMs, CACHE_RETENTION_MS),
    maxLeasedShare: store.maxLeasedShare,
    maxEntryBytes,
    // Until the bucket is known nothing may go that might be nowhere else.
    ...(s3 && { guard: { mayEvict: (key) => tier?.mayEvict(key) ?? config.s3.durability === 's3' } }),
  });
  lifecycle.add('the store', () => local.close());
  await migrate(folder, local, parts.log);
  publishStoreMetrics(metrics, () => local.stats());
  const calls = new StoreCalls();
  publishStoreCalls(metrics, calls);
  if (s3 === undefined) forgetMarks(NODE_FILE_SYSTEM, folder.sub(BUCKET_TIER_FOLDER));
  else {
    tier = await openBucketTier(config, s3, {
      ...{ ...parts, folder, local, maxEntryBytes },
      onEntryForgotten: onEntryEvicted,
    });
  }
  const opened = tier;
  const { blobs, entries } = opened ?? local;
  return {
    ...{ blobs: new MeteredBlobStore(blobs, calls, clock), entries, control: local },
    ...(opened && { bucketStats: () => opened.stats() }),
  };
}

/** Opens the store of a stopped server, to look at it. @throws precondition if a process owns the folder; unavailable. */
export async function openOfflineStore(dataFolder: string, parts: StoreGround): Promise<OfflineStore> {
  const folder = await DataFolder.open(dataFolder);
  try {
    const folders = foldersIn(folder);
    const local = await LocalStore.open(folders, {
      segmentBytes: largestSegmentBytes(folders.segments),
      ...optionsOf(parts, { committed: () => undefined, evicted: () => undefined, refused: () => undefined }),
      sync: 'group',
      maxBytes: NO_LIMIT_BYTES,
      minFreeBytes: 0,
      minRetentionMs: OFFLINE_RETENTION_MS,
      maxLeasedShare: 1,
      maxEntryBytes: 0,
      // Only the server knows what of it the bucket has.
      ...(existsSync(folder.sub(BUCKET_TIER_FOLDER)) && { guard: { mayEvict: () => false } }),
    });
    const close = async (): Promise<void> => {
      await local.close();
      await folder.release();
    };
    return { control: local, close };
  } catch (error) {
    await folder.release();
    throw error;
  }
}

/** What is copied forward goes to segments no larger than those there are: their server's limit may be small. */
function largestSegmentBytes(folder: string): number {
  if (!existsSync(folder)) return MIN_SEGMENT_BYTES;
  const sizes = readdirSync(folder)
    .filter((name) => name.endsWith('.segment'))
    .map((name) => statSync(join(folder, name)).size);
  return Math.max(MIN_SEGMENT_BYTES, ...sizes);
}

function foldersIn(folder: DataFolder) {
  return { segments: folder.sub(FOLDERS.segments), files: folder.sub(FOLDERS.files) };
}

function optionsOf({ clock, random, log }: StoreGround, events: StoreEvents) {
  return { clock, random, log, events, checkpointMs: CHECKPOINT_MS };
}

/** Action results of the earlier version become records. They are worth a rebuild each: room for them is not forced. */
async function migrate(folder: DataFolder, local: LocalStore, log: Log): Promise<void> {
  const earlier = folder.sub(FOLDERS.earlierEntries);
  if (!existsSync(earlier)) return;
  log.info('moving the action results of the earlier version into the store');
  const dropped = { count: 0 };
  const { entries } = local;
  const into = {
    async putWritten(key: string, value: Uint8Array, writtenMs: number, signal: AbortSignal): Promise<void> {
      try {
        await entries.putWritten(key, value, writtenMs, signal);
      } catch (error) {
        if (!isKind(error, 'quota-exceeded')) throw error;
        dropped.count++;
      }
    },
  };
  const moved = await migrateFileEntries(earlier, into, {
    files: NODE_FILE_SYSTEM,
    log,
    signal: new AbortController().signal,
    onProgress: (done, total) => log.info({ done, total }, 'moving action results'),
  });
  log.info({ moved: moved - dropped.count, dropped: dropped.count }, 'the action results were moved');
}
