import { parseInstanceName } from '../src/digest/instance-name.ts';
import { ExecuteResponse } from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  OperationQueueDefinition,
  SynchronizeRequest,
  type SynchronizeResponse,
} from '../src/gen/pkg/proto/remoteworker/remoteworker.ts';
import { connect, type RpcClient } from '../src/rpc/client.ts';
import { SystemClock, sleep } from '../src/system/clock.ts';
import { NO_LOG } from '../src/system/log.ts';
import { SystemRandom } from '../src/system/random.ts';
import type { ResultRecorder } from '../src/worker/remote-action-cache.ts';
import { RemoteScheduler, type SlotScheduler } from '../src/worker/remote-scheduler.ts';
import type { LeaseOutcome } from '../src/worker/run-lease.ts';
import { millisecondsOf } from '../src/worker/wire-time.ts';
import { type LeaseRunner, Slot, type SlotNode } from '../src/worker/worker.ts';

const DONE: LeaseOutcome = {
  response: ExecuteResponse.fromPartial({ result: { exitCode: 0 }, status: { code: 0 } }),
  isWorkerFault: false,
  isExhausted: false,
};

const NO_RECORDER: ResultRecorder = { record: () => Promise.reject(new Error('the server records results')) };

const NO_CACHE: SlotNode = { cached: () => undefined, disconnected: () => undefined, expect: () => undefined };

const SLOTS_PER_NODE = 8;

/** As a Linux machine describes itself. */
const PROPERTIES = [
  { name: 'ISA', value: 'x86-64' },
  { name: 'OSFamily', value: 'linux' },
];

/** As our worker's. */
const TIMEOUTS = { idleTimeoutMs: 150_000, busyTimeoutMs: 60_000 };

/** What a fleet is made of. */
export interface FleetOptions {
  readonly slots: number;
  readonly connections: number;
  /** Slots make their first call spread over so long. */
  readonly spreadMs: number;
  /** Of two nodes, the second has slots as bb_worker's; they take no work. */
  readonly hasBuildbarn: boolean;
  /** Actions end well when this resolves. */
  readonly finish: Promise<void>;
}

/** Slots without machines: the loop of our worker with nothing behind it, and bb_worker's while it is idle. */
export class SimulatedFleet {
  /** Synchronize calls so far. */
  calls = 0;
  readonly #clock = new SystemClock();
  readonly #connections: readonly RpcClient[];
  readonly #options: FleetOptions;
  readonly #counters = {
    ...{ leasesStarted: 0, leasesCompleted: 0, leasesCancelled: 0 },
    ...{ workerFaults: 0, leasesExhausted: 0, syncFailures: 0 },
  };
  readonly #slots: Slot[] = [];
  readonly #stop = new AbortController();
  readonly #loops: readonly Promise<void>[];

  /** Does nothing, as soon as it may. */
  readonly #runner: LeaseRunner = {
    start: async () => {
      await this.#options.finish;
      return DONE;
    },
    cleanUp: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };

  /** Begins at once. */
  constructor(address: string, options: FleetOptions) {
    this.#options = options;
    this.#connections = Array.from({ length: options.connections }, () => connect(address));
    this.#loops = Array.from({ length: options.slots }, (_, index) => this.#run(index));
    // `stop` tells.
    for (const loop of this.#loops) loop.catch(() => undefined);
  }

  /** @throws if a call failed. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const slot of this.#slots) slot.kill();
    await Promise.all(this.#loops);
    for (const connection of this.#connections) connection.close();
    if (this.#counters.syncFailures > 0) throw new Error(`${this.#counters.syncFailures} calls of slots failed`);
  }

  async #run(index: number): Promise<void> {
    const { slots, hasBuildbarn, spreadMs } = this.#options;
    const node = Math.floor(index / SLOTS_PER_NODE);
    const workerId = { node: `node-${node}`, thread: String(index % SLOTS_PER_NODE) };
    const connection = this.#connections[node % this.#connections.length];
    if (connection === undefined) throw new Error('a fleet needs a connection');
    const signal = this.#stop.signal;
    try {
      await sleep(this.#clock, (spreadMs * index) / slots, signal);
      if (hasBuildbarn && node % 2 === 1) await this.#pollAsBuildbarn(workerId, connection);
      else await this.#pollAsGantry(workerId, connection);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async #pollAsGantry(workerId: Readonly<Record<string, string>>, connection: RpcClient): Promise<void> {
    const remote = new RemoteScheduler(connection, TIMEOUTS);
    const scheduler: SlotScheduler = {
      synchronize: (request, signal) => {
        this.calls++;
        return remote.synchronize(request, signal);
      },
    };
    const parts = { scheduler, runner: this.#runner, recorder: NO_RECORDER, node: NO_CACHE };
    const system = { clock: this.#clock, random: new SystemRandom(), log: NO_LOG };
    const slot = new Slot(parts, system, this.#counters, {
      ...{
        workerId,
        instanceNamePrefix: parseInstanceName(''),
        properties: PROPERTIES,
        sizeClass: 0,
        alternatives: [],
        incarnation: '',
      },
    });
    this.#slots.push(slot);
    await slot.run();
  }

  async #pollAsBuildbarn(workerId: Readonly<Record<string, string>>, connection: RpcClient): Promise<void> {
    const { synchronize } = OperationQueueDefinition.methods;
    const { signal } = this.#stop;
    const request = SynchronizeRequest.fromPartial({
      workerId: { ...workerId, hostname: 'bb', pid: '1' },
      platform: { properties: PROPERTIES },
      currentState: { workerState: { $case: 'idle', value: {} } },
    });
    while (!signal.aborted) {
      this.calls++;
      const response = await connection.unary(OperationQueueDefinition, synchronize, request, { signal });
      await this.#untilDue(response, signal);
    }
  }

  async #untilDue({ desiredState, nextSynchronizationAt }: SynchronizeResponse, signal: AbortSignal): Promise<void> {
    if (desiredState?.workerState?.$case === 'executing') throw new Error('a slot that takes no work was given some');
    if (nextSynchronizationAt === undefined) throw new Error('no time for the next call');
    await sleep(this.#clock, Math.max(0, millisecondsOf(nextSynchronizationAt) - this.#clock.nowMs()), signal);
  }
}
