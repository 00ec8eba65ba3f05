import { isKind, ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import { Semaphore } from '../../system/semaphore.ts';
import { Backlog } from './backlog.ts';
import { identifyBucket } from './bucket-identity.ts';
import { BucketIndex } from './bucket-index.ts';
import type { BucketTierHost, BucketTierOptions } from './bucket-tier.ts';
import { BucketTime } from './bucket-time.ts';
import { BucketWriter } from './bucket-writer.ts';
import { Collector } from './collector.ts';
import { Condemnations } from './condemnations.ts';
import { ContainerLoader } from './container-loader.ts';
import { ContainerNumbers } from './container-numbers.ts';
import { Containers } from './containers.ts';
import { CopyForward } from './copy-forward.ts';
import { DurableBlobStore } from './durable-blob-store.ts';
import { DurableEntryStore } from './durable-entry-store.ts';
import type { LocalTier } from './local-tier.ts';
import type { ObjectStore } from './object-store.ts';
import { PackNeighbours } from './pack-neighbours.ts';
import { PackWriter } from './pack-writer.ts';
import { PartBudget } from './part-budget.ts';
import { Peers } from './peers.ts';
import { PendingUploads } from './pending-uploads.ts';
import { Promises } from './promises.ts';
import { RangeReader } from './range-reader.ts';
import { Refresh } from './refresh.ts';
import { S3Health } from './s3-health.ts';
import { type LoadedIndex, loadFromBucket, loadFromFolder, Snapshots } from './snapshots.ts';
import { type LastStop, TierFolder } from './tier-folder.ts';
import { untilDone } from './until-done.ts';
import { WatchedObjectStore } from './watched-object-store.ts';

/** Memory for parts of large blobs that are being read. */
const PART_BUDGET_BYTES = 256 * 1024 * 1024;

/** Large blobs that are stored in the bucket at the same time, each in parts. */
const MAX_LARGE_UPLOADS = 4;

/** When to try again what was not stored because the server stops: it is about to be started anew, or there is another one. */
const RETRY_MS = 1000;

/** Part of the request slots that reads of small blobs may take, so that packs always get through. */
const READ_SHARE = 0.5;

/** The parts of an S3 tier, put together. */
export interface TierParts {
  readonly objects: ObjectStore;
  readonly folder: TierFolder;
  readonly index: BucketIndex;
  /** The bucket that the index on this machine is of; undefined if it was empty or came from the bucket itself. */
  readonly expectedBucket: string | undefined;
  readonly numbers: ContainerNumbers;
  readonly time: BucketTime;
  readonly health: S3Health;
  readonly promises: Promises;
  readonly backlog: Backlog;
  readonly loader: ContainerLoader;
  readonly packs: PackWriter;
  readonly copies: CopyForward;
  readonly condemnations: Condemnations;
  readonly peers: Peers;
  readonly refresh: Refresh;
  readonly collector: Collector;
  readonly pending: PendingUploads;
  readonly snapshots: Snapshots;
  readonly blobs: DurableBlobStore;
  readonly entries: DurableEntryStore;
  /** How the last process left this machine. */
  readonly lastStop: LastStop;
  /** To be called once the index is complete: from then on things are stored in the bucket. */
  readonly connected: () => void;
  /** Gives up what is not stored and waits for what runs. */
  readonly close: () => Promise<void>;
}

/** Loads what is known of the bucket and puts the parts together. @throws as `BucketTier.open`. */
export async function createTierParts(
  host: BucketTierHost,
  options: BucketTierOptions,
  signal: AbortSignal,
): Promise<TierParts> {
  const { clock, random, log, local, files } = host;
  const health = new S3Health(clock);
  const objects = new WatchedObjectStore(host.objects, health);
  const folder = new TierFolder(files, host.folder);
  const budget = new PartBudget(PART_BUDGET_BYTES);
  const start = await loadStart(host, { objects, folder, budget }, signal);
  const { index } = start;
  const ground = { objects, index, local, clock, random, log, time: new BucketTime(clock), health, folder };
  const { time } = ground;
  index.capTouched(time.now());
  const numbers = new ContainerNumbers(start.writer, random.token(4), index.containers);
  const promises = createPromises(clock, time, {
    writer: start.writer,
    wasUnclean: start.lastStop.wasRunning,
    options,
  });
  const backlog = new Backlog(options.maxBacklogBytes);
  const closing = new AbortController();
  const { promise: connected, resolve } = Promise.withResolvers<void>();
  const packs = new PackWriter({ ...ground, containers: index.containers, numbers, connected }, options);
  const writing = { ...ground, packs, numbers, connected, closing: closing.signal };
  const writer = new BucketWriter({ ...writing, largeSlots: new Semaphore(MAX_LARGE_UPLOADS) });
  const readAhead = new PackNeighbours({ ...ground, closing: closing.signal });
  const maxConcurrent = Math.max(1, Math.floor(options.maxConcurrentRequests * READ_SHARE));
  const reader = new RangeReader(objects, clock, { maxConcurrent, readAhead });
  const copies = new CopyForward({ ...ground, reader, packs, numbers }, options);
  const condemnations = new Condemnations({ ...ground, packs, copies, promises, onForgotten: host.onForgotten });
  const peers = new Peers(clock);
  const loader = new ContainerLoader(objects, index, log);
  const news = { ...ground, loader, condemnations, peers, promises, numbers };
  const pending = new PendingUploads(
    { ...ground, writer, backlog, closing: closing.signal },
    { ...options, ...start.lastStop },
  );
  const storing = { ...ground, reader, writer, pending, backlog, promises, partBudget: budget };
  return {
    ...{
      ...news,
      packs,
      copies,
      pending,
      backlog,
      expectedBucket: start.bucket,
      lastStop: start.lastStop,
      connected: resolve,
    },
    refresh: new Refresh(news, { refreshSeconds: Math.ceil(options.refreshMs / 1000) }),
    collector: new Collector(news, { ...options, writer: start.writer }),
    snapshots: new Snapshots(folder, objects, index, start.writer),
    blobs: new DurableBlobStore(storing, options),
    entries: new DurableEntryStore(storing, { ...options, writer: start.writer }),
    close: async () => {
      closing.abort(new ReapiError('unavailable', 'the S3 tier is closed', { retryAfterMs: RETRY_MS }));
      await packs.close();
      await pending.settled();
      await readAhead.settled();
    },
  };
}

interface Start {
  readonly index: BucketIndex;
  readonly writer: string;
  readonly bucket: string | undefined;
  /** How the last process left this machine, as far as that still counts. */
  readonly lastStop: LastStop;
}

/** The index of before, from this machine or else from the bucket; empty if there is none. */
async function loadStart(
  { random, log, clock, local }: BucketTierHost,
  parts: { readonly objects: ObjectStore; readonly folder: TierFolder; readonly budget: PartBudget },
  signal: AbortSignal,
): Promise<Start> {
  const { objects, folder, budget } = parts;
  const seed = Number.parseInt(random.token(4), 16);
  const lastStop = await lastStopOf(folder, local, signal);
  const writer = await folder.writer(random);
  const here = await loadFromFolder(folder, seed, log);
  if (here !== undefined) return { ...here, writer, lastStop };
  const failed = (error: unknown): void =>
    log.warn({ err: error }, 'waiting for S3: there is no index on this machine');
  const isFinal = (error: unknown): boolean => !isKind(error, 'unavailable') && !isKind(error, 'quota-exceeded');
  const there = await untilDone(() => load(), { clock, random, failed, isFinal }, signal);
  return {
    index: there?.index ?? new BucketIndex(new Containers(), seed),
    writer,
    bucket: undefined,
    // What was promised, and what was in the bucket, stood in the index.
    lastStop: { ...lastStop, wasRunning: true, wasIdle: false },
  };

  async function load(): Promise<LoadedIndex | undefined> {
    const bucket = await identifyBucket(objects, random, signal);
    const loaded = await loadFromBucket(objects, { seed, budget, log }, signal);
    return loaded?.bucket === bucket ? loaded : undefined;
  }
}

/** How this machine was left. Where there was nothing before the bucket, nothing has to be taken over. */
async function lastStopOf(folder: TierFolder, local: LocalTier, signal: AbortSignal): Promise<LastStop> {
  const lastStop = await folder.markRunning();
  if (lastStop.isTakenOver || !(await isEmpty(local, signal))) return lastStop;
  await folder.markTakenOver();
  return { ...lastStop, isTakenOver: true };
}

async function isEmpty(local: LocalTier, signal: AbortSignal): Promise<boolean> {
  let found = 0;
  local.forEachBlob(() => {
    found++;
  });
  if (found > 0) return false;
  await local.eachEntry(() => {
    found++;
  }, signal);
  return found === 0;
}

function createPromises(
  clock: Clock,
  time: BucketTime,
  {
    writer,
    wasUnclean,
    options,
  }: { readonly writer: string; readonly wasUnclean: boolean; readonly options: BucketTierOptions },
): Promises {
  const { refreshMs, promiseSeconds } = options;
  return new Promises(clock, time, { writer, refreshMs, retentionSeconds: promiseSeconds, wasUnclean });
}
