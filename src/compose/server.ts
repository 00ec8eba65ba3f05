import type { AddressInfo } from 'node:net';
import { MissHistory } from '../action-cache/misses/miss-history.ts';
import { missText } from '../action-cache/misses/miss-text.ts';
import { adminMethods } from '../admin/admin-service.ts';
import type { FleetPages } from '../admin/fleet-pages.ts';
import { type Authorizer, OpenAuthorizer, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import { ANONYMOUS, EMBEDDED_WORKER, type Principal } from '../auth/principal.ts';
import { parseAddress } from '../config/address.ts';
import type { Config } from '../config/load.ts';
import { DescriptorPool } from '../descriptors/descriptor-pool.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { invariant, ReapiError } from '../errors.ts';
import { GrpcJsServer } from '../rpc/grpc-js-server.ts';
import { healthMethods } from '../rpc/health-service.ts';
import type { Method } from '../rpc/methods.ts';
import { reflectionMethods } from '../rpc/reflection-service.ts';
import { SystemClock } from '../system/clock.ts';
import { DataFolder } from '../system/data-folder.ts';
import { HealthState } from '../system/health-state.ts';
import { Lifecycle } from '../system/lifecycle.ts';
import { createLog, type Log } from '../system/log.ts';
import { Metrics } from '../system/metrics.ts';
import { SystemRandom } from '../system/random.ts';
import { RpcMetrics } from '../system/rpc-metrics.ts';
import { removeStaleSocket } from '../system/stale-socket.ts';
import { WebServer } from '../web/web-server.ts';
import { createCache } from './cache.ts';
import { startEmbeddedWorker } from './embedded-worker-role.ts';
import { createExecution } from './execution.ts';
import type { ReadyInfo, RunningRole, Starting } from './roles.ts';
import { s3OptionsOf } from './s3-options.ts';
import { StartProgress } from './start-progress.ts';
import { openStores } from './stores.ts';

/** Which parts a server has. */
export interface ServerRoles {
  readonly hasWorker: boolean;
}

/** Everything a start makes on its way, for the parts that come later. */
interface Ground {
  readonly config: Config;
  readonly clock: SystemClock;
  readonly random: SystemRandom;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  readonly health: HealthState;
  readonly progress: StartProgress;
  /** Aborts when the start is given up. */
  readonly starting: AbortSignal;
  /** Aborts when the stop begins. */
  readonly stopping: AbortController;
  readonly broken: PromiseWithResolvers<Error | undefined>;
}

/**
 * Starts a server. What was started is stopped again if a later part fails, or if `starting.signal` aborts while S3 is waited for.
 * @throws as its parts do.
 */
export async function startServer(config: Config, roles: ServerRoles, starting: Starting): Promise<RunningRole> {
  const clock = new SystemClock();
  const ground: Ground = {
    config,
    clock,
    random: new SystemRandom(),
    log: createLog(config.log.level),
    metrics: new Metrics(),
    lifecycle: new Lifecycle(clock),
    health: new HealthState(),
    progress: new StartProgress(clock, starting.onProgress),
    starting: starting.signal,
    stopping: new AbortController(),
    broken: Promise.withResolvers(),
  };
  try {
    return await assemble(ground, roles);
  } catch (error) {
    ground.progress.end();
    ground.stopping.abort(error);
    await ground.lifecycle.stop(0);
    throw error;
  }
}

async function assemble(ground: Ground, roles: ServerRoles): Promise<RunningRole> {
  const { config, clock, metrics, lifecycle, health, progress, stopping } = ground;
  metrics.addProcess();
  const s3 = s3OptionsOf(config);
  const folder = await DataFolder.open(config.dataFolder);
  lifecycle.add('the data folder', () => folder.release());
  // First, so that whoever waits can see what for.
  let pages: FleetPages | undefined;
  const httpAddress = await startWeb(ground, () => pages);
  const history = new MissHistory(clock, { maxActions: config.actionCache.missHistory });
  const { blobs, entries, control, bucketStats } = await openStores(folder, config, {
    ...{ ...ground, s3, signal: ground.starting },
    onEntryEvicted: (hash, ageSeconds) => history.evicted(hash, ageSeconds),
  });
  const access = { authorizer: createAuthorizer(config), instances: createInstanceNames(config) };
  const cache = createCache(config, { ...ground, ...access, history, blobs, entries });
  const admin = adminMethods({
    ...{ ...access, control, clock, stopping: stopping.signal, ...(bucketStats && { bucketStats }) },
    actions: { remove: cache.removeResult },
    misses: cache.explainer,
    renderMiss: missText,
  });
  const execution = await createExecution(config, {
    ...ground,
    ...access,
    blobs,
    entries,
    folder,
    cache,
    stopping: stopping.signal,
    onBroken: (error) => onBroken(ground, error),
  });
  pages = execution.pages;
  const served: readonly Method[] = [
    ...cache.methods,
    ...execution.clientMethods,
    ...execution.workerMethods,
    ...execution.operatorMethods,
    ...admin,
  ];
  const { transports, open } = createTransports(ground, withMeta(health, served));
  // Side by side: after a restart clients are let in again while the worker still starts.
  const worker = roles.hasWorker
    ? startEmbeddedWorker(config, { ...ground, folder, open: () => open(EMBEDDED_WORKER) })
    : undefined;
  const [embedded, grpcAddress] = await Promise.all([worker, listen(ground, open(ANONYMOUS))]);
  health.set('', true);
  progress.end();
  const ready: ReadyInfo = {
    grpcAddress,
    httpAddress,
    dataFolder: config.dataFolder,
    maxSizeBytes: config.store.maxSizeBytes,
    ...(embedded && { workerProperties: embedded.properties, slots: embedded.slots }),
    notes: notesOf(config),
  };
  return runningRole(ground, transports, ready, embedded?.kill);
}

/** Makes transports for the same methods, each for a principal of its own. */
function createTransports(ground: Ground, methods: readonly Method[]) {
  const { metrics } = ground;
  const rpcMetrics = new RpcMetrics(
    metrics,
    methods.map(({ path }) => path),
  );
  const transports: GrpcJsServer[] = [];
  const open = (principal: Principal): GrpcJsServer => {
    const transport = createTransport(ground, methods, principal, rpcMetrics);
    transports.push(transport);
    return transport;
  };
  metrics.gauge({ name: 'gantry_connections', help: 'Open gRPC connections.' }, () =>
    transports.reduce((sum, { connections }) => sum + connections, 0),
  );
  return { transports, open };
}

function runningRole(
  ground: Ground,
  transports: readonly GrpcJsServer[],
  ready: ReadyInfo,
  killWorker: (() => void) | undefined,
): RunningRole {
  const { health, stopping, lifecycle, log, broken } = ground;
  return {
    ready,
    async stop(graceMs) {
      health.drain();
      stopping.abort(new ReapiError('unavailable', 'the server is stopping', { retryAfterMs: 1_000 }));
      for (const error of await lifecycle.stop(graceMs)) log.error({ err: error }, 'a part did not stop cleanly');
    },
    force() {
      for (const transport of transports) transport.force();
      killWorker?.();
    },
    done: broken.promise,
  };
}

function createAuthorizer(config: Config): Authorizer {
  const open = new OpenAuthorizer();
  return config.readOnly ? new ReadOnlyAuthorizer(open) : open;
}

function createInstanceNames(config: Config): InstanceNames {
  const { instanceNames } = config;
  return new InstanceNames(instanceNames.kind === 'any' ? undefined : instanceNames.names.map(parseInstanceName));
}

/** Health (each service by its full name, and the whole) and reflection over what is served. */
function withMeta(health: HealthState, served: readonly Method[]): readonly Method[] {
  for (const { path } of served) health.set(path.split('/')[1] ?? '', true);
  health.set('', false);
  const methods = [...served, ...healthMethods(health)];
  return [...methods, ...reflectionMethods(DescriptorPool.builtIn(), methods)];
}

function createTransport(
  ground: Ground,
  methods: readonly Method[],
  principal: Principal,
  rpcMetrics: RpcMetrics,
): GrpcJsServer {
  const { config, clock, log, lifecycle } = ground;
  const { rpc } = config;
  const transport = new GrpcJsServer(methods, {
    clock,
    log,
    principal,
    onCallEnd: (call) => rpcMetrics.record(call),
    maxReceiveMessageBytes: rpc.maxReceiveMessageBytes,
    streamWindowBytes: rpc.streamWindowBytes,
    connectionWindowBytes: rpc.connectionWindowBytes,
    maxConcurrentStreams: rpc.maxConcurrentStreams,
    maxConnections: rpc.maxConnections,
    keepaliveIntervalMs: rpc.keepaliveIntervalSeconds * 1000,
    keepaliveTimeoutMs: rpc.keepaliveTimeoutSeconds * 1000,
    logRequests: config.log.requests === 'all',
  });
  lifecycle.add(`gRPC for ${principal.name}`, (graceMs) => transport.stop(graceMs));
  return transport;
}

/** The address as bound. */
async function listen({ config }: Ground, transport: GrpcJsServer): Promise<string> {
  const address = parseAddress(config.listen.grpc);
  invariant(address !== undefined, 'the schema checks addresses');
  if (address.kind === 'unix') await removeStaleSocket(address.path);
  const port = await transport.listen(config.listen.grpc);
  if (address.kind === 'unix') return `unix:${address.path}`;
  return hostAndPort({ address: address.host, port });
}

async function startWeb(
  { config, metrics, health, log, lifecycle, progress, stopping }: Ground,
  fleet: () => FleetPages | undefined,
): Promise<string> {
  const address = parseAddress(config.listen.http);
  invariant(address?.kind === 'tcp', 'the schema checks addresses');
  const notReadyReason = (): string | undefined =>
    health.isServing('') === true ? undefined : stopping.signal.aborted ? 'the server is stopping' : progress.text;
  const web = new WebServer({ notReadyReason, metrics, log, fleet });
  lifecycle.add('HTTP', () => web.close());
  return web.listen(address);
}

function hostAndPort({ address, port }: Pick<AddressInfo, 'address' | 'port'>): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function notesOf(config: Config): readonly string[] {
  const notes: string[] = [];
  if (config.s3.bucket !== '') notes.push(s3Note(config));
  if (config.readOnly) notes.push('read-only: uploads, action results and executions are refused');
  if (config.store.sync === 'none')
    notes.push('store.sync is none: blobs survive a crash of Gantry, not of the machine');
  return notes;
}

function s3Note({ s3 }: Config): string {
  const where = s3.endpoint === '' ? s3.region : s3.endpoint;
  const when = s3.durability === 's3' ? 'when the bucket has it' : 'when this machine has it (s3.durability is local)';
  return `keeps everything in the bucket ${s3.bucket} (${where}); an upload is acknowledged ${when}`;
}

function onBroken({ log, broken }: Ground, error: unknown): void {
  log.fatal(
    { err: error },
    'the scheduler broke a law of its own; the process ends, because a wrong queue is worse than none',
  );
  broken.resolve(error instanceof Error ? error : new Error(String(error)));
}
