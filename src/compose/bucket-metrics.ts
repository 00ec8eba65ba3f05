import type { BucketStats } from '../cas/s3/bucket-stats.ts';
import { type RequestCounts, S3_OPERATIONS } from '../cas/s3/request-counts.ts';
import type { Metrics } from '../system/metrics.ts';

type Read = (stats: BucketStats) => number;

/** Shows what the bucket holds and how it is doing, asked for at each look. */
export function publishBucketMetrics(metrics: Metrics, stats: () => BucketStats): void {
  const gauge = (name: string, help: string, read: Read): void => {
    metrics.gauge({ name: `gantry_bucket_${name}`, help }, () => read(stats()));
  };
  const counter = (name: string, help: string, read: Read): void => {
    metrics.counterOf({ name: `gantry_bucket_${name}`, help }, () => read(stats()));
  };
  gauge('reachable', 'Whether S3 answers: 1 or 0.', ({ isReachable }) => (isReachable ? 1 : 0));
  gauge(
    'stale_seconds',
    'Age of the news of other servers; -1 before the first.',
    (bucket) => bucket.staleSeconds ?? -1,
  );
  gauge('blobs', 'Blobs in the bucket.', ({ blobs }) => blobs);
  gauge(
    'entries',
    'Action results in the bucket, removed ones that are remembered included.',
    ({ entries }) => entries,
  );
  gauge('packs', 'Objects that hold many small blobs.', ({ packs }) => packs);
  gauge('large_blobs', 'Objects that hold one large blob.', ({ largeBlobs }) => largeBlobs);
  gauge('condemned_objects', 'Objects that are going to be deleted.', ({ condemned }) => condemned);
  gauge('size_bytes', 'Bytes of all packs and large blobs.', ({ bytes }) => bytes);
  gauge('live_bytes', 'Of these, what is still referred to.', ({ liveBytes }) => liveBytes);
  gauge('damaged_packs', 'Packs whose index cannot be read.', ({ damagedPacks }) => damagedPacks);
  gauge('backlog_bytes', 'Accepted, and not in the bucket yet.', ({ backlogBytes }) => backlogBytes);
  gauge('backlog_limit_bytes', 'Above it writes are refused.', ({ maxBacklogBytes }) => maxBacklogBytes);
  gauge('pending_uploads', 'Blobs and action results on their way.', ({ pendingUploads }) => pendingUploads);
  gauge('other_servers', 'Other servers on the bucket that live.', ({ otherServers }) => otherServers);
  gauge('index_memory_bytes', 'Memory of the index of the bucket.', ({ indexMemoryBytes }) => indexMemoryBytes);
  counter(
    'refused_writes_total',
    'Writes refused because too much waits for S3.',
    ({ refusedWrites }) => refusedWrites,
  );
  counter('stored_packs_total', 'Packs stored.', ({ storedPacks }) => storedPacks);
  counter(
    'copied_forward_bytes_total',
    'Bytes copied out of objects before they go.',
    ({ copiedBytes }) => copiedBytes,
  );
  counter('deleted_objects_total', 'Objects deleted.', ({ deletedObjects }) => deletedObjects);
}

/** Shows the requests to S3: what they are is what they cost. */
export function publishS3Requests(metrics: Metrics, counts: RequestCounts): void {
  const labels = ['operation'];
  metrics.counterOf({ name: 'gantry_s3_requests_total', help: 'Requests to S3, repeated ones included.', labels }, () =>
    S3_OPERATIONS.map((operation) => ({ labels: { operation }, value: counts.of(operation).requests })),
  );
  metrics.counterOf(
    { name: 'gantry_s3_errors_total', help: 'Requests that failed, by code.', labels: ['operation', 'code'] },
    () =>
      S3_OPERATIONS.flatMap((operation) =>
        [...counts.of(operation).errors].map(([code, value]) => ({ labels: { operation, code }, value })),
      ),
  );
  metrics.counterOf(
    { name: 'gantry_s3_bytes_total', help: 'Bytes of bodies sent to and received from S3.', labels: ['direction'] },
    () => [
      { labels: { direction: 'sent' }, value: sum(counts, ({ sentBytes }) => sentBytes) },
      { labels: { direction: 'received' }, value: sum(counts, ({ receivedBytes }) => receivedBytes) },
    ],
  );
  metrics.histogramOf({ name: 'gantry_s3_request_seconds', help: 'Duration of requests to S3.' }, () =>
    S3_OPERATIONS.map((operation) => ({ labels: { operation }, histogram: counts.of(operation).seconds })),
  );
}

function sum(counts: RequestCounts, read: (row: ReturnType<RequestCounts['of']>) => number): number {
  return S3_OPERATIONS.reduce((total, operation) => total + read(counts.of(operation)), 0);
}
