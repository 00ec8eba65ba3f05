import type { BucketStats } from '../cas/s3/bucket-stats.ts';
import type { CheckReport, Damage, PruneReport, StoreProgress, StoreStats } from '../cas/segment/store-report.ts';
import {
  CheckStoreReport,
  Damage_Kind,
  PruneStoreReport,
  BucketStats as WireBucketStats,
  StoreProgress as WireProgress,
  StoreStats as WireStats,
} from '../gen/gantry/v1/admin.ts';

// The reports of a store as messages and back: the server and the operator's side agree on them here.

/** Statistics of a store and of the bucket behind it, if there is one. */
export interface ServerStats extends StoreStats {
  readonly bucket?: BucketStats;
}

/** The wire form of statistics. */
export function statsToWire(stats: ServerStats): WireStats {
  return WireStats.fromPartial({
    ...wholeToWire({
      maxBytes: stats.maxBytes,
      segmentBytes: stats.segmentBytes,
      segments: stats.segments,
      fileBytes: stats.fileBytes,
      files: stats.files,
      otherBytes: stats.otherBytes,
      blobs: stats.blobs,
      entries: stats.entries,
      liveBytes: stats.liveBytes,
      leasedBytes: stats.leasedBytes,
      maxLeasedBytes: stats.maxLeasedBytes,
      indexRows: stats.indexRows,
      indexBuckets: stats.indexBuckets,
      indexMemoryBytes: stats.indexMemoryBytes,
      evictedBlobs: stats.evictedBlobs,
      evictedEntries: stats.evictedEntries,
      copiedBytes: stats.copiedBytes,
      quarantined: stats.quarantined,
    }),
    oldestAgeSeconds: stats.oldestAgeSeconds,
    ...(stats.bucket && { bucket: bucketToWire(stats.bucket) }),
  });
}

/** Statistics from their wire form. */
export function statsFromWire(wire: WireStats): ServerStats {
  const { oldestAgeSeconds, bucket, ...whole } = wire;
  return { ...wholeFromWire(whole), oldestAgeSeconds, ...(bucket && { bucket: bucketFromWire(bucket) }) };
}

function bucketToWire({ isReachable, staleSeconds, ...whole }: BucketStats): WireBucketStats {
  return WireBucketStats.fromPartial({
    ...wholeToWire(whole),
    isReachable,
    ...(staleSeconds !== undefined && { staleSeconds }),
  });
}

function bucketFromWire({ isReachable, staleSeconds, ...whole }: WireBucketStats): BucketStats {
  return { ...wholeFromWire(whole), isReachable, staleSeconds };
}

/** The wire form of a progress. */
export function progressToWire({ doneBytes, totalBytes }: StoreProgress): WireProgress {
  return WireProgress.fromPartial(wholeToWire({ doneBytes, totalBytes }));
}

/** A progress from its wire form. */
export function progressFromWire({ doneBytes, totalBytes }: WireProgress): StoreProgress {
  return wholeFromWire({ doneBytes, totalBytes });
}

/** The wire form of what a check found. */
export function checkReportToWire({ blobs, entries, bytes, damaged, damage }: CheckReport): CheckStoreReport {
  return CheckStoreReport.fromPartial({
    ...wholeToWire({ blobs, entries, bytes, damaged }),
    damage: damage.map(({ what, name, reason }) => ({ kind: KINDS[what], name, reason })),
  });
}

/** What a check found from its wire form. */
export function checkReportFromWire({ damage, ...whole }: CheckStoreReport): CheckReport {
  return {
    ...wholeFromWire(whole),
    damage: damage.map(({ kind, name, reason }) => ({
      what: kind === Damage_Kind.ENTRY ? 'entry' : 'blob',
      name,
      reason,
    })),
  };
}

/** The wire form of what a prune did. */
export function pruneReportToWire(report: PruneReport): PruneStoreReport {
  const { freedBytes, evictedBlobs, evictedEntries, sizeBytes } = report;
  return PruneStoreReport.fromPartial(wholeToWire({ freedBytes, evictedBlobs, evictedEntries, sizeBytes }));
}

/** What a prune did from its wire form. */
export function pruneReportFromWire(wire: PruneStoreReport): PruneReport {
  return wholeFromWire(wire);
}

const KINDS: Readonly<Record<Damage['what'], Damage_Kind>> = { blob: Damage_Kind.BLOB, entry: Damage_Kind.ENTRY };

/** Every number as 64 bits; a limit that was computed as a share loses its fraction. */
function wholeToWire<K extends string>(numbers: Readonly<Record<K, number>>): Record<K, bigint> {
  return mapValues(numbers, (value) => BigInt(Math.floor(value)));
}

function wholeFromWire<K extends string>(numbers: Readonly<Record<K, bigint>>): Record<K, number> {
  return mapValues(numbers, Number);
}

function mapValues<K extends string, A, B>(values: Readonly<Record<K, A>>, map: (value: A) => B): Record<K, B> {
  const mapped: Partial<Record<K, B>> = {};
  for (const key in values) mapped[key] = map(values[key]);
  return mapped as Record<K, B>;
}
