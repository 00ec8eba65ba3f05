import type { BlobStore } from '../cas/blob-store.ts';
import { FileBlobStore } from '../cas/file-blob-store.ts';
import { MeteredBlobStore, type StoreCall } from '../cas/metered-blob-store.ts';
import type { Config } from '../config/load.ts';
import type { EntryStore } from '../entries/entry-store.ts';
import { FileEntryStore } from '../entries/file-entry-store.ts';
import type { FolderStats } from '../system/bounded-folder.ts';
import type { Clock } from '../system/clock.ts';
import type { DataFolder } from '../system/data-folder.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { GaugeValue, Metrics } from '../system/metrics.ts';

/** What everything else stores in. */
export interface Stores {
  readonly blobs: BlobStore;
  readonly entries: EntryStore;
}

/** What opening the stores takes. */
export interface StoresParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
}

/** Bytes of an entry beside the action result: its key and header. */
const ENTRY_OVERHEAD_BYTES = 4096;

/** Opens blobs and entries in the data folder; the lifecycle closes them. @throws as the stores do. */
export async function openStores(folder: DataFolder, config: Config, parts: StoresParts): Promise<Stores> {
  const { clock, log, metrics, lifecycle } = parts;
  const shared = {
    clock,
    log,
    minFreeBytes: config.store.minFreeBytes,
    minRetentionMs: config.store.minRetentionSeconds * 1000,
    sync: config.store.sync,
  };
  const files = await FileBlobStore.open(folder.sub('blobs'), { ...shared, maxBytes: config.store.maxSizeBytes });
  lifecycle.add('the blob store', () => files.close());
  const entries = await FileEntryStore.open(folder.sub('entries'), {
    ...shared,
    maxBytes: config.actionCache.maxSizeBytes,
    maxEntryBytes: config.actionCache.maxResultBytes + ENTRY_OVERHEAD_BYTES,
    // A result may go at any time: it is a miss then. Only blobs are promised.
    minRetentionMs: 0,
  });
  lifecycle.add('the entry store', () => entries.close());
  publishStats(metrics, { blobs: () => files.stats(), entries: () => entries.stats() });
  return { blobs: new MeteredBlobStore(files, storeObserver(metrics), clock), entries };
}

function storeObserver(metrics: Metrics): { observe(call: StoreCall): void } {
  const calls = metrics.counter({
    name: 'gantry_store_calls_total',
    help: 'Calls to the blob store by operation and outcome.',
    labels: ['operation', 'outcome'],
  });
  const bytes = metrics.counter({
    name: 'gantry_store_bytes_total',
    help: 'Blob bytes read from and written to the store.',
    labels: ['operation'],
  });
  const lookups = metrics.counter({
    name: 'gantry_store_lookups_total',
    help: 'Digests asked for by FindMissingBlobs and completeness checks, by whether the blob was there.',
    labels: ['result'],
  });
  return {
    observe(call) {
      const { operation, outcome } = call;
      calls.add(1, { operation, outcome });
      if (call.bytes > 0) bytes.add(call.bytes, { operation });
      if (operation !== 'find-missing') return;
      lookups.add(call.missing, { result: 'missing' });
      lookups.add(call.blobs - call.missing, { result: 'present' });
    },
  };
}

type StatsByStore = Readonly<Record<string, () => FolderStats>>;

function publishStats(metrics: Metrics, stores: StatsByStore): void {
  const gauge = (name: string, help: string, read: (stats: FolderStats) => number): void => {
    metrics.gauge({ name, help, labels: ['store'] }, (): GaugeValue[] =>
      Object.entries(stores).map(([store, stats]) => ({ labels: { store }, value: read(stats()) })),
    );
  };
  gauge('gantry_store_size_bytes', 'Bytes on disk, rounded up to blocks.', (stats) => stats.bytes);
  gauge('gantry_store_limit_bytes', 'Most bytes on disk.', (stats) => stats.maxBytes);
  gauge('gantry_store_files', 'Blobs or entries stored.', (stats) => stats.files);
  gauge('gantry_store_evictions', 'Files evicted since the start.', (stats) => stats.evictions);
  gauge(
    'gantry_store_oldest_age_seconds',
    'Time since the last use of what goes next.',
    (stats) => stats.oldestAgeMs / 1000,
  );
  gauge('gantry_store_quarantined_files', 'Damaged files put aside.', (stats) => stats.quarantined);
}
