import type { Config } from '../config/load.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import type { PlatformProperty } from '../platform/platform.ts';
import { BoundedClient } from '../rpc/bounded-client.ts';
import { connect, type RpcClient } from '../rpc/client.ts';
import { SystemClock } from '../system/clock.ts';
import { DataFolder } from '../system/data-folder.ts';
import { Lifecycle } from '../system/lifecycle.ts';
import { createLog } from '../system/log.ts';
import { SystemRandom } from '../system/random.ts';
import { detectPlatform, thisMachine } from '../worker/detect-platform.ts';
import { remotePeers } from '../worker/remote-peers.ts';
import { type RunningWorker, startWorker, WORKER_DEFAULTS, type WorkerOptions } from '../worker/start-worker.ts';
import type { WorkerReady } from './embedded-worker.ts';
import type { RunningRole } from './roles.ts';

/** Starts a worker. It takes work as soon as its server answers, and waits for it until then. @throws as its parts do. */
export async function startWorkerRole(config: Config): Promise<RunningRole> {
  const clock = new SystemClock();
  const random = new SystemRandom();
  const log = createLog(config.log.level);
  const lifecycle = new Lifecycle(clock);
  try {
    const folder = await DataFolder.open(config.worker.folder);
    lifecycle.add('the worker folder', () => folder.release());
    const open = (): RpcClient => {
      const client = connect(config.worker.server);
      lifecycle.add('a connection to the server', async () => client.close());
      return client;
    };
    const storage = { reads: new BoundedClient(open()), writes: new BoundedClient(open()) };
    const properties = propertiesOf(config);
    const options = workerOptions(config, properties);
    const peers = remotePeers(open(), storage, random, { maxBatchBytes: config.limits.maxBatchTotalSizeBytes });
    const worker = await startWorker(peers, { clock, random, log }, options);
    const ending = stopWorker(worker, clock);
    lifecycle.add('the slots', ending.stop);
    tellParent({ type: 'ready', slots: config.worker.slots, properties }, ending.kill);
    return {
      ready: {
        dataFolder: config.worker.folder,
        workerProperties: properties,
        slots: config.worker.slots,
        notes: [`takes work from ${config.worker.server}`],
      },
      async stop(graceMs) {
        for (const error of await lifecycle.stop(graceMs)) log.error({ err: error }, 'a part did not stop cleanly');
      },
      force: ending.kill,
      done: worker.done.then(
        () => undefined,
        (error: Error) => error,
      ),
    };
  } catch (error) {
    await lifecycle.stop(0);
    throw error;
  }
}

function propertiesOf(config: Config): readonly PlatformProperty[] {
  const { detectPlatform: isDetected, platform } = config.worker;
  return isDetected ? detectPlatform(thisMachine(), platform) : platform;
}

function workerOptions(config: Config, properties: readonly PlatformProperty[]): WorkerOptions {
  const { worker, limits } = config;
  return {
    ...WORKER_DEFAULTS,
    dataFolder: worker.folder,
    node: worker.nodeName,
    slots: worker.slots,
    instanceNamePrefix: parseInstanceName(worker.instanceNamePrefix),
    properties,
    alternatives: worker.alternatives,
    sizeClass: worker.sizeClass,
    cacheSizeBytes: worker.cacheSizeBytes,
    maxTransfers: worker.maxTransfers,
    prefetch: worker.prefetch,
    fetchTimeoutMs: worker.fetchSeconds * 1000,
    uploadTimeoutMs: worker.uploadSeconds * 1000,
    defaultTimeoutMs: config.execution.defaultTimeoutSeconds * 1000,
    maxLogBytes: worker.maxStdoutBytes,
    inputs: {
      ...WORKER_DEFAULTS.inputs,
      maxDepth: limits.maxTreeDepth,
      maxDirectoryBytes: limits.maxMessageBlobBytes,
    },
  };
}

interface Ending {
  readonly stop: (graceMs: number) => Promise<void>;
  readonly kill: () => void;
}

/** Finishes what runs within the grace, and aborts it after. */
function stopWorker(worker: RunningWorker, clock: SystemClock): Ending {
  const kill = (): void => {
    void worker.kill();
  };
  const stop = async (graceMs: number): Promise<void> => {
    const timer = clock.wakeAt(clock.monotonicMs() + graceMs, kill);
    try {
      await worker.stop();
    } finally {
      timer.cancel();
    }
  };
  return { stop, kill };
}

/** An embedded worker reports to its server, and ends with it: when the server dies, the channel closes. */
function tellParent(ready: WorkerReady, kill: () => void): void {
  if (process.send === undefined) return;
  process.once('disconnect', kill);
  if (process.connected) process.send(ready);
  else kill();
}
