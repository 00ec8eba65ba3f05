import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryWorkerStore } from '../../test/support/memory-worker-store.ts';
import { QuickClock } from '../../test/support/quick-clock.ts';
import { digestToWire } from '../digest/digest.ts';
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
import { NO_LOG } from '../system/log.ts';
import { type RunningWorker, startWorker, WORKER_DEFAULTS } from './start-worker.ts';

/** Calls that fail while the server is away, a second or less apart. */
const CALLS_AWAY = 130;

/** The calls a worker makes for one action, each a moment at which its server may die; `n` is which of these calls. */
const MOMENTS = [
  { call: 'idle', n: 1 },
  { call: 'executing', n: 1 },
  { call: 'readAll', n: 1 },
  { call: 'readAll', n: 2 },
  { call: 'readAll', n: 3 },
  { call: 'open', n: 1 },
  { call: 'findMissing', n: 1 },
  { call: 'writeAll', n: 1 },
  { call: 'write', n: 1 },
  { call: 'completed', n: 1 },
] as const;

/**
 * One worker, one action, and a server that is killed at a call of any kind. What it stored is still there when it comes
 * back; what it knew of slots is not.
 */
describe('a worker whose server is killed and started again', () => {
  let folder: string;
  let store: MemoryWorkerStore;
  let worker: RunningWorker;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'restart-'));
    store = new MemoryWorkerStore();
  });
  afterEach(async () => {
    await worker.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  function orders(): SynchronizeResponse {
    const script = `echo ran >>${join(folder, 'runs')}; cat in large >large-out; echo small >small-out; echo said`;
    const command = Command.fromPartial({
      arguments: ['/bin/sh', '-c', script],
      outputPaths: ['small-out', 'large-out'],
      environmentVariables: [{ name: 'PATH', value: '/usr/bin:/bin' }],
    });
    const file = (name: string, text: string) => ({ name, digest: digestToWire(store.seed(text)) });
    const root = Directory.fromPartial({ files: [file('in', 'input'), file('large', 'L'.repeat(5000))] });
    const action = Action.fromPartial({
      commandDigest: digestToWire(store.seed(Command.encode(command).finish())),
      inputRootDigest: digestToWire(store.seed(Directory.encode(root).finish())),
      // Time flies while the command runs.
      timeout: { seconds: 86_400n * 365n },
    });
    const actionDigest = digestToWire(store.seed(Action.encode(action).finish()));
    const value = { actionDigest, action, digestFunction: DigestFunction_Value.SHA256 };
    return SynchronizeResponse.fromPartial({
      nextSynchronizationAt: { seconds: 0n },
      desiredState: { workerState: { $case: 'executing', value } },
      gantry: { leaseId: 'old.1', serverRecordsResult: true },
    });
  }

  const goOn = SynchronizeResponse.fromPartial({ nextSynchronizationAt: { seconds: 2n ** 33n } });
  const idle = SynchronizeResponse.fromPartial({
    nextSynchronizationAt: { seconds: 0n },
    desiredState: { workerState: { $case: 'idle', value: {} } },
  });

  function held(signal: AbortSignal): Promise<SynchronizeResponse> {
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new ReapiError('cancelled', 'c'))));
  }

  /** Runs the action on a server that dies at that call. `isHeard`: it still did what it was asked, and did not say so. */
  async function runWithDeathAt(moment: (typeof MOMENTS)[number], isHeard: boolean): Promise<ExecuteResponse[]> {
    const taken: ExecuteResponse[] = [];
    const over = Promise.withResolvers<void>();
    const ordered = orders();
    let seen = 0;
    let away = 0;
    const isAway = (call: string): boolean => {
      if (call === moment.call && ++seen === moment.n) away = CALLS_AWAY;
      return away > 0 && away-- > 0;
    };
    const died = new ReapiError('unavailable', 'nobody listens');
    store.before = (call) => (isAway(call) ? Promise.reject(died) : Promise.resolve());
    const synchronize = (request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> => {
      const state = request.currentState?.workerState;
      const stage = state?.$case === 'executing' ? state.value.executionState : undefined;
      const call = stage === undefined ? 'idle' : stage.$case === 'completed' ? 'completed' : 'executing';
      const isLost = isAway(call);
      if (stage !== undefined) assert.equal(request.gantry?.leaseId, 'old.1');
      if (stage?.$case === 'completed' && (!isLost || (isHeard && away === CALLS_AWAY - 1))) taken.push(stage.value);
      if (isLost) return Promise.reject(died);
      if (stage !== undefined) return Promise.resolve(stage.$case === 'completed' ? idle : goOn);
      if (taken.length === 0) return Promise.resolve(ordered);
      over.resolve();
      return request.preferBeingIdle ? Promise.resolve(idle) : held(signal);
    };
    worker = await startWorker(
      {
        scheduler: { synchronize },
        recorder: { record: () => Promise.reject(new ReapiError('internal', 'the server records')) },
        storeFor: () => store,
        statusOf: (error) => ({ code: 2, message: String(error), details: [] }),
      },
      {
        clock: new QuickClock(),
        random: { fraction: () => 0.15, uuid: () => 'u', token: () => '' },
        log: NO_LOG,
      },
      {
        ...WORKER_DEFAULTS,
        dataFolder: folder,
        node: 'n',
        slots: 1,
        instanceNamePrefix: parseInstanceName(''),
        properties: [],
        cacheSizeBytes: 1e6,
      },
    );
    await over.promise;
    assert.ok(seen >= moment.n, 'the server has died');
    return taken;
  }

  const lost = MOMENTS.map((moment) => ({ ...moment, moment, isHeard: false }));
  const completed = lost.filter(({ call }) => call === 'completed').map((one) => ({ ...one, isHeard: true }));
  for (const { call, n, moment, isHeard } of [...lost, ...completed]) {
    const how = isHeard ? 'after it heard' : 'before it hears';
    it(`runs its action once and hands over the result when the server dies ${how} "${call}" ${n}`, async () => {
      const taken = await runWithDeathAt(moment, isHeard);
      assert.equal(readFileSync(join(folder, 'runs'), 'utf8'), 'ran\n');
      for (const { status, result } of taken) {
        assert.deepEqual([status?.code, status?.message, result?.exitCode], [0, '', 0]);
        assert.equal(result?.outputFiles.length, 2);
        for (const { digest } of result.outputFiles) {
          const { hash = '', sizeBytes = 0n } = digest ?? {};
          assert.ok(store.text({ function: 'sha256', hash, sizeBytes: Number(sizeBytes) }));
        }
      }
      const { leasesStarted, leasesCompleted, leasesCancelled, workerFaults } = worker.counters();
      const counted = { leasesStarted, leasesCompleted, leasesCancelled, workerFaults };
      assert.deepEqual(counted, { leasesStarted: 1, leasesCompleted: 1, leasesCancelled: 0, workerFaults: 0 });
    });
  }
});
