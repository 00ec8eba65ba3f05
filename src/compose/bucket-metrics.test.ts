import assert from 'node:assert/strict';
import type { BucketStats } from '../cas/s3/bucket-stats.ts';
import { RequestCounts } from '../cas/s3/request-counts.ts';
import { Metrics } from '../system/metrics.ts';
import { publishBucketMetrics, publishS3Requests } from './bucket-metrics.ts';

const STATS: BucketStats = {
  ...{ isReachable: true, staleSeconds: 12.5, blobs: 1, entries: 2, packs: 3, largeBlobs: 4, condemned: 5 },
  ...{ bytes: 6, liveBytes: 7, damagedPacks: 8, backlogBytes: 9, maxBacklogBytes: 10, pendingUploads: 11 },
  ...{ refusedWrites: 12, storedPacks: 13, copiedBytes: 14, deletedObjects: 15, otherServers: 16 },
  indexMemoryBytes: 17,
};

/** The samples of a registry: what stands before the value, and the value. */
async function samplesOf(metrics: Metrics): Promise<Record<string, number>> {
  const lines = (await metrics.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

describe('publishBucketMetrics', () => {
  it('shows the bucket as it is at each look', async () => {
    const metrics = new Metrics();
    let stats = STATS;
    publishBucketMetrics(metrics, () => stats);
    assert.deepEqual(await samplesOf(metrics), {
      gantry_bucket_reachable: 1,
      gantry_bucket_stale_seconds: 12.5,
      gantry_bucket_blobs: 1,
      gantry_bucket_entries: 2,
      gantry_bucket_packs: 3,
      gantry_bucket_large_blobs: 4,
      gantry_bucket_condemned_objects: 5,
      gantry_bucket_size_bytes: 6,
      gantry_bucket_live_bytes: 7,
      gantry_bucket_damaged_packs: 8,
      gantry_bucket_backlog_bytes: 9,
      gantry_bucket_backlog_limit_bytes: 10,
      gantry_bucket_pending_uploads: 11,
      gantry_bucket_other_servers: 16,
      gantry_bucket_index_memory_bytes: 17,
      gantry_bucket_refused_writes_total: 12,
      gantry_bucket_stored_packs_total: 13,
      gantry_bucket_copied_forward_bytes_total: 14,
      gantry_bucket_deleted_objects_total: 15,
    });
    stats = { ...STATS, isReachable: false, staleSeconds: undefined };
    const later = await samplesOf(metrics);
    assert.equal(later['gantry_bucket_reachable'], 0);
    assert.equal(later['gantry_bucket_stale_seconds'], -1);
  });

  it('tells Prometheus which are counters', async () => {
    const metrics = new Metrics();
    publishBucketMetrics(metrics, () => STATS);
    const text = await metrics.text();
    assert.match(text, /^# TYPE gantry_bucket_stored_packs_total counter$/m);
    assert.match(text, /^# TYPE gantry_bucket_backlog_bytes gauge$/m);
  });
});

describe('publishS3Requests', () => {
  it('shows requests, errors by code, bytes and seconds', async () => {
    const metrics = new Metrics();
    const counts = new RequestCounts();
    publishS3Requests(metrics, counts);
    counts.record('get', { seconds: 0.02, sentBytes: 0, receivedBytes: 100 });
    counts.record('get', { seconds: 0.02, sentBytes: 0, receivedBytes: 0, error: 'NoSuchKey' });
    counts.record('put', { seconds: 0.5, sentBytes: 70, receivedBytes: 0 });
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_s3_requests_total{operation="get"}'], 2);
    assert.equal(samples['gantry_s3_requests_total{operation="put"}'], 1);
    assert.equal(samples['gantry_s3_requests_total{operation="list"}'], 0);
    assert.equal(samples['gantry_s3_errors_total{operation="get",code="NoSuchKey"}'], 1);
    assert.equal(samples['gantry_s3_bytes_total{direction="sent"}'], 70);
    assert.equal(samples['gantry_s3_bytes_total{direction="received"}'], 100);
    assert.equal(samples['gantry_s3_request_seconds_count{operation="put"}'], 1);
  });
});
