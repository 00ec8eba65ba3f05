import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import {
  Action,
  DigestFunction_Value,
  ExecuteResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SynchronizeRequest, SynchronizeResponse } from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import { NO_LOG } from '../system/log.ts';
import type { Lease, LeaseOutcome, LeaseStage } from './run-lease.ts';
import { timestampOf } from './wire-time.ts';
import { Slot } from './worker.ts';

/** A call that waits for its answer. */
interface Call {
  readonly request: SynchronizeRequest;
  readonly answer: (response: Parameters<typeof SynchronizeResponse.fromPartial>[0]) => void;
  readonly fail: () => void;
}

/** A lease that waits for its end. */
interface Started {
  readonly lease: Lease;
  readonly onStage: (stage: LeaseStage) => void;
  readonly signal: AbortSignal;
  readonly end: (outcome: LeaseOutcome) => void;
}

const DIGEST = digestOf('sha256', Buffer.from('action'));
const ACTION = Action.fromPartial({ commandDigest: digestToWire(DIGEST) });
const GOOD: LeaseOutcome = {
  response: ExecuteResponse.fromPartial({ result: { exitCode: 0 }, status: { code: 0 } }),
  isWorkerFault: false,
};

describe('Slot', () => {
  let clock: FakeClock;
  let calls: Call[];
  let aborted: number;
  let started: Started[];
  let recorded: ActionKey[];
  let isReady: boolean;
  let slot: Slot;
  let over: Promise<void>;

  beforeEach(() => {
    clock = new FakeClock();
    calls = [];
    aborted = 0;
    started = [];
    recorded = [];
    isReady = true;
    const scheduler = { synchronize };
    const runner = { start, cleanUp };
    const recorder = {
      record: (key: ActionKey) => {
        recorded.push(key);
        return Promise.resolve();
      },
    };
    const random = { fraction: () => 0.5, uuid: () => '', token: () => '' };
    const counters = { leasesStarted: 0, leasesCompleted: 0, leasesCancelled: 0, workerFaults: 0, syncFailures: 0 };
    slot = new Slot({ scheduler, runner, recorder }, { clock, random, log: NO_LOG }, counters, {
      workerId: { node: 'n', thread: '0' },
      instanceNamePrefix: parseInstanceName('a'),
      properties: [{ name: 'OSFamily', value: 'linux' }],
      sizeClass: 0,
    });
    over = slot.run();
  });
  afterEach(async () => {
    slot.kill();
    await over;
    assert.equal(clock.armed, 0, 'no timer is left');
  });

  function synchronize(request: SynchronizeRequest, signal: AbortSignal): Promise<SynchronizeResponse> {
    return new Promise((resolve, reject) => {
      // What goes over the wire, not what may change afterwards.
      const copy = SynchronizeRequest.decode(SynchronizeRequest.encode(request).finish());
      calls.push({
        request: copy,
        answer: (response) => resolve(SynchronizeResponse.fromPartial(response)),
        fail: () => reject(new ReapiError('unavailable', 'no scheduler')),
      });
      signal.addEventListener('abort', () => {
        aborted++;
        reject(new ReapiError('cancelled', 'cancelled'));
      });
    });
  }

  function start(lease: Lease, onStage: (stage: LeaseStage) => void, signal: AbortSignal): Promise<LeaseOutcome> {
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new ReapiError('cancelled', 'cancelled')));
      started.push({ lease, onStage, signal, end: resolve });
    });
  }

  function cleanUp(): Promise<void> {
    return isReady ? Promise.resolve() : Promise.reject(new ReapiError('unavailable', 'no disk'));
  }

  /** Lets everything happen that does not need time. */
  async function settle(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await nextTurn();
  }

  /** The next call, which may be held back for the time in which changes of stage are gathered. */
  async function next(): Promise<Call> {
    await settle();
    if (calls.length === 0) clock.advance(100);
    await settle();
    const call = calls.shift();
    assert.ok(call, 'the slot should have called the scheduler');
    return call;
  }

  function at<T>(list: readonly T[], index: number): T {
    const item = list.at(index);
    assert.ok(item);
    return item;
  }

  const inMs = (ms: number) => timestampOf(clock.nowMs() + ms);
  const orders = (leaseId: string, serverRecordsResult = true) => ({
    nextSynchronizationAt: inMs(10_000),
    desiredState: {
      workerState: {
        $case: 'executing' as const,
        value: {
          actionDigest: digestToWire(DIGEST),
          action: ACTION,
          digestFunction: DigestFunction_Value.SHA256,
          instanceNameSuffix: 'b',
        },
      },
    },
    ...(leaseId === '' ? {} : { gantry: { leaseId, serverRecordsResult } }),
  });
  const idle = () => ({
    nextSynchronizationAt: inMs(0),
    desiredState: { workerState: { $case: 'idle' as const, value: {} } },
  });
  const goOn = (ms = 10_000) => ({ nextSynchronizationAt: inMs(ms) });
  const stateOf = (call: Call): string => {
    const state = call.request.currentState?.workerState;
    return state?.$case === 'executing' ? (state.value.executionState?.$case ?? '') : (state?.$case ?? '');
  };

  it('starts idle, and says who it is and what it offers', async () => {
    const { request } = await next();
    assert.deepEqual(request.workerId, { node: 'n', thread: '0' });
    assert.equal(request.instanceNamePrefix, 'a');
    assert.deepEqual(request.platform?.properties, [{ name: 'OSFamily', value: 'linux' }]);
    assert.equal(request.currentState?.workerState?.$case, 'idle');
    assert.equal(request.gantry?.protocolVersion, 1);
    assert.equal(request.gantry?.serverRecordsResult, true);
    assert.deepEqual(request.gantry?.digestFunctions, [DigestFunction_Value.SHA256]);
  });

  it('starts what it is ordered to, under the whole instance name (R-BB-14), and reports it (R-BW-02)', async () => {
    (await next()).answer(orders('L1'));
    const call = await next();
    assert.equal(at(started, 0).lease.key.instance, 'a/b');
    assert.equal(stateOf(call), 'started');
    assert.equal(call.request.gantry?.leaseId, 'L1');
    assert.equal(call.request.gantry?.running?.instanceName, 'a/b');
  });

  it('gathers changes of stage for a tenth of a second, and reports the last', async () => {
    (await next()).answer(orders('L1'));
    await settle();
    at(started, 0).onStage('fetching');
    clock.advance(99);
    at(started, 0).onStage('running');
    await settle();
    assert.equal(calls.length, 0);
    clock.advance(1);
    assert.equal(stateOf(await next()), 'running');
  });

  it('reports the end of a lease at once: a short one costs a single call', async () => {
    (await next()).answer(orders('L1'));
    await settle();
    at(started, 0).onStage('running');
    at(started, 0).end(GOOD);
    await settle();
    assert.deepEqual(calls.map(stateOf), ['completed']);
  });

  it('reports what happens during a call when the call is over', async () => {
    (await next()).answer(orders('L1'));
    const first = await next();
    at(started, 0).onStage('running');
    clock.advance(100);
    await settle();
    assert.equal(calls.length, 0, 'one call at a time');
    first.answer(goOn());
    assert.equal(stateOf(await next()), 'running');
  });

  it('says the same again when the scheduler asked for it (R-BW-02)', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(goOn(10_000));
    await settle();
    assert.equal(calls.length, 0);
    clock.advance(9_999);
    await settle();
    assert.equal(calls.length, 0);
    clock.advance(1);
    assert.equal(stateOf(await next()), 'started');
  });

  it('bears clocks that differ: it waits between 0 and 60 s (R-BB-28)', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(goOn(-3_600_000));
    (await next()).answer(goOn(3_600_000));
    await settle();
    assert.equal(calls.length, 0);
    clock.advance(60_000);
    await next();
  });

  it('reports the response, and takes the next orders from the answer', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(goOn());
    await settle();
    at(started, 0).end(GOOD);
    const call = await next();
    assert.equal(stateOf(call), 'completed');
    assert.equal(call.request.preferBeingIdle, false);
    call.answer(orders('L2'));
    assert.equal((await next()).request.gantry?.leaseId, 'L2');
    assert.equal(started.length, 2);
    assert.equal(slot.counters.leasesCompleted, 1);
  });

  it('repeats a response until the scheduler has answered', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(goOn());
    await settle();
    at(started, 0).end(GOOD);
    (await next()).fail();
    await settle();
    clock.advance(5_000);
    const call = await next();
    assert.equal(stateOf(call), 'completed');
    call.answer(idle());
    assert.equal(stateOf(await next()), 'idle');
  });

  it('goes on with a lease that is ordered again', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(orders('L1'));
    await settle();
    assert.equal(started.length, 1);
    assert.equal(at(started, 0).signal.aborted, false);
  });

  it('gives up its lease for another, never holding two', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(orders('L2'));
    assert.equal((await next()).request.gantry?.leaseId, 'L2');
    assert.equal(at(started, 0).signal.aborted, true);
    assert.equal(started.length, 2);
    assert.equal(slot.counters.leasesCancelled, 1);
  });

  it('aborts its lease when told to be idle (R-BB-25)', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(idle());
    assert.equal(stateOf(await next()), 'idle');
    assert.equal(at(started, 0).signal.aborted, true);
  });

  it('pauses up to 5 s after a failed call while it holds nothing (R-BW-05)', async () => {
    (await next()).fail();
    await settle();
    clock.advance(2_499);
    await settle();
    assert.equal(calls.length, 0);
    clock.advance(1);
    await next();
  });

  it('pauses up to 1 s after a failed call while it holds a lease, which goes on (R-BW-05)', async () => {
    (await next()).answer(orders('L1'));
    (await next()).fail();
    await settle();
    clock.advance(499);
    await settle();
    assert.equal(calls.length, 0);
    clock.advance(1);
    await next();
    assert.equal(at(started, 0).signal.aborted, false);
    assert.equal(slot.counters.syncFailures, 1);
  });

  it('prefers being idle once after a fault of its own (R-BW-03)', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(goOn());
    await settle();
    at(started, 0).end({ ...GOOD, isWorkerFault: true });
    const call = await next();
    assert.equal(call.request.preferBeingIdle, true);
    call.answer(idle());
    assert.equal((await next()).request.preferBeingIdle, false);
    assert.equal(slot.counters.workerFaults, 1);
  });

  it('does not synchronise while its build directory cannot be used (R-BW-01)', async () => {
    isReady = false;
    (await next()).answer(idle());
    await settle();
    clock.advance(200);
    await settle();
    assert.equal(calls.length, 0);
    isReady = true;
    clock.advance(5_000);
    await next();
  });

  it('does not hammer a scheduler that answers at once', async () => {
    (await next()).answer(idle());
    await settle();
    assert.equal(calls.length, 0);
    clock.advance(200);
    await next();
  });

  it('writes the action cache itself unless the server does (R-BW-07)', async () => {
    const cases = [
      { server: false, exitCode: 0, code: 0, writes: 1 },
      { server: true, exitCode: 0, code: 0, writes: 0 },
      { server: false, exitCode: 1, code: 0, writes: 0 },
      { server: false, exitCode: 0, code: 4, writes: 0 },
    ];
    let call = await next();
    for (const [index, { server, exitCode, code, writes }] of cases.entries()) {
      recorded = [];
      call.answer(orders(`L${index}`, server));
      (await next()).answer(goOn());
      await settle();
      const response = ExecuteResponse.fromPartial({ result: { exitCode }, status: { code } });
      at(started, -1).end({ response, isWorkerFault: false });
      call = await next();
      assert.equal(recorded.length, writes, JSON.stringify(cases[index]));
    }
  });

  it('writes the action cache under a scheduler that sends no orders of ours', async () => {
    (await next()).answer(orders(''));
    (await next()).answer(goOn());
    await settle();
    at(started, 0).end(GOOD);
    await next();
    assert.equal(recorded[0]?.instance, 'a/b');
  });

  it('stops at once when it is idle, leaving the long poll', async () => {
    await next();
    slot.stop();
    const call = await next();
    assert.equal(aborted, 1);
    assert.equal(call.request.preferBeingIdle, true);
    call.answer(idle());
    await over;
  });

  it('finishes and reports its lease before it stops (R-BW-04)', async () => {
    (await next()).answer(orders('L1'));
    (await next()).answer(goOn());
    await settle();
    slot.stop();
    const call = await next();
    assert.equal(call.request.preferBeingIdle, true);
    call.answer(goOn());
    await settle();
    assert.equal(at(started, 0).signal.aborted, false);
    at(started, 0).end(GOOD);
    const last = await next();
    assert.equal(stateOf(last), 'completed');
    last.answer(idle());
    await over;
  });

  it('stops without the scheduler when that has been away for a minute (R-BW-04)', async () => {
    await next();
    slot.stop();
    for (let pause = 0; pause < 26; pause++) {
      await settle();
      for (const call of calls.splice(0)) call.fail();
      await settle();
      clock.advance(2_500);
    }
    await over;
  });

  it('aborts everything when killed', async () => {
    (await next()).answer(orders('L1'));
    await next();
    slot.kill();
    await over;
    assert.equal(at(started, 0).signal.aborted, true);
  });

  it('outlives orders that make no sense', async () => {
    (await next()).answer({
      nextSynchronizationAt: inMs(0),
      desiredState: { workerState: { $case: 'executing', value: { digestFunction: DigestFunction_Value.SHA256 } } },
    });
    await settle();
    clock.advance(5_000);
    assert.equal(stateOf(await next()), 'idle');
  });
});
