import { mkdirSync } from 'node:fs';
import { digestOf } from '../digest/hasher.ts';
import type { InstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import type { PlatformProperty } from '../platform/platform.ts';
import type { Clock } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Random } from '../system/random.ts';
import { DirectoryCache } from './inputs/directory-cache.ts';
import { FileCache } from './inputs/file-cache.ts';
import { FileFetcher } from './inputs/file-fetcher.ts';
import { InputRoots } from './inputs/input-root.ts';
import type { TreeLimits } from './inputs/input-tree.ts';
import { clearLeftovers } from './leftovers.ts';
import type { OutputLimits } from './outputs/output-tree.ts';
import { Uploader } from './outputs/upload.ts';
import { ProcessSandbox } from './process-sandbox.ts';
import type { WorkerPeers } from './remote-peers.ts';
import type { LeaseOptions, LeaseTools } from './run-lease.ts';
import { SlotRunner } from './slot-runner.ts';
import { Slot, type SlotCounters } from './worker.ts';

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
  readonly maxCacheEntries: number;
  readonly directoryCacheBytes: number;
  readonly maxDirectoryCacheEntries: number;
  /** Downloads at a time, over all slots; as many uploads. */
  readonly maxTransfers: number;
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

/** Limits that suit a machine of a build fleet. */
export const WORKER_DEFAULTS: WorkerLimits = {
  sizeClass: 0,
  maxCacheEntries: 2_000_000,
  directoryCacheBytes: 64 * 1024 * 1024,
  maxDirectoryCacheEntries: 200_000,
  maxTransfers: 16,
  fetchTimeoutMs: 30 * 60_000,
  uploadTimeoutMs: 30 * 60_000,
  defaultTimeoutMs: 60 * 60_000,
  maxLogBytes: 256 * 1024 * 1024,
  inputs: { maxDepth: 500, maxEntries: 2_000_000, maxDirectoryBytes: 64 * 1024 * 1024 },
  outputs: { maxDepth: 500, maxEntries: 500_000, keepBelowBytes: 64 * 1024, maxKeptBytes: 16 * 1024 * 1024 },
  environment: {},
};

/** Numbers for a heartbeat or metrics. */
export interface WorkerCounters extends SlotCounters {
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
  const fetcher = new FileFetcher(cache, { maxTransfers: options.maxTransfers });
  const uploader = new Uploader({ maxTransfers: options.maxTransfers });
  const inputRoots = new InputRoots(directories, cache, fetcher, options.inputs);
  const counters: SlotCounters = {
    leasesStarted: 0,
    leasesCompleted: 0,
    leasesCancelled: 0,
    workerFaults: 0,
    syncFailures: 0,
  };
  const sandboxes = Array.from({ length: options.slots }, () => new ProcessSandbox(system.clock));
  const slots = sandboxes.map((sandbox, thread) => {
    const tools = { ...system, ...peers, sandbox, inputRoots, uploader };
    return makeSlot(thread, slotsFolder, { tools, peers, system, counters, options });
  });
  const done = Promise.all(slots.map((slot) => slot.run())).then(async () => {
    await Promise.all(sandboxes.map((sandbox) => sandbox.close()));
  });
  return {
    done,
    counters: () => ({
      ...counters,
      slots: slots.length,
      busySlots: slots.filter((slot) => slot.isBusy).length,
      ...fetcher.counters,
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
    readonly system: { readonly clock: Clock; readonly random: Random; readonly log: Log };
    readonly counters: SlotCounters;
    readonly options: WorkerOptions;
  },
): Slot {
  const { tools, peers, system, counters, options } = parts;
  const folder = `${slotsFolder}/${thread}`;
  const leaseOptions: LeaseOptions = { ...options, worker: `${options.node}/${thread}` };
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new ReapiError('unavailable', 'the build directory of a slot cannot be made', { cause: error });
  }
  const runner = new SlotRunner(folder, tools, leaseOptions);
  const { scheduler, recorder } = peers;
  const { instanceNamePrefix, properties, sizeClass } = options;
  // The folder tells workers on one machine apart: it belongs to one of them. Clients see this, so its path is not in it.
  const worker = digestOf('sha256', Buffer.from(options.dataFolder)).hash.slice(0, WORKER_TAG_CHARACTERS);
  const workerId = { node: options.node, worker, thread: String(thread) };
  const slotOptions = { workerId, instanceNamePrefix, properties, sizeClass };
  return new Slot({ scheduler, runner, recorder }, system, counters, slotOptions);
}
