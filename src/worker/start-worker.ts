import { mkdirSync } from 'node:fs';
import { digestOf } from '../digest/hasher.ts';
import type { InstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import type { PlatformProperty } from '../platform/platform.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Random } from '../system/random.ts';
import { CacheReporter } from './inputs/cache-report.ts';
import { Demand } from './inputs/demand.ts';
import { DirectoryCache } from './inputs/directory-cache.ts';
import { FileCache } from './inputs/file-cache.ts';
import { FileFetcher } from './inputs/file-fetcher.ts';
import { InputRoots } from './inputs/input-root.ts';
import type { TreeLimits } from './inputs/input-tree.ts';
import { type PrefetchCounters, Prefetcher } from './inputs/prefetcher.ts';
import { clearLeftovers } from './leftovers.ts';
import { LinuxProbe } from './machine-probe.ts';
import type { OutputLimits } from './outputs/output-tree.ts';
import { Uploader } from './outputs/upload.ts';
import { ProcessSandbox } from './process-sandbox.ts';
import type { WorkerPeers } from './remote-peers.ts';
import type { LeaseOptions, LeaseTools } from './run-lease.ts';
import { SlotRunner } from './slot-runner.ts';
import { Slot, type SlotCounters, type SlotNode } from './worker.ts';
import { WorkerNode } from './worker-node.ts';

/** What a worker is and may use. Limits have defaults in `WORKER_DEFAULTS`. */
export interface WorkerOptions extends WorkerLimits {
  /** Belongs to this worker alone: `cache` and `slots` below it. */
  readonly dataFolder: string;
  /** Name of the machine, unique in the fleet. */
  readonly node: string;
  readonly slots: number;
  readonly instanceNamePrefix: InstanceName;
  /** What `detectPlatform` returned. */
  readonly properties: readonly PlatformProperty[];
  /** Size of the file cache. */
  readonly cacheSizeBytes: number;
}

/** Limits of a worker. */
export interface WorkerLimits {
  /** 0 unless the scheduler uses size classes (R-BB-22). */
  readonly sizeClass: number;
  /** Further platforms, each instead of `properties` as a whole. */
  readonly alternatives: readonly (readonly PlatformProperty[])[];
  readonly maxCacheEntries: number;
  readonly directoryCacheBytes: number;
  readonly maxDirectoryCacheEntries: number;
  /** Downloads at a time, over all slots; as many uploads. */
  readonly maxTransfers: number;
  /** Whether inputs of actions that will probably come are fetched before they do. */
  readonly prefetch: boolean;
  readonly fetchTimeoutMs: number;
  readonly uploadTimeoutMs: number;
  readonly defaultTimeoutMs: number;
  readonly maxLogBytes: number;
  readonly inputs: TreeLimits;
  readonly outputs: OutputLimits;
  /** Variables every command gets unless it sets them itself. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Enough to tell the few workers of one machine apart. */
const WORKER_TAG_CHARACTERS = 8;

/** Downloads at a time that no lease waits for: they must not slow down those that one does. */
const PREFETCH_TRANSFERS = 2;

/** What may be fetched for one action before it comes, as a share of the cache: more would push out what others use. */
const PREFETCH_SHARE = 0.25;

/** Limits that suit a machine of a build fleet. */
export const WORKER_DEFAULTS: WorkerLimits = {
  sizeClass: 0,
  alternatives: [],
  maxCacheEntries: 2_000_000,
  directoryCacheBytes: 64 * 1024 * 1024,
  maxDirectoryCacheEntries: 200_000,
  maxTransfers: 16,
  prefetch: true,
  fetchTimeoutMs: 30 * 60_000,
  uploadTimeoutMs: 30 * 60_000,
  defaultTimeoutMs: 60 * 60_000,
  maxLogBytes: 256 * 1024 * 1024,
  inputs: { maxDepth: 500, maxEntries: 2_000_000, maxDirectoryBytes: 64 * 1024 * 1024 },
  outputs: { maxDepth: 500, maxEntries: 500_000, keepBelowBytes: 64 * 1024, maxKeptBytes: 16 * 1024 * 1024 },
  environment: {},
};

/** Numbers for a heartbeat or metrics. */
export interface WorkerCounters extends SlotCounters, PrefetchCounters {
  readonly slots: number;
  busySlots: number;
  filesFetched: number;
  bytesFetched: number;
  blobsUploaded: number;
  bytesUploaded: number;
  cacheBytes: number;
  cacheEntries: number;
  /** Cached files an action had written through; above 0, some action tampers with its inputs (T-21). */
  quarantinedFiles: number;
}

/** A worker at work. */
export interface RunningWorker {
  readonly counters: () => WorkerCounters;
  /** Takes no new leases, finishes and reports those it has; resolves when all is done (R-BW-04). */
  stop(): Promise<void>;
  /** Aborts all leases; resolves when no process of them is left. */
  kill(): Promise<void>;
  /** Resolves when all slots have ended; rejects if one ended by a bug. */
  readonly done: Promise<void>;
}

/**
 * Clears what a former worker left in the folder, opens the caches and starts the slots.
 * @throws unavailable, internal: the folder cannot be used, or the machine lacks what the sandbox needs.
 */
export async function startWorker(
  peers: WorkerPeers,
  system: { readonly clock: Clock; readonly random: Random; readonly log: Log },
  options: WorkerOptions,
): Promise<RunningWorker> {
  const slotsFolder = `${options.dataFolder}/slots`;
  const killed = await clearLeftovers(slotsFolder);
  if (killed > 0) system.log.warn({ killed }, 'ended processes that a former worker had left behind');
  const cache = new FileCache(`${options.dataFolder}/cache`, {
    maxBytes: options.cacheSizeBytes,
    maxEntries: options.maxCacheEntries,
  });
  const directories = new DirectoryCache({
    maxBytes: options.directoryCacheBytes,
    maxEntries: options.maxDirectoryCacheEntries,
  });
  const demand = new Demand();
  const fetcher = new FileFetcher(cache, { maxTransfers: options.maxTransfers, demand });
  const prefetcher = new Prefetcher({ directories, files: cache }, demand, peers.storeFor, {
    maxTransfers: PREFETCH_TRANSFERS,
    maxBytes: options.cacheSizeBytes * PREFETCH_SHARE,
    inputs: options.inputs,
  });
  const node = new WorkerNode(new CacheReporter(cache, system.clock), options.prefetch ? prefetcher : undefined);
  const uploader = new Uploader({ maxTransfers: options.maxTransfers });
  const inputRoots = new InputRoots(directories, cache, fetcher, options.inputs);
  const counters: SlotCounters = {
    leasesStarted: 0,
    leasesCompleted: 0,
    leasesCancelled: 0,
    workerFaults: 0,
    leasesExhausted: 0,
    syncFailures: 0,
  };
  const probe = new LinuxProbe();
  const sandboxes = Array.from({ length: options.slots }, () => new ProcessSandbox(system.clock, probe));
  const incarnation = system.random.token(8);
  const slots = sandboxes.map((sandbox, thread) => {
    const tools = { ...system, ...peers, sandbox, inputRoots, uploader };
    return makeSlot(thread, slotsFolder, { tools, peers, node, system, counters, options, incarnation });
  });
  const done = Promise.all(slots.map((slot) => slot.run())).then(async () => {
    await prefetcher.stop();
    await Promise.all(sandboxes.map((sandbox) => sandbox.close()));
  });
  return {
    done,
    counters: () => ({
      ...counters,
      slots: slots.length,
      busySlots: slots.filter((slot) => slot.isBusy).length,
      ...fetcher.counters,
      ...prefetcher.counters,
      ...uploader.counters,
      cacheBytes: cache.sizeBytes,
      cacheEntries: cache.entries,
      quarantinedFiles: cache.quarantined,
    }),
    stop: () => {
      for (const slot of slots) slot.stop();
      return done;
    },
    kill: () => {
      for (const slot of slots) slot.kill();
      return done;
    },
  };
}

function makeSlot(
  thread: number,
  slotsFolder: string,
  parts: {
    readonly tools: LeaseTools;
    readonly peers: WorkerPeers;
    readonly node: SlotNode;
    readonly system: { readonly clock: Clock; readonly random: Random; readonly log: Log };
    readonly counters: SlotCounters;
    readonly options: WorkerOptions;
    readonly incarnation: string;
  },
): Slot {
  const { tools, peers, node, system, counters, options } = parts;
  const folder = `${slotsFolder}/${thread}`;
  const leaseOptions: LeaseOptions = { ...options, worker: `${options.node}/${thread}` };
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new ReapiError('unavailable', 'the build directory of a slot cannot be made', { cause: error });
  }
  const runner = new SlotRunner(folder, tools, leaseOptions);
  const { scheduler, recorder } = peers;
  const { instanceNamePrefix, properties, alternatives, sizeClass } = options;
  // The folder tells workers on one machine apart: it belongs to one of them. Clients see this, so its path is not in it.
  const worker = digestOf('sha256', Buffer.from(options.dataFolder)).hash.slice(0, WORKER_TAG_CHARACTERS);
  const workerId = { node: options.node, worker, thread: String(thread) };
  const slotOptions = {
    workerId,
    instanceNamePrefix,
    properties,
    alternatives,
    sizeClass,
    incarnation: parts.incarnation,
  };
  return new Slot({ scheduler, runner, recorder, node }, system, counters, slotOptions);
}
