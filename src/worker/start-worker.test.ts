import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryWorkerStore } from '../../test/support/memory-worker-store.ts';
import { digestToWire, emptyDigest } from '../digest/digest.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import {
  Action,
  Command,
  DigestFunction_Value,
  Directory,
  type ExecuteResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type SynchronizeRequest, SynchronizeResponse } from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import { SystemClock } from '../system/clock.ts';
import { NO_LOG } from '../system/log.ts';
import { SystemRandom } from '../system/random.ts';
import type { WorkerPeers } from './remote-peers.ts';
import { type RunningWorker, startWorker, WORKER_DEFAULTS } from './start-worker.ts';

describe('startWorker', () => {
  let folder: string;
  let store: MemoryWorkerStore;
  let worker: RunningWorker | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'worker-'));
    store = new MemoryWorkerStore();
  });
  afterEach(async () => {
    await worker?.kill();
    worker = undefined;
    rmSync(folder, { recursive: true, force: true });
  });

  const start = (synchronize: WorkerPeers['scheduler']['synchronize'], slots = 1): Promise<RunningWorker> =>
    startWorker(
      {
        scheduler: { synchronize },
        recorder: { record: () => Promise.resolve() },
        storeFor: () => store,
        statusOf: (error) => ({ code: 2, message: String(error), details: [] }),
      },
      { clock: new SystemClock(), random: new SystemRandom(), log: NO_LOG },
      {
        ...WORKER_DEFAULTS,
        dataFolder: folder,
        node: 'n',
        slots,
        instanceNamePrefix: parseInstanceName(''),
        properties: [],
        cacheSizeBytes: 1e6,
      },
    );

  const idle = SynchronizeResponse.fromPartial({
    nextSynchronizationAt: { seconds: 0n },
    desiredState: { workerState: { $case: 'idle', value: {} } },
  });

  function orders(script: string): SynchronizeResponse {
    const command = Command.fromPartial({ arguments: ['/bin/sh', '-c', script] });
    const commandDigest = store.seed(Command.encode(command).finish());
    const inputRootDigest = digestToWire(emptyDigest('sha256'));
    const action = Action.fromPartial({ commandDigest: digestToWire(commandDigest), inputRootDigest });
    const actionDigest = digestToWire(store.seed(Action.encode(action).finish()));
    const value = { actionDigest, action, digestFunction: DigestFunction_Value.SHA256 };
    return SynchronizeResponse.fromPartial({
      nextSynchronizationAt: { seconds: 0n },
      desiredState: { workerState: { $case: 'executing', value } },
      gantry: { leaseId: script, serverRecordsResult: true },
    });
  }

  const goOn = SynchronizeResponse.fromPartial({ nextSynchronizationAt: { seconds: 2n ** 33n } });

  function held(signal: AbortSignal): Promise<SynchronizeResponse> {
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new ReapiError('cancelled', 'c'))));
  }

  /** A scheduler that hands out the scripts one by one and gathers the responses. */
  function scripted(scripts: string[], onResponse: (response: ExecuteResponse) => void) {
    let reported = '';
    return (request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> => {
      const state = request.currentState?.workerState;
      if (state?.$case === 'executing') {
        if (state.value.executionState?.$case !== 'completed') return Promise.resolve(goOn);
        // A report is repeated when its call is cut short.
        const lease = request.gantry?.leaseId ?? '';
        if (lease !== reported) onResponse(state.value.executionState.value);
        reported = lease;
      }
      if (request.preferBeingIdle) return Promise.resolve(idle);
      const script = scripts.shift();
      return script === undefined ? held(signal) : Promise.resolve(orders(script));
    };
  }

  it('runs actions one after the other, cleans up behind them and stops', async () => {
    const responses: ExecuteResponse[] = [];
    const all = Promise.withResolvers<void>();
    const readOnly = 'mkdir d; echo x > d/f; chmod 0 d; exit 4';
    worker = await start(
      scripted(['exit 3', readOnly, 'kill -9 $$'], (response) => {
        if (responses.push(response) === 3) all.resolve();
      }),
    );
    await all.promise;
    await worker.stop();
    assert.deepEqual(
      responses.map(({ result }) => result?.exitCode),
      [3, 4, 137],
    );
    assert.deepEqual(readdirSync(join(folder, 'slots/0')), []);
    assert.equal(worker.counters().leasesCompleted, 3);
    assert.equal(worker.counters().busySlots, 0);
  });

  it('kills what runs when it is killed', async () => {
    const running = Promise.withResolvers<void>();
    worker = await start((request, signal) => {
      const state = request.currentState?.workerState;
      if (state?.$case !== 'executing') return Promise.resolve(orders('sleep 1000'));
      if (state.value.executionState?.$case !== 'running') return Promise.resolve(goOn);
      running.resolve();
      return held(signal);
    });
    await running.promise;
    assert.equal(worker.counters().busySlots, 1);
    await worker.kill();
    assert.equal(worker.counters().leasesCancelled, 1);
  });

  it('gives each slot its own identity', async () => {
    const seen = new Set<string>();
    const both = Promise.withResolvers<void>();
    worker = await start((request, signal) => {
      assert.match(request.workerId['worker'] ?? '', /^[0-9a-f]{8}$/, 'no path: clients see it');
      seen.add(`${request.workerId['node']} ${request.workerId['thread']}`);
      if (seen.size === 2) both.resolve();
      return request.preferBeingIdle ? Promise.resolve(idle) : held(signal);
    }, 2);
    await both.promise;
    assert.deepEqual([...seen].sort(), ['n 0', 'n 1']);
    await worker.stop();
  });

  it('tells what is cached on one of its slots, once', async () => {
    const carried: boolean[] = [];
    const all = Promise.withResolvers<void>();
    worker = await start((request, signal) => {
      if (request.preferBeingIdle) return Promise.resolve(idle);
      carried.push(request.gantry?.cached !== undefined);
      if (carried.length === 3) all.resolve();
      return held(signal);
    }, 3);
    await all.promise;
    assert.deepEqual(carried, [true, false, false]);
    await worker.stop();
  });

  it('fetches in advance what the scheduler expects next', async () => {
    const input = store.seed('input of the next');
    const root = Directory.fromPartial({ files: [{ name: 'in', digest: digestToWire(input) }] });
    const next = {
      actionDigest: digestToWire(input),
      digestFunction: DigestFunction_Value.SHA256,
      inputRootDigest: digestToWire(store.seed(Directory.encode(root).finish())),
    };
    const fetched = Promise.withResolvers<void>();
    store.before = (call) => {
      if (store.calls.length === 2 && call === 'readAll') fetched.resolve();
      return Promise.resolve();
    };
    let calls = 0;
    worker = await start((_request, signal) => {
      const expecting = SynchronizeResponse.fromPartial({ nextSynchronizationAt: { seconds: 0n }, gantry: { next } });
      return ++calls === 1 ? Promise.resolve(expecting) : held(signal);
    });
    await fetched.promise;
    await worker.kill();
    assert.equal(worker.counters().prefetches, 1);
    assert.equal(worker.counters().leasesStarted, 0);
  });

  it('ends in order when every slot was told to exit', async () => {
    const exit = (response: SynchronizeResponse): SynchronizeResponse => ({ ...response, directives: { exit: true } });
    const responses: ExecuteResponse[] = [];
    const work = scripted(['exit 5'], (response) => responses.push(response));
    worker = await start(async (request, signal) => {
      const isWorking = request.currentState?.workerState?.$case === 'executing' || request.workerId['thread'] === '0';
      return exit(isWorking ? await work(request, signal) : idle);
    }, 2);
    await worker.done;
    assert.deepEqual(
      responses.map(({ result }) => result?.exitCode),
      [5],
    );
    assert.deepEqual(readdirSync(join(folder, 'slots/0')), []);
  });

  it('ends processes and removes folders that a former worker left behind', async () => {
    const left = join(folder, 'slots/0/7/root');
    mkdirSync(left, { recursive: true });
    const stray = spawn('/bin/sleep', ['1000'], { cwd: left, stdio: 'ignore' });
    const bystander = spawn('/bin/sleep', ['1000'], { cwd: '/', stdio: 'ignore' });
    await Promise.all([once(stray, 'spawn'), once(bystander, 'spawn')]);
    const strayEnd = once(stray, 'exit');
    worker = await start((_request, signal) => held(signal));
    assert.deepEqual(await strayEnd, [null, 'SIGKILL']);
    assert.equal(existsSync(left), false);
    assert.equal(bystander.exitCode ?? bystander.signalCode, null);
    bystander.kill('SIGKILL');
    await once(bystander, 'exit');
  });
});
