import assert from 'node:assert/strict';
import type { StoreStats } from '../cas/segment/store-report.ts';
import { StoreCalls } from '../cas/store-calls.ts';
import { ReapiError } from '../errors.ts';
import { Metrics } from '../system/metrics.ts';
import { createStoreEvents, publishStoreCalls, publishStoreMetrics } from './store-metrics.ts';

const STATS: StoreStats = {
  ...{ maxBytes: 1000, segmentBytes: 300, segments: 2, fileBytes: 200, files: 3, otherBytes: 10 },
  ...{ blobs: 40, entries: 5, liveBytes: 250, leasedBytes: 100, maxLeasedBytes: 800 },
  ...{ indexRows: 45, indexBuckets: 180, indexMemoryBytes: 4096, oldestAgeSeconds: 77 },
  ...{ evictedBlobs: 6, evictedEntries: 7, copiedBytes: 80, quarantined: 1 },
};

/** The samples of a registry: what stands before the value, and the value. */
async function samplesOf(metrics: Metrics): Promise<Record<string, number>> {
  const lines = (await metrics.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

describe('publishStoreMetrics', () => {
  it('shows size, limit, leases and index as they are at each look', async () => {
    const metrics = new Metrics();
    let stats = STATS;
    publishStoreMetrics(metrics, () => stats);
    assert.deepEqual(await samplesOf(metrics), {
      'gantry_store_size_bytes{part="segments"}': 300,
      'gantry_store_size_bytes{part="files"}': 200,
      'gantry_store_size_bytes{part="other"}': 10,
      gantry_store_limit_bytes: 1000,
      gantry_store_live_bytes: 250,
      gantry_store_segments: 2,
      'gantry_store_blobs{part="segments"}': 40,
      'gantry_store_blobs{part="files"}': 3,
      gantry_store_entries: 5,
      gantry_store_oldest_age_seconds: 77,
      gantry_store_leased_bytes: 100,
      gantry_store_leased_limit_bytes: 800,
      gantry_store_leased_share: 0.1,
      gantry_store_index_rows: 45,
      gantry_store_index_buckets: 180,
      gantry_store_index_fill: 0.25,
      gantry_store_index_memory_bytes: 4096,
      gantry_store_copied_forward_bytes_total: 80,
      gantry_store_quarantined_total: 1,
    });
    stats = { ...STATS, segmentBytes: 301, quarantined: 2, indexBuckets: 0 };
    const later = await samplesOf(metrics);
    assert.equal(later['gantry_store_size_bytes{part="segments"}'], 301);
    assert.equal(later['gantry_store_quarantined_total'], 2);
    assert.equal(later['gantry_store_index_fill'], 0);
  });

  it('tells Prometheus which are counters', async () => {
    const metrics = new Metrics();
    publishStoreMetrics(metrics, () => STATS);
    const text = await metrics.text();
    assert.match(text, /^# TYPE gantry_store_quarantined_total counter$/m);
    assert.match(text, /^# TYPE gantry_store_size_bytes gauge$/m);
  });
});

describe('createStoreEvents', () => {
  it('counts evictions with bytes and age, by what went', async () => {
    const metrics = new Metrics();
    const events = createStoreEvents(metrics);
    events.evicted({ what: 'blob', hash: 'aa', sizeBytes: 10, ageSeconds: 3600 });
    events.evicted({ what: 'blob', hash: 'bb', sizeBytes: 20, ageSeconds: 1e9 });
    events.evicted({ what: 'entry', hash: 'cc', sizeBytes: 5, ageSeconds: 0 });
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_store_evictions_total{what="blob"}'], 2);
    assert.equal(samples['gantry_store_evictions_total{what="entry"}'], 1);
    assert.equal(samples['gantry_store_evicted_bytes_total{what="blob"}'], 30);
    assert.equal(samples['gantry_store_evicted_age_seconds_bucket{le="600",what="blob"}'], 0);
    assert.equal(samples['gantry_store_evicted_age_seconds_bucket{le="3600",what="blob"}'], 1);
    assert.equal(samples['gantry_store_evicted_age_seconds_bucket{le="+Inf",what="blob"}'], 2);
  });

  it('measures commits: records, bytes and time', async () => {
    const metrics = new Metrics();
    const events = createStoreEvents(metrics);
    events.committed({ records: 3, bytes: 5000, seconds: 0.002 });
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_store_group_records_bucket{le="2"}'], 0);
    assert.equal(samples['gantry_store_group_records_bucket{le="4"}'], 1);
    assert.equal(samples['gantry_store_group_bytes_sum'], 5000);
    assert.equal(samples['gantry_store_commit_seconds_bucket{le="0.0025"}'], 1);
    assert.equal(samples['gantry_store_commit_seconds_count'], 1);
  });

  it('counts refusals by reason, at zero until there is one', async () => {
    const metrics = new Metrics();
    const events = createStoreEvents(metrics);
    events.refused('leased');
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_store_refusals_total{reason="leased"}'], 1);
    assert.equal(samples['gantry_store_refusals_total{reason="disk-full"}'], 0);
    assert.equal(samples['gantry_store_refusals_total{reason="too-large"}'], 0);
  });
});

describe('publishStoreCalls', () => {
  it('shows calls, bytes, durations and what lookups found', async () => {
    const metrics = new Metrics();
    const calls = new StoreCalls();
    publishStoreCalls(metrics, calls);
    calls.putBytes.succeeded(100, 0.000_01);
    calls.getBytes.failed(new ReapiError('blob-not-found', 'gone'), 0, 1);
    calls.lookedUp(10, 3);
    const samples = await samplesOf(metrics);
    assert.equal(samples['gantry_store_calls_total{operation="put-bytes",outcome="ok"}'], 1);
    assert.equal(samples['gantry_store_calls_total{operation="get-bytes",outcome="blob-not-found"}'], 1);
    assert.equal(samples['gantry_store_bytes_total{operation="put-bytes"}'], 100);
    assert.equal(samples['gantry_store_call_seconds_bucket{le="0.000005",operation="put-bytes"}'], 0);
    assert.equal(samples['gantry_store_call_seconds_bucket{le="0.00001",operation="put-bytes"}'], 1);
    assert.equal(samples['gantry_store_call_seconds_sum{operation="get-bytes"}'], 1);
    assert.equal(samples['gantry_store_lookups_total{result="present"}'], 7);
    assert.equal(samples['gantry_store_lookups_total{result="missing"}'], 3);
  });
});
