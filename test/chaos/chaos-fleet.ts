import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isKind } from '../../src/errors.ts';
import { FleetDefinition, type FleetSnapshot } from '../../src/gen/gantry/v1/fleet.ts';
import { connect, type RpcClient } from '../../src/rpc/client.ts';
import { type Child, processesWith } from '../clients/child.ts';
import { eventually } from '../clients/eventually.ts';
import { Gantry, temporaryFolder } from '../clients/gantry.ts';
import { BuildClient, IMPATIENT } from './build-client.ts';
import { ChaosWorker, type WorkerPlan } from './chaos-worker.ts';
import { TcpProxy } from './tcp-proxy.ts';

/** Shortest that the configuration allows, so that tests see workers being lost. */
export const WORKER_TIMEOUT_MS = 5_000;

/** How long a call of an operator may take. */
const CALL_MS = 10_000;

const EXECUTION = {
  workerTimeoutSeconds: WORKER_TIMEOUT_MS / 1000,
  synchronizeSeconds: 1,
  idlePollSeconds: 2,
  adoptionGraceSeconds: 10,
  abandonAfterSeconds: 30,
  heartbeatSeconds: 1,
};

/** What a test may make otherwise. */
export interface FleetOptions {
  readonly workers: readonly WorkerPlan[];
  /** On top of the keys of `execution` that all tests have. */
  readonly execution?: Readonly<Record<string, unknown>>;
}

/** One server and several workers, all processes, and proxies between them and between clients and server. */
export class ChaosFleet {
  readonly workers: readonly ChaosWorker[];
  /** Folder in which actions mark their runs. */
  readonly canaries: string;
  /** Between clients and server. */
  readonly front: TcpProxy;
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #clients: BuildClient[] = [];
  /** Not by way of the front. */
  readonly #operator: RpcClient;
  #server: { readonly child: Child; readonly gantry: Gantry };
  #formerOutput = '';

  private constructor(
    server: { readonly child: Child; readonly gantry: Gantry },
    config: Readonly<Record<string, unknown>>,
    parts: Pick<ChaosFleet, 'workers' | 'canaries' | 'front'>,
  ) {
    this.#server = server;
    this.#config = config;
    this.workers = parts.workers;
    this.canaries = parts.canaries;
    this.front = parts.front;
    this.#operator = connect(server.gantry.grpcAddress, IMPATIENT);
  }

  /** Resolves when all are ready and all slots known to the server. */
  static async start(options: FleetOptions): Promise<ChaosFleet> {
    const folder = temporaryFolder();
    const canaries = join(folder, 'canaries');
    mkdirSync(canaries);
    const config = {
      execution: { ...EXECUTION, ...options.execution },
      stop: { graceSeconds: 0 },
      store: { maxSizeBytes: '256MiB' },
      log: { level: 'info' },
    };
    const server = await startServer(config);
    const address = (): string => server.gantry.grpcAddress;
    const front = await TcpProxy.start(address);
    const started = options.workers.map((plan) =>
      ChaosWorker.start(plan, { folder: join(folder, plan.name), server: address, config }),
    );
    const workers = await Promise.all(started);
    const fleet = new ChaosFleet(server, config, { workers, canaries, front });
    await fleet.quiet();
    return fleet;
  }

  /** A build tool of its own. */
  client(seed: number): BuildClient {
    const client = new BuildClient(this.front.address, seed);
    this.#clients.push(client);
    return client;
  }

  /** What servers and workers wrote, for whoever looks for the cause of a failure. */
  get output(): string {
    const workers = this.workers.map(({ plan, output }) => `${plan.name}:\n${output}`);
    return [`server:\n${this.#serverOutput}`, ...workers].join('\n');
  }

