import assert from 'node:assert/strict';
import { fakeCall } from '../../test/support/fake-call.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { OpenAuthorizer, ReadOnlyAuthorizer } from '../auth/authorizer.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind } from '../errors.ts';
import {
  ActionResult,
  DigestFunction_Value,
  ExecuteResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SynchronizeRequest, SynchronizeResponse } from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import { DEFAULT_RULES } from '../platform/lexicon.ts';
import { RuleMatcher } from '../platform/matcher.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';
import { operationQueueMethods } from './operation-queue-service.ts';
import type { Outcome } from './scheduler/events.ts';
import { DEFAULT_OPTIONS } from './scheduler/options.ts';
import { createScheduler } from './scheduler/scheduler.ts';
import { SchedulerHost } from './scheduler-host.ts';

type Fields = Parameters<typeof SynchronizeRequest.fromPartial>[0];

const IDLE: Fields = { currentState: { workerState: { $case: 'idle', value: {} } } };
const LINUX = [{ name: 'OSFamily', value: 'linux' }];
const action = digestOf('sha256', Buffer.from('action'));
const key = { instance: parseInstanceName('main/sub'), action };

class Queue {
  readonly clock = new FakeClock(1_700_000_000_000);
  readonly matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
  readonly outcomes: Outcome<ExecutionReport>[] = [];
  readonly stages: string[] = [];
  readonly stopping = new AbortController();
  readonly host = new SchedulerHost(
    createScheduler<ExecutionWork, ExecutionReport>(this.matcher, DEFAULT_OPTIONS),
    {
      record: async () => undefined,
      stage: (_, stage) => this.stages.push(stage),
      finish: (_, outcome) => this.outcomes.push(outcome),
      broken: (error) => assert.fail(String(error)),
    },
    this.clock,
  );
  readonly #authorizer = new OpenAuthorizer();

