import type { ServerStats } from '../../admin/store-messages.ts';
import type { BucketStats } from '../../cas/s3/bucket-stats.ts';
import type { CheckReport, PruneReport } from '../../cas/segment/store-report.ts';
import { readableCount, readableDuration, readableShare, readableSize } from './readable.ts';
import { printable } from './terminal.ts';

type Row = readonly [string, string];

/** Statistics as a table for people. @param hasLimits false for a store that was opened to be looked at: limits are its server's. */
export function statsText(stats: ServerStats, hasLimits: boolean): string {
  const usedBytes = stats.segmentBytes + stats.fileBytes + stats.otherBytes;
  const share = hasLimits ? ` (${readableShare(usedBytes, stats.maxBytes)})` : '';
  const rows: readonly Row[] = [
    ['limit', hasLimits ? readableSize(stats.maxBytes) : 'that of its server'],
    ['used', `${readableSize(usedBytes)}${share}`],
    ['  segments', `${readableSize(stats.segmentBytes)} in ${readableCount(stats.segments)} files`],
    ['  other blobs', `${readableSize(stats.fileBytes)} in ${readableCount(stats.files)} files of their own`],
    ['  overhead', `${readableSize(stats.otherBytes)} for index, lease log and quarantine`],
    ['live', `${readableSize(stats.liveBytes)} of the segments`],
    [
      'leased',
      hasLimits
        ? `${readableSize(stats.leasedBytes)} of at most ${readableSize(stats.maxLeasedBytes)}`
        : 'as long as its server says',
    ],
    ['records', `${readableCount(stats.blobs)} blobs and ${readableCount(stats.entries)} entries in segments`],
    [
      'index',
      `${readableCount(stats.indexRows)} rows, ${readableCount(stats.indexBuckets)} buckets, ${readableSize(stats.indexMemoryBytes)} of memory`,
    ],
    ['oldest', stats.oldestAgeSeconds === 0 ? '–' : `written ${readableDuration(stats.oldestAgeSeconds)} ago`],
    [
      'since start',
      `${readableCount(stats.evictedBlobs)} blobs and ${readableCount(stats.evictedEntries)} entries evicted, ${readableSize(stats.copiedBytes)} copied, ${readableCount(stats.quarantined)} put aside as damaged`,
    ],
  ];
  return tableText([...rows, ...(stats.bucket === undefined ? [] : bucketRows(stats.bucket))]);
}

function bucketRows(bucket: BucketStats): readonly Row[] {
  const { blobs, entries, packs, largeBlobs, condemned, bytes, liveBytes, damagedPacks, staleSeconds } = bucket;
  const news =
    staleSeconds === undefined ? 'no news of them yet' : `news of them is ${readableDuration(staleSeconds)} old`;
  const limit = `${readableSize(bucket.backlogBytes)} of at most ${readableSize(bucket.maxBacklogBytes)}`;
  return [
    ['bucket', bucket.isReachable ? 'S3 answers' : 'S3 DOES NOT ANSWER'],
    [
      '  objects',
      `${readableSize(bytes)} in ${readableCount(packs)} packs and ${readableCount(largeBlobs)} large blobs; ${readableCount(condemned)} are about to be deleted`,
    ],
    [
      '  live',
      `${readableSize(liveBytes)} (${readableShare(liveBytes, bytes)}): ${readableCount(blobs)} blobs and ${readableCount(entries)} entries`,
    ],
    ...(damagedPacks === 0 ? [] : [['  DAMAGED', `${readableCount(damagedPacks)} packs cannot be read`] as const]),
    ['  backlog', `${limit}, ${readableCount(bucket.pendingUploads)} uploads`],
    ['  servers', `${readableCount(bucket.otherServers)} others; ${news}`],
    ['  index', `${readableSize(bucket.indexMemoryBytes)} of memory`],
    [
      '  since start',
      `${readableCount(bucket.storedPacks)} packs stored, ${readableSize(bucket.copiedBytes)} copied, ${readableCount(bucket.deletedObjects)} objects deleted, ${readableCount(bucket.refusedWrites)} writes refused`,
    ],
  ];
}

function tableText(rows: readonly Row[]): string {
  return rows.map(([name, value]) => `${name.padEnd(15)}${value}\n`).join('');
}

/** What a check found: the damage, one a line, then the sum. */
export function checkText({ blobs, entries, bytes, damaged, damage }: CheckReport): string {
  const lines = damage.map(({ what, name, reason }) => `damaged ${what} ${printable(name)}: ${printable(reason)}\n`);
  if (damaged > damage.length) lines.push(`… and ${readableCount(damaged - damage.length)} more\n`);
  const read = `${readableCount(blobs)} blobs and ${readableCount(entries)} entries, ${readableSize(bytes)}`;
  const sum =
    damaged === 0 ? 'no damage' : `${readableCount(damaged)} damaged and put aside; they are missing from now on`;
  return `${lines.join('')}checked ${read}: ${sum}\n`;
}

/** What a prune did. */
export function pruneText(report: PruneReport, targetBytes: number): string {
  const { freedBytes, evictedBlobs, evictedEntries, sizeBytes } = report;
  const what = `${readableCount(evictedBlobs)} blobs and ${readableCount(evictedEntries)} entries`;
  const more = sizeBytes > targetBytes ? ', more than asked for: the rest is leased or overhead' : '';
  return `freed ${readableSize(freedBytes)}, ${what}; the store takes ${readableSize(sizeBytes)} now${more}\n`;
}
