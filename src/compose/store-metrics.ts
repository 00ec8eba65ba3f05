import type { StoreEvents, StoreStats } from '../cas/segment/store-report.ts';
import type { StoreCalls } from '../cas/store-calls.ts';
import { FAST_SECONDS, Histogram } from '../system/histogram.ts';
import type { GaugeValue, Metrics } from '../system/metrics.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;

/** Upper bounds of ages in seconds: what is evicted within hours is evicted too early. */
const AGE_SECONDS = [10, 60, 600, HOUR, 4 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY];

/** Records of one commit. */
const GROUP_RECORDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** Bytes of one commit, from 1 KiB to 16 MiB. */
const GROUP_BYTES = [2 ** 10, 2 ** 12, 2 ** 14, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24];

type Read = (stats: StoreStats) => number;
type ReadParts = (stats: StoreStats) => Readonly<Record<string, number>>;

/** Shows what a store holds and has done, asked for at each look. */
export function publishStoreMetrics(metrics: Metrics, stats: () => StoreStats): void {
  const gauge = (name: string, help: string, read: Read): void => {
    metrics.gauge({ name, help }, () => read(stats()));
  };
  const byPart = (name: string, help: string, read: ReadParts): void => {
    metrics.gauge({ name, help, labels: ['part'] }, () => labelled('part', Object.entries(read(stats()))));
  };
  const counter = (name: string, help: string, read: Read): void => {
    metrics.counterOf({ name, help }, () => read(stats()));
  };
  byPart('gantry_store_size_bytes', 'Bytes on disk. The parts together stay under the limit.', (store) => ({
    segments: store.segmentBytes,
    files: store.fileBytes,
    other: store.otherBytes,
  }));
  gauge('gantry_store_limit_bytes', 'Most bytes on disk.', (store) => store.maxBytes);
  gauge('gantry_store_live_bytes', 'Bytes of records that are still referred to.', (store) => store.liveBytes);
  gauge('gantry_store_segments', 'Segment files.', (store) => store.segments);
  byPart('gantry_store_blobs', 'Blobs stored.', (store) => ({ segments: store.blobs, files: store.files }));
  gauge('gantry_store_entries', 'Action results stored.', (store) => store.entries);
  gauge(
    'gantry_store_oldest_age_seconds',
    'Time since the store began to write what it reclaims next.',
    (store) => store.oldestAgeSeconds,
  );
  gauge('gantry_store_leased_bytes', 'Bytes that may not be evicted yet.', (store) => store.leasedBytes);
  gauge(
    'gantry_store_leased_limit_bytes',
    'Above this many leased bytes writes are refused.',
    (store) => store.maxLeasedBytes,
  );
  gauge('gantry_store_leased_share', 'Leased bytes, as a part of the limit.', (store) =>
    share(store.leasedBytes, store.maxBytes),
  );
  gauge('gantry_store_index_rows', 'Rows of the index in use.', (store) => store.indexRows);
  gauge('gantry_store_index_buckets', 'Buckets of the index.', (store) => store.indexBuckets);
  gauge('gantry_store_index_fill', 'Rows in use, as a part of the buckets.', (store) =>
    share(store.indexRows, store.indexBuckets),
  );
  gauge('gantry_store_index_memory_bytes', 'Memory of the index.', (store) => store.indexMemoryBytes);
  counter(
    'gantry_store_copied_forward_bytes_total',
    'Bytes copied out of segments before they were reclaimed.',
    (store) => store.copiedBytes,
  );
  counter('gantry_store_quarantined_total', 'Damaged blobs and entries put aside.', (store) => store.quarantined);
}

