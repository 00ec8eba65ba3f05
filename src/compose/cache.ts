import { actionCacheMethods } from '../action-cache/action-cache-service.ts';
import type { ActionStore } from '../action-cache/action-store.ts';
import { CompleteActionStore } from '../action-cache/complete-action-store.ts';
import { EntryActionStore } from '../action-cache/entry-action-store.ts';
import { lookUpResult, removeResult } from '../action-cache/look-up-result.ts';
import { DEFAULT_EXPLAINER_LIMITS, HistoryExplainer } from '../action-cache/misses/history-explainer.ts';
import type { MissHistory } from '../action-cache/misses/miss-history.ts';
import type { MissExplainer } from '../action-cache/misses/miss-report.ts';
import { type LookupOutcome, MissWatch } from '../action-cache/misses/miss-watch.ts';
import type { ResultObserver } from '../action-cache/misses/result-observer.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { BlobBytes } from '../cas/blob-bytes.ts';
import { casMethods } from '../cas/cas-service.ts';
import { Uploads } from '../cas/uploads.ts';
import type { Config } from '../config/load.ts';
import type { ActionKey } from '../digest/action-key.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import type { ActionResult, RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { byteStreamMethods } from '../rpc/byte-stream-service.ts';
import { capabilitiesMethods } from '../rpc/capabilities-service.ts';
import type { Method } from '../rpc/methods.ts';
import type { Clock } from '../system/clock.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import { Semaphore } from '../system/semaphore.ts';
import { NODE_PROPERTIES } from './scheduling.ts';
import type { Stores } from './stores.ts';

/** What the cache stands on. */
export interface CacheDependencies extends Stores {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Whoever opens the stores tells it of entries that were evicted. */
  readonly history: MissHistory;
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
}

/** The cache's methods, and the complete results for execution. */
export interface CacheSide {
  readonly methods: readonly Method[];
  readonly results: ActionStore;
  /** Is to be told what becomes of executions. */
  readonly observer: ResultObserver;
  /** A complete result, or undefined. The observer is told. */
  readonly lookUp: (
    key: ActionKey,
    signal: AbortSignal,
    metadata: RequestMetadata | undefined,
  ) => Promise<ActionResult | undefined>;
  /** For operators: whether there was a result to remove. */
  readonly removeResult: (key: ActionKey, signal: AbortSignal) => Promise<boolean>;
  readonly explainer: MissExplainer;
}

/** Results with output directories that are checked for completeness at once: their Trees are held in memory. */
const MAX_COMPLETENESS_CHECKS = 16;

/** Joins stores and services of the cache. */
export function createCache(config: Config, dependencies: CacheDependencies): CacheSide {
  const { limits, actionCache, rpc } = config;
  const { blobs, clock, log, metrics, history, authorizer, instances } = dependencies;
  const access = { authorizer, instances };
  const results = createResults(config, dependencies);
  const observer = new MissWatch(history, { log, onLookup: lookupCounter(metrics) });
  const observed = { actions: results, observer };
  const uploads = new Uploads(blobs, clock, {
    suspendedTtlMs: limits.suspendedUploadSeconds * 1000,
    maxSuspended: limits.maxSuspendedUploads,
  });
  dependencies.lifecycle.add('uploads', async () => uploads.stop());
  const methods = [
    ...casMethods(blobs, access, {
      maxBatchTotalSizeBytes: limits.maxBatchTotalSizeBytes,
      maxBlobSizeBytes: limits.maxBlobSizeBytes,
      maxDigestsPerRequest: limits.maxDigestsPerRequest,
      maxMessageBytes: rpc.maxSendMessageBytes,
      maxTreeDirectories: limits.maxTreeDirectories,
      maxTreeDepth: limits.maxTreeDepth,
      maxDirectoriesPerPage: limits.maxTreePageDirectories,
    }),
    ...byteStreamMethods([new BlobBytes(blobs, uploads, { ...access, maxBlobSizeBytes: limits.maxBlobSizeBytes })]),
    ...actionCacheMethods(results, blobs, {
      ...access,
      maxMessageBytes: rpc.maxSendMessageBytes,
      maxResultBytes: actionCache.maxResultBytes,
      requireAction: actionCache.requireAction,
      maxActionBytes: limits.maxMessageBlobBytes,
      observer,
    }),
    ...capabilitiesMethods({
      ...access,
      cache: { maxBatchTotalSizeBytes: limits.maxBatchTotalSizeBytes, maxBlobSizeBytes: limits.maxBlobSizeBytes },
      execution: { nodeProperties: NODE_PROPERTIES },
    }),
  ];
  return {
    methods,
    results,
    observer,
    lookUp: async (key, signal, metadata) => (await lookUpResult(observed, key, metadata, signal))?.message,
    removeResult: (key, signal) => removeResult(observed, key, signal),
    explainer: new HistoryExplainer(
      { history, actions: results, blobs },
      { ...DEFAULT_EXPLAINER_LIMITS, maxMessageBytes: limits.maxMessageBlobBytes },
    ),
  };
}

function createResults(config: Config, dependencies: CacheDependencies): CompleteActionStore {
  const { limits, actionCache } = config;
  const { blobs, entries, clock, metrics, history } = dependencies;
  const results = new CompleteActionStore(
    new EntryActionStore(entries, { clock, maxAgeMs: actionCache.maxAgeSeconds * 1000 }),
    blobs,
    new Semaphore(MAX_COMPLETENESS_CHECKS),
    {
      maxTreeBytes: limits.maxMessageBlobBytes,
      maxTreeDirectories: limits.maxTreeDirectories,
      maxTreeDepth: limits.maxTreeDepth,
      maxDirectoryBytes: limits.maxMessageBlobBytes,
      treeCacheBytes: actionCache.treeCacheBytes,
    },
  );
  metrics.gauge(
    { name: 'gantry_action_cache_tree_bytes', help: 'Memory for what output directories are known to consist of.' },
    () => results.treeCacheBytes,
  );
  metrics.gauge(
    { name: 'gantry_miss_history_actions', help: 'Actions remembered to explain misses.' },
    () => history.reach.actions,
  );
  return results;
}

function lookupCounter(metrics: Metrics): (outcome: LookupOutcome) => void {
  const counts = new Map<LookupOutcome, number>();
  metrics.counterOf(
    {
      name: 'gantry_action_cache_lookups_total',
      help: 'Lookups of action results by outcome: hit, or the reason of the miss.',
      labels: ['outcome'],
    },
    () => [...counts].map(([outcome, value]) => ({ labels: { outcome }, value })),
  );
  return (outcome) => counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
}
