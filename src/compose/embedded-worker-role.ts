import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Config, childEnvironment } from '../config/load.ts';
import { invariant } from '../errors.ts';
import type { PlatformProperty } from '../platform/platform.ts';
import type { GrpcJsServer } from '../rpc/grpc-js-server.ts';
import type { Clock } from '../system/clock.ts';
import type { DataFolder } from '../system/data-folder.ts';
import type { Lifecycle } from '../system/lifecycle.ts';
import type { Log } from '../system/log.ts';
import type { Metrics } from '../system/metrics.ts';
import type { Random } from '../system/random.ts';
import { EmbeddedWorker } from './embedded-worker.ts';

/** What the embedded worker needs of its server. */
export interface EmbeddedWorkerDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly folder: DataFolder;
  /** A transport for the worker alone. */
  readonly open: () => GrpcJsServer;
}

/** A worker that is ready. */
export interface ReadyWorker {
  readonly slots: number;
  readonly properties: readonly PlatformProperty[];
  readonly kill: () => void;
}

/** How long the first start may take before the server gives up. */
const START_TIMEOUT_MS = 30_000;

/** Starts the worker's private listener and its process. @throws timed-out if it does not get ready. */
export async function startEmbeddedWorker(
  config: Config,
  dependencies: EmbeddedWorkerDependencies,
): Promise<ReadyWorker> {
  const { clock, lifecycle, metrics, folder } = dependencies;
  const socket = join(socketFolder(folder, lifecycle), 'worker.sock');
  const configFile = folder.sub('embedded-worker.yaml');
  const transport = dependencies.open();
  const worker = new EmbeddedWorker(dependencies, {
    main: entryFile(),
    arguments: ['worker', '--config', configFile],
    environment: childEnvironment(),
  });
  // Before anything is awaited, so that it stops before its listener and after the one of the clients.
  lifecycle.add('the embedded worker', (graceMs) => worker.stop(graceMs));
  rmSync(socket, { force: true });
  await transport.listen(`unix:${socket}`);
  const workerConfig = { ...config, worker: { ...config.worker, server: `unix:${socket}` } };
  writeFileSync(configFile, stringify(workerConfig), { mode: 0o600 });
  metrics.gauge(
    { name: 'gantry_embedded_worker_restarts', help: 'Times the embedded worker had to be started again.' },
    () => worker.restarts,
  );
  metrics.gauge(
    {
      name: 'gantry_embedded_worker_ready',
      help: 'Whether the embedded worker takes work: 1, or 0 between two starts.',
    },
    () => (worker.isReady ? 1 : 0),
  );
  const tooLate = new AbortController();
  const timer = clock.wakeAt(clock.monotonicMs() + START_TIMEOUT_MS, () =>
    tooLate.abort(new Error('the embedded worker did not get ready; the log says why')),
  );
  try {
    const { slots, properties } = await worker.start(tooLate.signal);
    return { slots, properties, kill: () => worker.kill() };
  } finally {
    timer.cancel();
  }
}

/** The program itself: a worker is the same program in another role. */
function entryFile(): string {
  const [, main] = process.argv;
  invariant(main !== undefined, 'the program knows its own entry file');
  return main;
}

/** The data folder, unless its path is too long for a socket that another process has to find. */
function socketFolder(folder: DataFolder, lifecycle: Lifecycle): string {
  if (folder.socketFolder === folder.path) return folder.path;
  const short = mkdtempSync(join(tmpdir(), 'gantry-'));
  lifecycle.add('the socket folder', async () => rmSync(short, { recursive: true, force: true }));
  return short;
}