/** Counts what a store does by itself. Each event costs some additions. */
export function createStoreEvents(metrics: Metrics): StoreEvents {
  const records = new Histogram(GROUP_RECORDS);
  const bytes = new Histogram(GROUP_BYTES);
  const seconds = new Histogram(FAST_SECONDS);
  metrics.histogramOf({ name: 'gantry_store_group_records', help: 'Records of one commit.' }, () => records);
  metrics.histogramOf({ name: 'gantry_store_group_bytes', help: 'Bytes of one commit.' }, () => bytes);
  metrics.histogramOf(
    { name: 'gantry_store_commit_seconds', help: 'Time to write and sync one commit.' },
    () => seconds,
  );
  const evicted = { blob: new Evicted(), entry: new Evicted() };
  publishEvictions(metrics, Object.entries(evicted));
  const refused = { leased: 0, 'disk-full': 0, 'too-large': 0 };
  metrics.counterOf(
    {
      name: 'gantry_store_refusals_total',
      help: 'Writes refused: leases hold too much, the file system is full, or it could never fit.',
      labels: ['reason'],
    },
    () => labelled('reason', Object.entries(refused)),
  );
  return {
    committed(group) {
      records.observe(group.records);
      bytes.observe(group.bytes);
      seconds.observe(group.seconds);
    },
    evicted: ({ what, sizeBytes, ageSeconds }) => evicted[what].add(sizeBytes, ageSeconds),
    refused: (reason) => {
      refused[reason]++;
    },
  };
}

/** Shows the calls to a store as `MeteredBlobStore` counts them. */
export function publishStoreCalls(metrics: Metrics, calls: StoreCalls): void {
  metrics.counterOf(
    {
      name: 'gantry_store_calls_total',
      help: 'Calls to the blob store by operation and outcome.',
      labels: ['operation', 'outcome'],
    },
    () =>
      calls.operations.flatMap(({ operation, outcomes }) =>
        [...outcomes].map(([outcome, value]) => ({ labels: { operation, outcome }, value })),
      ),
  );
  metrics.counterOf(
    {
      name: 'gantry_store_bytes_total',
      help: 'Blob bytes read from and written to the store.',
      labels: ['operation'],
    },
    () =>
      labelled(
        'operation',
        calls.operations.map(({ operation, bytes }) => [operation, bytes]),
      ),
  );
  metrics.histogramOf({ name: 'gantry_store_call_seconds', help: 'Duration of calls to the blob store.' }, () =>
    calls.operations.map(({ operation, seconds }) => ({ labels: { operation }, histogram: seconds })),
  );
  metrics.counterOf(
    {
      name: 'gantry_store_lookups_total',
      help: 'Digests looked up, by clients and by the server for results and inputs, by whether the blob was there.',
      labels: ['result'],
    },
    () => labelled('result', Object.entries(calls.lookups)),
  );
}

/** What left the store, of one kind. */
class Evicted {
  readonly ages = new Histogram(AGE_SECONDS);
  bytes = 0;

  add(sizeBytes: number, ageSeconds: number): void {
    this.ages.observe(ageSeconds);
    this.bytes += sizeBytes;
  }
}

function publishEvictions(metrics: Metrics, kinds: readonly (readonly [what: string, evicted: Evicted])[]): void {
  const labels = ['what'];
  metrics.counterOf(
    { name: 'gantry_store_evictions_total', help: 'What left the store because room was needed.', labels },
    () =>
      labelled(
        'what',
        kinds.map(([what, { ages }]) => [what, ages.count]),
      ),
  );
  metrics.counterOf({ name: 'gantry_store_evicted_bytes_total', help: 'Bytes that left the store.', labels }, () =>
    labelled(
      'what',
      kinds.map(([what, { bytes }]) => [what, bytes]),
    ),
  );
  metrics.histogramOf(
    { name: 'gantry_store_evicted_age_seconds', help: 'Time since the last use of what left the store.' },
    () => kinds.map(([what, { ages }]) => ({ labels: { what }, histogram: ages })),
  );
}

function labelled(label: string, values: readonly (readonly [text: string, value: number])[]): readonly GaugeValue[] {
  return values.map(([text, value]) => ({ labels: { [label]: text }, value }));
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
