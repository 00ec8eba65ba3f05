import { actionCacheMethods } from '../action-cache/action-cache-service.ts';
import type { ActionStore } from '../action-cache/action-store.ts';
import { CompleteActionStore } from '../action-cache/complete-action-store.ts';
import { EntryActionStore } from '../action-cache/entry-action-store.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { BlobBytes } from '../cas/blob-bytes.ts';
import { casMethods } from '../cas/cas-service.ts';
import { Uploads } from '../cas/uploads.ts';
import type { Config } from '../config/load.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import { byteStreamMethods } from '../rpc/byte-stream-service.ts';
import { capabilitiesMethods } from '../rpc/capabilities-service.ts';
import type { Method } from '../rpc/methods.ts';
import type { Clock } from '../system/clock.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import { Semaphore } from '../system/semaphore.ts';
import { NODE_PROPERTIES } from './execution.ts';
import type { Stores } from './stores.ts';

/** What the cache stands on. */
export interface CacheDependencies extends Stores {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
}

/** The cache's methods, and the complete results for execution. */
export interface CacheSide {
  readonly methods: readonly Method[];
  readonly results: ActionStore;
}

/** Results with output directories that are checked for completeness at once: their Trees are held in memory. */
const MAX_COMPLETENESS_CHECKS = 16;

/** Joins stores and services of the cache. */
export function createCache(config: Config, dependencies: CacheDependencies): CacheSide {
  const { limits, actionCache, rpc } = config;
  const { blobs, entries, clock, authorizer, instances } = dependencies;
  const access = { authorizer, instances };
  const results = new CompleteActionStore(
    new EntryActionStore(entries),
    blobs,
    new Semaphore(MAX_COMPLETENESS_CHECKS),
    {
      maxTreeBytes: limits.maxMessageBlobBytes,
      maxTreeDirectories: limits.maxTreeDirectories,
      maxTreeDepth: limits.maxTreeDepth,
      maxDirectoryBytes: limits.maxMessageBlobBytes,
    },
  );
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
    }),
    ...capabilitiesMethods({
      ...access,
      cache: { maxBatchTotalSizeBytes: limits.maxBatchTotalSizeBytes, maxBlobSizeBytes: limits.maxBlobSizeBytes },
      execution: { nodeProperties: NODE_PROPERTIES },
    }),
  ];
  return { methods, results };
}
