import type { BucketStats } from '../cas/s3/bucket-stats.ts';
import { BucketTier, type BucketTierOptions } from '../cas/s3/bucket-tier.ts';
import { LOCAL_ENTRY_OVERHEAD_BYTES } from '../cas/s3/local-entry.ts';
import type { LocalTier } from '../cas/s3/local-tier.ts';
import { RequestCounts } from '../cas/s3/request-counts.ts';
import { createS3Client } from '../cas/s3/s3-client.ts';
import { S3ObjectStore } from '../cas/s3/s3-object-store.ts';
import type { S3Options } from '../cas/s3/s3-options.ts';
import type { Config } from '../config/load.ts';
import type { Clock } from '../system/clock.ts';
import type { DataFolder } from '../system/data-folder.ts';
import { NODE_FILE_SYSTEM } from '../system/file-system.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Random } from '../system/random.ts';
import { publishBucketMetrics, publishS3Requests } from './bucket-metrics.ts';
import type { StartProgress } from './start-progress.ts';

/** Blobs up to this size share an object. */
const MAX_PACKED_BLOB_BYTES = 1024 * 1024;

/** Statistics of the same scrape are not older than that. */
const MAX_SCRAPE_MS = 500;

/** Folder of the tier in the data folder. */
export const BUCKET_TIER_FOLDER = 's3';

/** What opening the S3 tier takes. */
export interface BucketTierParts {
  readonly folder: DataFolder;
  readonly local: LocalTier;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly progress: StartProgress;
  /** Ends a start that waits for S3. */
  readonly signal: AbortSignal;
  /** Bytes of the largest entry that the local tier takes. */
  readonly maxEntryBytes: number;
  /** Told of entries that were not used for long: SHA-256 of the key in hex, and the time since their last use. */
  readonly onEntryForgotten: (hash: string, ageSeconds: number) => void;
}

/** Opens the bucket behind the local tier; the lifecycle closes it. @throws as `BucketTier.open`. */
export async function openBucketTier(config: Config, s3: S3Options, parts: BucketTierParts): Promise<BucketTier> {
  const { folder, local, clock, random, log, metrics, lifecycle, progress, signal } = parts;
  const client = createS3Client(s3);
  lifecycle.add('the connections to S3', async () => client.destroy());
  const counts = new RequestCounts();
  publishS3Requests(metrics, counts);
  const objects = new S3ObjectStore(client, s3, { clock, random, counts });
  progress.waiting(`waiting for S3: bucket ${s3.bucket}`);
  const tier = await BucketTier.open(
    {
      ...{ objects, local, clock, random, log, files: NODE_FILE_SYSTEM },
      folder: folder.sub(BUCKET_TIER_FOLDER),
      onProgress: (state) => progress.recovering(state),
      onForgotten: ({ hash, entry }, ageSeconds) => {
        if (entry !== undefined) parts.onEntryForgotten(hash, ageSeconds);
      },
    },
    tierOptions(config, parts.maxEntryBytes),
    signal,
  );
  lifecycle.add('the S3 tier', (graceMs) => tier.close(graceMs));
  publishBucketMetrics(
    metrics,
    oncePerScrape(clock, () => tier.stats()),
  );
  return tier;
}

/** Statistics go through all containers; a scrape asks for them once a metric. */
function oncePerScrape(clock: Clock, read: () => BucketStats): () => BucketStats {
  let last: { readonly stats: BucketStats; readonly atMs: number } | undefined;
  return () => {
    const atMs = clock.monotonicMs();
    if (last === undefined || atMs - last.atMs > MAX_SCRAPE_MS) last = { stats: read(), atMs };
    return last.stats;
  };
}

function tierOptions({ s3, store }: Config, maxEntryBytes: number): BucketTierOptions {
  return {
    durability: s3.durability,
    maxBacklogBytes: s3.maxBacklogBytes,
    uploadWaitMs: s3.uploadWaitSeconds * 1000,
    refreshMs: s3.refreshSeconds * 1000,
    promiseSeconds: store.minRetentionSeconds,
    retentionSeconds: s3.retentionDays * 86_400,
    maxBytes: s3.maxSizeBytes,
    packBytes: s3.packBytes,
    maxSmallPacksPerSecond: s3.maxSmallPacksPerSecond,
    maxPackedBlobBytes: MAX_PACKED_BLOB_BYTES,
    maxEntryBytes: maxEntryBytes - LOCAL_ENTRY_OVERHEAD_BYTES,
    maxConcurrentRequests: s3.maxConcurrentRequests,
  };
}