  get #serverOutput(): string {
    return this.#formerOutput + this.#server.child.output;
  }

  async killServer(): Promise<void> {
    await this.#server.gantry.crash();
  }

  /** SIGTERM. */
  async stopServer(): Promise<void> {
    await this.#server.gantry.stop();
  }

  /** Starts the next server on the data and the address of the one before. */
  async startServer(): Promise<void> {
    const { data, grpcAddress } = this.#server.gantry;
    this.#formerOutput = this.#serverOutput;
    this.#server = await startServer(this.#config, { data, listen: grpcAddress });
  }

  sleepServer(): void {
    this.#server.child.signal('SIGSTOP');
  }

  wakeServer(): void {
    this.#server.child.signal('SIGCONT');
  }

  /** What the server says of the fleet. @throws unavailable. */
  async snapshot(): Promise<FleetSnapshot> {
    const { getFleet } = FleetDefinition.methods;
    const signal = AbortSignal.timeout(CALL_MS);
    const request = { limit: 0, withNodes: true };
    return await this.#operator.unary(FleetDefinition, getFleet, request, { signal });
  }

  /** Resolves when nothing is queued, nothing runs, and every slot of the workers waits for work. */
  async quiet(workers: readonly ChaosWorker[] = this.workers): Promise<void> {
    const wanted = workers.reduce((sum, { plan }) => sum + plan.slots, 0);
    let last: FleetSnapshot | undefined;
    const isQuiet = async (): Promise<true | undefined> => {
      last = await this.snapshot();
      const { counts, running, demands, isolated, quarantined } = last;
      if (counts === undefined || running.length + demands.length + isolated.length + quarantined.length > 0) {
        return undefined;
      }
      if (processesWith(this.canaries).length > 0) return undefined;
      const { operations, queuedTasks, executingTasks, recordingTasks, busySlots } = counts;
      if (operations + queuedTasks + executingTasks + recordingTasks + busySlots > 0) return undefined;
      return counts.slots === wanted && counts.waitingSlots + counts.drainedSlots >= wanted ? true : undefined;
    };
    try {
      await eventually('a quiet fleet', isQuiet);
    } catch (cause) {
      throw new Error(`the fleet is not quiet: ${JSON.stringify(last, undefined, 1)}`, { cause });
    }
  }

  /** Drains the slots of a worker. @throws unavailable. */
  async drain({ plan }: ChaosWorker): Promise<void> {
    const pattern = { labels: { node: plan.name }, everything: false };
    const signal = AbortSignal.timeout(CALL_MS);
    const { drainNodes } = FleetDefinition.methods;
    await this.#operator.unary(FleetDefinition, drainNodes, { pattern, reason: 'chaos' }, { signal });
  }

  /** Ends the drain or the termination of a worker, whatever happens to the server meanwhile. */
  async undrain({ plan }: ChaosWorker): Promise<void> {
    const pattern = { labels: { node: plan.name }, everything: false };
    const { undrainNodes } = FleetDefinition.methods;
    await eventually('the drain is over', async () => {
      const signal = AbortSignal.timeout(CALL_MS);
      try {
        await this.#operator.unary(FleetDefinition, undrainNodes, { pattern }, { signal });
        return true;
      } catch (error) {
        // A server that was started again has forgotten it.
        return isKind(error, 'not-found') ? true : undefined;
      }
    });
  }

  /** Tells a worker to exit. @returns whether it was told in time. @throws unavailable. */
  async terminate({ plan }: ChaosWorker): Promise<boolean> {
    const { terminateNodes } = FleetDefinition.methods;
    const pattern = { labels: { node: plan.name }, everything: false };
    const request = { pattern, reason: 'chaos', waitSeconds: 60 };
    let isDone = false;
    const signal = AbortSignal.timeout(70_000);
    const updates = this.#operator.serverStream(FleetDefinition, terminateNodes, request, { signal });
    for await (const update of updates) isDone = update.isDone;
    return isDone;
  }

  /** Ends everything, whatever state it is in. */
  async destroy(): Promise<void> {
    for (const client of this.#clients) client.close();
    this.#operator.close();
    this.wakeServer();
    await this.#server.child.killGroup();
    await Promise.all(this.workers.map((worker) => worker.destroy()));
    await this.front.stop();
  }
}

async function startServer(
  config: Readonly<Record<string, unknown>>,
  former: { readonly data?: string; readonly listen?: string } = {},
): Promise<{ readonly child: Child; readonly gantry: Gantry }> {
  const { child, ready } = Gantry.begin({ role: 'server', config, ...former });
  return { child, gantry: await ready() };
}
