import type { ActionKey } from '../digest/action-key.ts';
import type { Status } from '../gen/google/rpc/status.ts';
import type { RpcClient } from '../rpc/client.ts';
import { toWireStatus } from '../rpc/status.ts';
import type { Random } from '../system/random.ts';
import { RemoteActionCache, type ResultRecorder } from './remote-action-cache.ts';
import { RemoteScheduler, type SlotScheduler } from './remote-scheduler.ts';
import { RemoteStore, type StorageClients } from './remote-store.ts';
import type { WorkerStore } from './worker-store.ts';

/** A long poll of up to two minutes, and some time for the answer (R-BB-02). */
const IDLE_TIMEOUT_MS = 150_000;
const CALL_TIMEOUT_MS = 60_000;

/** A blob of this size is cheaper in a stream of its own. */
const MAX_SMALL_BYTES = 1_000_000;

/** The server as a worker sees it. */
export interface WorkerPeers {
  readonly scheduler: SlotScheduler;
  readonly recorder: ResultRecorder;
  readonly storeFor: (key: ActionKey) => WorkerStore;
  /** The wire form of a failure, for responses. */
  readonly statusOf: (error: unknown) => Status;
}

/** Settings of `remotePeers`. */
export interface RemotePeersOptions {
  /** Bytes of blobs in one batch call; at most what the storage announces (R-CAP-06). */
  readonly maxBatchBytes: number;
}

/**
 * Everything over connections to servers.
 * @param scheduler a connection of its own: a long poll must not wait behind transfers.
 * @param storage where the CAS and the action cache are; often the same server as the scheduler's.
 */
export function remotePeers(
  scheduler: RpcClient,
  storage: StorageClients,
  random: Random,
  options: RemotePeersOptions,
): WorkerPeers {
  const { maxBatchBytes } = options;
  return {
    scheduler: new RemoteScheduler(scheduler, { idleTimeoutMs: IDLE_TIMEOUT_MS, busyTimeoutMs: CALL_TIMEOUT_MS }),
    recorder: new RemoteActionCache(storage.writes, { callTimeoutMs: CALL_TIMEOUT_MS }),
    storeFor: ({ instance, action }) =>
      new RemoteStore(storage, random, {
        instance,
        digestFunction: action.function,
        maxBatchBytes,
        maxSmallBytes: Math.min(MAX_SMALL_BYTES, maxBatchBytes),
        callTimeoutMs: CALL_TIMEOUT_MS,
      }),
    statusOf: toWireStatus,
  };
}
