import assert from 'node:assert/strict';
import {
  action,
  caseOf,
  executing,
  type Fields,
  IDLE,
  LINUX,
  other,
  passed,
  Queue,
  settle,
} from '../../test/support/operation-queue-world.ts';
import { digestToWire } from '../digest/digest.ts';
import { isKind } from '../errors.ts';
import {
  ActionResult,
  DigestFunction_Value,
  ExecuteResponse,
  RequestMetadata,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

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

  it('leaves a slot alone also while it fetches inputs, however often it says so (R-BB-05)', async () => {
    const queue = new Queue();
    queue.submit();
    const { gantry } = await queue.synchronize(IDLE);
    for (const fields of [executing('fetching'), executing('fetching', { leaseId: gantry?.leaseId ?? '' })]) {
      const response = await queue.synchronize(fields);
      assert.deepEqual([response.desiredState, response.gantry], [undefined, undefined]);
    }
    assert.deepEqual(queue.stages, ['queued', 'executing'], 'assigned is executing (R-BB-24)');
  });

  it('tells a slot that runs something unexpected to be idle, without waiting (R-BB-06)', async () => {
    const queue = new Queue({ adoptionGraceMs: 0 });
    assert.equal(caseOf(await queue.synchronize(executing('running'))), 'idle');
    assert.equal(queue.host.pollingSlots, 0);
  });

  it('sends what is assigned again to a slot that runs something else, and new work if nothing is (R-BB-06)', async () => {
    const queue = new Queue({ adoptionGraceMs: 0 });
    queue.submit();
    for (let time = 0; time < 2; time++) {
      const { desiredState } = await queue.synchronize(executing('running', { of: other }));
      assert.ok(desiredState?.workerState?.$case === 'executing');
      assert.deepEqual(desiredState.workerState.value.actionDigest, digestToWire(action));
    }
  });

  it('discards a result of something else, and goes on as with an idle slot (R-BB-08)', async () => {
    const queue = new Queue();
    queue.submit();
    const first = await queue.synchronize(IDLE);
    const again = await queue.synchronize(executing(passed, { of: other }));
    assert.equal(again.gantry?.leaseId, first.gantry?.leaseId);
    await settle();
    assert.deepEqual([queue.outcomes, queue.recorded], [[], []]);
    const stray = new Queue();
    const answer = stray.synchronize(executing(passed, { of: other }));
    await settle();
    assert.equal(stray.host.pollingSlots, 1);
    stray.clock.advance(50_000);
    assert.equal(caseOf(await answer), 'idle');
  });

  it('sends work again to a slot that does not have it (R-BB-09)', async () => {
    const queue = new Queue();
    queue.submit();
    const first = await queue.synchronize(IDLE);
    const again = await queue.synchronize(IDLE);
    assert.equal(again.desiredState?.workerState?.$case, 'executing');
    assert.equal(again.gantry?.leaseId, first.gantry?.leaseId);
  });

  it('gives up after nine times: the action may be what takes the worker down (R-BB-09)', async () => {
    const queue = new Queue();
    queue.submit();
    for (let sent = 1; sent <= 10; sent++) assert.equal(caseOf(await queue.synchronize(IDLE)), 'executing');
    const abort = new AbortController();
    const answer = queue.synchronize(IDLE, abort.signal);
    await settle();
    const [outcome] = queue.outcomes;
    assert.ok(outcome?.type === 'failed' && outcome.error.kind === 'internal');
    abort.abort();
    await answer;
  });

  it('takes a result, then keeps the slot for the next work (R-BB-07)', async () => {
    const queue = new Queue();
    queue.submit();
    const order = await queue.synchronize(IDLE);
    const response = ExecuteResponse.fromPartial({ result: ActionResult.fromPartial({ exitCode: 2 }) });
    const abort = new AbortController();
    const next = queue.synchronize(executing(response, { leaseId: order.gantry?.leaseId ?? '' }), abort.signal);
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

  it('processes a completion of a slot that prefers to be idle, then tells it to be idle at once (R-BB-10)', async () => {
    const queue = new Queue();
    queue.submit();
    await queue.synchronize(IDLE);
    queue.submit({ operation: 'next', of: other });
    const response = await queue.synchronize({ ...executing(passed), preferBeingIdle: true });
    assert.equal(caseOf(response), 'idle');
    await settle();
    assert.equal(queue.outcomes.length, 1);
  });

  it('sends what is assigned again also to a slot that prefers to be idle (R-BB-10)', async () => {
    const queue = new Queue();
    queue.submit();
    await queue.synchronize(IDLE);
    assert.equal(caseOf(await queue.synchronize({ ...IDLE, preferBeingIdle: true })), 'executing');
  });

  it('says in every answer when to come again, by the wall clock (R-BB-11, R-BB-28)', async () => {
    const queue = new Queue({ adoptionGraceMs: 0 });
    queue.clock.jump(86_400_000);
    const nowSeconds = BigInt(Math.floor(queue.clock.nowMs() / 1000));
    const secondsOf = async (fields: Fields) => (await queue.synchronize(fields)).nextSynchronizationAt?.seconds;
    assert.equal(await secondsOf({ ...IDLE, preferBeingIdle: true }), nowSeconds);
    assert.equal(await secondsOf(executing('running')), nowSeconds);
    queue.submit();
    assert.equal(await secondsOf(IDLE), nowSeconds + 10n);
    assert.equal(await secondsOf(executing('running')), nowSeconds + 10n);
    assert.equal(await secondsOf({ ...executing(passed), preferBeingIdle: true }), nowSeconds);
  });

  it('names what is left of the instance name below the prefix of the worker (R-BB-14)', async () => {
    for (const [prefix, instance, suffix] of [
      ['', 'main/sub', 'main/sub'],
      ['main', 'main/sub', 'sub'],
      ['main/sub', 'main/sub', ''],
      ['', '', ''],
    ] as const) {
      const queue = new Queue();
      queue.submit({ instance });
      const { desiredState } = await queue.synchronize({ ...IDLE, instanceNamePrefix: prefix });
      assert.ok(desiredState?.workerState?.$case === 'executing');
      assert.equal(desiredState.workerState.value.instanceNameSuffix, suffix);
    }
  });

  it('gives a worker only what lies under its prefix (R-BB-15)', async () => {
    const queue = new Queue();
    queue.submit({ instance: 'mainland' });
    assert.equal(
      caseOf(await queue.synchronize({ ...IDLE, instanceNamePrefix: 'main', preferBeingIdle: true })),
      'idle',
    );
    queue.submit({ operation: 'second', instance: 'main', of: other });
    const { gantry } = await queue.synchronize({ ...IDLE, instanceNamePrefix: 'main' });
    assert.equal(gantry?.instanceName, 'main');
  });

  it('takes no result for an instance name beside its prefix, also while work is adopted (R-BB-15)', async () => {
    const queue = new Queue();
    queue.submit({ instance: 'theirs' });
    const running = { instanceName: 'theirs', actionDigest: digestToWire(action) };
    const foreign = executing(passed, { leaseId: 'former-1', gantry: { running } });
    await assert.rejects(
      queue.synchronize({ ...foreign, instanceNamePrefix: 'ours', preferBeingIdle: true }),
      (error) => isKind(error, 'invalid-argument'),
    );
    await settle();
    assert.deepEqual(queue.outcomes, []);
  });

  it('matches by what is asked for, and not by the whole set; in any order (R-BB-16, R-BB-17)', async () => {
    const queue = new Queue();
    queue.submit({ platform: LINUX });
    const properties = [...LINUX, { name: 'libc', value: 'musl' }, { name: 'ISA', value: 'x86-64' }];
    assert.equal(caseOf(await queue.synchronize({ ...IDLE, platform: { properties } })), 'executing');
    queue.submit({ operation: 'mac', of: other, platform: [{ name: 'OSFamily', value: 'macos' }] });
    const idle = { ...IDLE, workerId: { node: 'm' }, preferBeingIdle: true };
    assert.equal(caseOf(await queue.synchronize({ ...idle, platform: { properties: LINUX } })), 'idle');
  });

  it('lets a newer call of the same identity end the older one (R-BB-18)', async () => {
    const queue = new Queue();
    const abort = new AbortController();
    const older = queue.synchronize(IDLE);
    await settle();
    const newer = queue.synchronize(IDLE, abort.signal);
    assert.equal(caseOf(await older), 'idle');
    assert.equal(queue.host.pollingSlots, 1);
    queue.submit();
    assert.equal(caseOf(await newer), 'executing');
  });

  it('forgets a worker that is silent for 60 s, and its work is queued again (R-BB-20)', async () => {
    const queue = new Queue();
    queue.submit();
    await queue.synchronize(IDLE);
    queue.clock.advance(59_999);
    assert.equal(queue.stages.at(-1), 'executing');
    queue.clock.advance(1);
    assert.equal(queue.stages.at(-1), 'queued');
    assert.equal(queue.host.view.counts.slots, 0);
  });

  it('fails what waits for a platform when its last worker has been gone for the grace (R-BB-21)', async () => {
    const queue = new Queue({ platformGraceMs: 1_000 });
    const abort = new AbortController();
    const answer = queue.synchronize({ ...IDLE, platform: { properties: LINUX } }, abort.signal);
    await settle();
    queue.clock.advance(2_000);
    abort.abort();
    await answer;
    queue.submit({ platform: LINUX });
    assert.equal(queue.outcomes.length, 0);
    queue.clock.advance(1_000);
    const [outcome] = queue.outcomes;
    assert.ok(outcome?.type === 'failed' && outcome.error.kind === 'unavailable');
  });

  it('tries a failure of a small size class again on the largest (R-BB-22, R-BB-23)', async () => {
    const queue = new Queue();
    const [small, large] = [1, 4].map((sizeClass) => ({ workerId: { node: `n${sizeClass}` }, sizeClass }));
    queue.submit();
    await queue.synchronize({ ...IDLE, ...small });
    const abort = new AbortController();
    const waiting = queue.synchronize({ ...IDLE, ...large }, abort.signal);
    await settle();
    const failed = ExecuteResponse.fromPartial({ result: ActionResult.fromPartial({ exitCode: 1 }) });
    await queue.synchronize({ ...executing(failed), ...small, preferBeingIdle: true });
    assert.deepEqual(queue.outcomes, []);
    assert.equal((await waiting).gantry?.attempt, 2);
    abort.abort();
  });

  it('tells the worker of a cancelled action to be idle, and discards its result (R-BB-25)', async () => {
    const queue = new Queue();
    queue.submit();
    const { gantry } = await queue.synchronize(IDLE);
    queue.host.apply({ type: 'cancel', operation: 'op' });
    assert.equal(caseOf(await queue.synchronize(executing('running'))), 'idle');
    const own = { leaseId: gantry?.leaseId ?? '', gantry: { running: { instanceName: 'main/sub' } } };
    assert.equal(caseOf(await queue.synchronize(executing('running', own))), 'idle');
    assert.equal(caseOf(await queue.synchronize({ ...executing(passed), preferBeingIdle: true })), 'idle');
    await settle();
    assert.deepEqual([queue.outcomes.length, queue.recorded], [1, []]);
  });

  it('gives other work at once to the worker of a cancelled action (R-BB-25)', async () => {
    const queue = new Queue();
    queue.submit();
    await queue.synchronize(IDLE);
    queue.host.apply({ type: 'cancel', operation: 'op' });
    queue.submit({ operation: 'next', of: other });
    const { desiredState } = await queue.synchronize(executing('running'));
    assert.ok(desiredState?.workerState?.$case === 'executing');
    assert.deepEqual(desiredState.workerState.value.actionDigest, digestToWire(other));
  });

  it('hands on what the client says of its invocation (R-BB-26)', async () => {
    const queue = new Queue();
    const requestMetadata = RequestMetadata.fromPartial({ toolInvocationId: 'build-1' });
    queue.submit({ requestMetadata });
    const { desiredState } = await queue.synchronize(IDLE);
    assert.ok(desiredState?.workerState?.$case === 'executing');
    const [packed, ...rest] = desiredState.workerState.value.auxiliaryMetadata;
    assert.equal(packed?.typeUrl, 'type.googleapis.com/build.bazel.remote.execution.v2.RequestMetadata');
    assert.deepEqual(RequestMetadata.decode(packed.value), requestMetadata);
    assert.deepEqual(rest, []);
  });

  it('lets those who ask take turns, whoever asked first or more (R-BB-29)', async () => {
    const queue = new Queue();
    queue.submit({ operation: 'one', shares: ['alice'], instance: 'one' });
    queue.submit({ operation: 'two', shares: ['alice'], instance: 'two' });
    queue.submit({ operation: 'three', shares: ['bob'], instance: 'three' });
    const names: unknown[] = [];
    for (const node of ['a', 'b', 'c']) {
      const { gantry } = await queue.synchronize({ ...IDLE, workerId: { node } });
      names.push(gantry?.instanceName);
    }
    assert.deepEqual(names, ['one', 'three', 'two']);
  });

  it('gives drained workers nothing new: patterns select by worker_id (R-BB-30)', async () => {
    const queue = new Queue();
    queue.submit();
    await queue.synchronize(IDLE);
    queue.host.apply({ type: 'drain', pattern: { node: 'n' }, on: true });
    assert.equal((await queue.synchronize(executing('running'))).desiredState, undefined, 'it finishes what it holds');
    queue.submit({ operation: 'next', of: other });
    const abort = new AbortController();
    const answer = queue.synchronize(executing(passed), abort.signal);
    await settle();
    assert.equal(queue.host.pollingSlots, 1);
    queue.host.apply({ type: 'drain', pattern: { node: 'n' }, on: false });
    assert.equal(caseOf(await answer), 'executing');
  });

  it('gives nothing to a slot that prefers to be idle, and does not keep it (R-BB-10)', async () => {
    const queue = new Queue();
    queue.submit();
    const response = await queue.synchronize({ ...IDLE, preferBeingIdle: true });
    assert.equal(response.desiredState?.workerState?.$case, 'idle');
  });

  it('forgets a slot of ours that leaves, as soon as it holds nothing', async () => {
    const queue = new Queue();
    queue.submit();
    const leaving = { ...IDLE, preferBeingIdle: true, gantry: { leaving: true } };
    const order = await queue.synchronize({ ...IDLE, gantry: {} });
    const own = { leaseId: order.gantry?.leaseId ?? '', gantry: { leaving: true } };
    await queue.synchronize({ ...executing('running', own), preferBeingIdle: true });
    assert.equal(queue.host.view.counts.slots, 1, 'it runs an action');
    const response = ExecuteResponse.fromPartial({ result: ActionResult.fromPartial({}) });
    await queue.synchronize({ ...executing(response, own), preferBeingIdle: true });
    assert.equal(queue.host.view.counts.slots, 0);
    await queue.synchronize({ ...leaving, gantry: {} });
    assert.equal(queue.host.view.counts.slots, 1, 'it may only be unwell');
    await queue.synchronize(leaving);
    assert.equal(queue.host.view.counts.slots, 0);
    assert.equal(queue.outcomes.length, 1);
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

  const malformed: readonly (readonly [string, Fields])[] = [
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
    ['a digest that is none', executing('running', { of: { ...action, hash: 'abc' } })],
    [
      'a digest without an execution state',
      { currentState: { workerState: { $case: 'executing', value: { actionDigest: digestToWire(action) } } } },
    ],
    [
      'a malformed instance name of what it runs',
      executing('running', { leaseId: 'x', gantry: { running: { instanceName: '//' } } }),
    ],
    ['a property that does not parse', { ...IDLE, platform: { properties: [{ name: 'cores', value: 'many' }] } }],
    [
      'an identity of too many entries',
      { ...IDLE, workerId: Object.fromEntries(Array.from({ length: 33 }, (_, at) => [at, 'x'])) },
    ],
    ['an empty identity', { ...IDLE, workerId: {} }],
    ['an endless identity', { ...IDLE, workerId: { node: 'n'.repeat(70_000) } }],
    [
      'endless properties',
      { ...IDLE, platform: { properties: Array(5_000).fill({ name: 'name', value: 'a value' }) } },
    ],
    ['endless offers', { ...IDLE, gantry: { offers: Array(70_000).fill({}) } }],
    ['more offers than anything is compared with', { ...IDLE, gantry: { offers: Array(65).fill({}) } }],
    ['endless digest functions', { ...IDLE, gantry: { digestFunctions: Array(65).fill(1) } }],
    ['an endless incarnation', { ...IDLE, gantry: { incarnation: 'x'.repeat(70_000) } }],
    ['an endless lease', executing('running', { leaseId: 'x'.repeat(70_000) })],
    ['a malformed prefix', { ...IDLE, instanceNamePrefix: '/x' }],
  ];
  for (const [title, fields] of malformed) {
    it(`refuses ${title} (R-BB-19)`, async () => {
      await assert.rejects(new Queue().synchronize(fields), (error) => isKind(error, 'invalid-argument'));
    });
  }

  it('refuses workers where they may not be', async () => {
    await assert.rejects(new Queue().synchronize(IDLE, undefined, true), (error) => isKind(error, 'denied'));
  });
});