  async synchronize(fields: Fields, signal?: AbortSignal, isReadOnly = false): Promise<SynchronizeResponse> {
    const [method] = operationQueueMethods({
      host: this.host,
      matcher: this.matcher,
      authorizer: isReadOnly ? new ReadOnlyAuthorizer(this.#authorizer) : this.#authorizer,
      clock: this.clock,
      pollMs: 50_000,
      reportIntervalMs: 10_000,
      defaultDigestFunctions: ['sha256'],
      stopping: this.stopping.signal,
    });
    assert.ok(method?.kind === 'unary');
    const request = SynchronizeRequest.fromPartial({ workerId: { node: 'n', thread: '0' }, ...fields });
    const call = fakeCall(signal === undefined ? {} : { signal });
    return SynchronizeResponse.decode(await method.handle(SynchronizeRequest.encode(request).finish(), call));
  }

  submit(): void {
    const needs = this.matcher.parse([], { digestFunction: 'sha256', legacyOutputs: false });
    const wireAction = {
      commandDigest: digestToWire(action),
      inputRootDigest: digestToWire(action),
      timeout: { seconds: 60n, nanos: 0 },
      doNotCache: false,
      salt: Buffer.alloc(0),
      platform: undefined,
    };
    const work: ExecutionWork = { key, action: wireAction, timeoutMs: 60_000, requestMetadata: undefined };
    this.host.apply({ type: 'submit', operation: 'op', key, needs, priority: 0, merge: 'any', work });
  }
}

function executing(state: 'running' | ExecuteResponse, leaseId = ''): Fields {
  const executionState =
    state === 'running' ? ({ $case: 'running', value: {} } as const) : ({ $case: 'completed', value: state } as const);
  const value = { actionDigest: digestToWire(action), executionState };
  return {
    currentState: { workerState: { $case: 'executing', value } },
    ...(leaseId !== '' && { gantry: { leaseId, serverRecordsResult: true } }),
  };
}

/** Lets the handler get to its wait. */
const settle = (): Promise<void> => new Promise(setImmediate);

describe('OperationQueue.Synchronize', () => {
  it('keeps an idle slot waiting, then tells it to stay idle and come back at once (R-BB-02, R-BB-03)', async () => {
    const queue = new Queue();
    const answer = queue.synchronize(IDLE);
    await settle();
    assert.equal(queue.host.pollingSlots, 1);
    queue.clock.advance(50_000);
    const response = await answer;
    assert.equal(response.desiredState?.workerState?.$case, 'idle');
    assert.deepEqual(response.nextSynchronizationAt, { seconds: 1_700_000_050n, nanos: 0 });
  });

  it('hands out work with everything an unmodified worker needs (R-BB-04, R-BB-12, R-BB-13, R-BB-14)', async () => {
    const queue = new Queue();
    const answer = queue.synchronize({ ...IDLE, instanceNamePrefix: 'main' });
    await settle();
    queue.clock.advance(1_000);
    queue.submit();
    const response = await answer;
    const state = response.desiredState?.workerState;
    assert.ok(state?.$case === 'executing');
    assert.deepEqual(state.value.actionDigest, digestToWire(action));
    assert.deepEqual(state.value.action?.timeout, { seconds: 60n, nanos: 0 });
    assert.equal(state.value.digestFunction, DigestFunction_Value.SHA256);
    assert.equal(state.value.instanceNameSuffix, 'sub');
    assert.deepEqual(state.value.queuedTimestamp, { seconds: 1_700_000_001n, nanos: 0 });
    assert.deepEqual(response.nextSynchronizationAt, { seconds: 1_700_000_011n, nanos: 0 });
    assert.equal(response.gantry?.instanceName, 'main/sub');
    assert.equal(response.gantry?.attempt, 1);
  });

  it('answers a slot that runs what it should at once, and leaves it alone (R-BB-05)', async () => {
    const queue = new Queue();
    queue.submit();
    await queue.synchronize(IDLE);
    const response = await queue.synchronize(executing('running'));
    assert.equal(response.desiredState, undefined);
    assert.deepEqual(response.nextSynchronizationAt, { seconds: 1_700_000_010n, nanos: 0 });
    assert.equal(queue.host.pollingSlots, 0);
  });

  it('tells a slot that runs something unexpected to be idle, without waiting (R-BB-06)', async () => {
    const queue = new Queue();
    const response = await queue.synchronize(executing('running'));
    assert.equal(response.desiredState?.workerState?.$case, 'idle');
  });

  it('sends work again to a slot that does not have it (R-BB-09)', async () => {
    const queue = new Queue();
    queue.submit();
    const first = await queue.synchronize(IDLE);
    const again = await queue.synchronize(IDLE);
    assert.equal(again.desiredState?.workerState?.$case, 'executing');
    assert.equal(again.gantry?.leaseId, first.gantry?.leaseId);
  });

  it('takes a result, then keeps the slot for the next work (R-BB-07)', async () => {
    const queue = new Queue();
    queue.submit();
    const order = await queue.synchronize(IDLE);
    const response = ExecuteResponse.fromPartial({ result: ActionResult.fromPartial({ exitCode: 2 }) });
    const abort = new AbortController();
    const next = queue.synchronize(executing(response, order.gantry?.leaseId), abort.signal);
    await settle();
    const [outcome] = queue.outcomes;
    assert.ok(outcome?.type === 'result');
    assert.deepEqual(outcome.result.response.result?.exitCode, 2);
    assert.equal(outcome.result.isRecordedByWorker, false);
    assert.equal(queue.host.pollingSlots, 1);
    abort.abort();
    await next;
  });

  it('knows that a worker without our extension records its results itself (R-BW-07)', async () => {
    const queue = new Queue();
    queue.submit();
    await queue.synchronize(IDLE);
    const response = ExecuteResponse.fromPartial({ result: ActionResult.fromPartial({}) });
    void queue.synchronize({ ...executing(response), preferBeingIdle: true });
    await settle();
    const [outcome] = queue.outcomes;
    assert.ok(outcome?.type === 'result' && outcome.result.isRecordedByWorker);
  });

  it('takes a fault of the machinery, and a result that is none, for the worker’s own: another attempt follows', async () => {
    for (const fault of [{ status: { code: 14 } }, { status: { code: 13 } }, { status: { code: 0 } }]) {
      const queue = new Queue();
      queue.submit();
      await queue.synchronize(IDLE);
      await queue.synchronize({ ...executing(ExecuteResponse.fromPartial(fault)), preferBeingIdle: true });
      assert.deepEqual([queue.outcomes, queue.stages.at(-1)], [[], 'queued'], JSON.stringify(fault));
    }
  });

  it('passes on a timeout and a bad command as they are', async () => {
    for (const code of [4, 3, 9]) {
      const queue = new Queue();
      queue.submit();
      await queue.synchronize(IDLE);
      const response = ExecuteResponse.fromPartial({ status: { code } });
      await queue.synchronize({ ...executing(response), preferBeingIdle: true });
      await settle();
      assert.equal(queue.outcomes.length, 1, `code ${code}`);
    }
  });

  it('gives nothing to a slot that prefers to be idle, and does not keep it (R-BB-10)', async () => {
    const queue = new Queue();
    queue.submit();
    const response = await queue.synchronize({ ...IDLE, preferBeingIdle: true });
    assert.equal(response.desiredState?.workerState?.$case, 'idle');
  });

  it('gives no work while the server stops, and makes slots wait a little before they ask again', async () => {
    const queue = new Queue();
    const waiting = queue.synchronize(IDLE);
    await settle();
    queue.stopping.abort();
    assert.equal((await waiting).desiredState?.workerState?.$case, 'idle');
    queue.submit();
    const response = await queue.synchronize(IDLE);
    assert.equal(response.desiredState?.workerState?.$case, 'idle');
    assert.deepEqual(response.nextSynchronizationAt, { seconds: 1_700_000_001n, nanos: 0 });
  });

  it('tells slots of one worker apart by thread, and Buildbarn’s also by platform (R-BB-01)', async () => {
    const queue = new Queue();
    const abort = new AbortController();
    const calls = [
      queue.synchronize(IDLE, abort.signal),
      queue.synchronize({ ...IDLE, workerId: { node: 'n', thread: '1' } }, abort.signal),
      queue.synchronize({ ...IDLE, platform: { properties: LINUX } }, abort.signal),
    ];
    await settle();
    assert.equal(queue.host.pollingSlots, 3);
    abort.abort();
    await Promise.all(calls);
  });

  it('tells slots apart by prefix and size class, whatever their platform is called (R-BB-01)', async () => {
    const queue = new Queue();
    const abort = new AbortController();
    const calls = [
      queue.synchronize({ ...IDLE, instanceNamePrefix: 'a' }, abort.signal),
      queue.synchronize({ ...IDLE, sizeClass: 2 }, abort.signal),
      queue.synchronize({ ...IDLE, platform: { properties: [{ name: 'under', value: 'a' }] } }, abort.signal),
      queue.synchronize({ ...IDLE, platform: { properties: [{ name: 'class', value: '2' }] } }, abort.signal),
      queue.synchronize({ ...IDLE, instanceNamePrefix: 'a class 2' }, abort.signal),
      queue.synchronize({ ...IDLE, instanceNamePrefix: 'a', sizeClass: 2 }, abort.signal),
    ];
    await settle();
    assert.equal(queue.host.pollingSlots, calls.length);
    abort.abort();
    await Promise.all(calls);
  });

  it('takes one of our own slots for the same one when its properties have changed', async () => {
    const queue = new Queue();
    const abort = new AbortController();
    const gantry = { protocolVersion: 1 };
    const older = queue.synchronize({ ...IDLE, gantry }, abort.signal);
    await settle();
    const newer = queue.synchronize({ ...IDLE, gantry, platform: { properties: LINUX } }, abort.signal);
    assert.equal((await older).desiredState?.workerState?.$case, 'idle');
    assert.equal(queue.host.pollingSlots, 1);
    abort.abort();
    await newer;
  });

  for (const [title, fields] of [
    ['no state', {}],
    ['an unknown state', { currentState: {} }],
    [
      'no digest',
      {
        currentState: {
          workerState: { $case: 'executing', value: { executionState: { $case: 'running', value: {} } } },
        },
      },
    ],
    ['an empty identity', { ...IDLE, workerId: {} }],
    ['an endless identity', { ...IDLE, workerId: { node: 'n'.repeat(70_000) } }],
    [
      'endless properties',
      { ...IDLE, platform: { properties: Array(5_000).fill({ name: 'name', value: 'a value' }) } },
    ],
    ['endless offers', { ...IDLE, gantry: { offers: Array(70_000).fill({}) } }],
    ['a malformed prefix', { ...IDLE, instanceNamePrefix: '/x' }],
  ] as const) {
    it(`refuses ${title} (R-BB-19)`, async () => {
      await assert.rejects(new Queue().synchronize(fields), (error) => isKind(error, 'invalid-argument'));
    });
  }

  it('refuses workers where they may not be', async () => {
    await assert.rejects(new Queue().synchronize(IDLE, undefined, true), (error) => isKind(error, 'denied'));
  });
});
