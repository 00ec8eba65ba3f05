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
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { sketchOf } from '../platform/locality.ts';

describe('OperationQueue.Synchronize with workers of ours', () => {
  it('tells our own workers to exit when they are terminated and hold nothing; a plain one just stays idle', async () => {
    const queue = new Queue();
    queue.host.apply({ type: 'drain', pattern: {}, on: true, isTermination: true });
    const { directives, desiredState } = await queue.synchronize({ ...IDLE, gantry: {} });
    assert.deepEqual([directives?.exit, desiredState?.workerState?.$case], [true, 'idle']);
    const abort = new AbortController();
    const plain = queue.synchronize({ ...IDLE, workerId: { node: 'plain' } }, abort.signal);
    await settle();
    assert.equal(queue.host.pollingSlots, 1);
    abort.abort();
    assert.equal((await plain).directives, undefined);
  });

  it('hints to our own workers what comes next, and its input root', async () => {
    const queue = new Queue();
    queue.submit();
    queue.submit({ operation: 'next', of: other });
    const { gantry } = await queue.synchronize({ ...IDLE, gantry: {} });
    const response = await queue.synchronize(executing('running', { leaseId: gantry?.leaseId ?? '' }));
    assert.deepEqual(response.gantry?.next, {
      actionDigest: digestToWire(other),
      digestFunction: DigestFunction_Value.SHA256,
      instanceName: 'main/sub',
      inputRootDigest: digestToWire(action),
    });
    assert.equal(response.desiredState, undefined);
    assert.equal((await queue.synchronize(executing('running'))).gantry, undefined, 'a plain worker gets none');
  });

  it('adopts what a worker of ours began under a former server, under its whole key', async () => {
    const queue = new Queue();
    const running = { instanceName: 'main/sub', digestFunction: DigestFunction_Value.SHA256 };
    const report = executing('running', { leaseId: 'former-1', gantry: { running } });
    const response = await queue.synchronize(report);
    assert.equal(response.desiredState, undefined, 'it goes on');
    queue.submit();
    assert.deepEqual(queue.stages, ['executing']);
    await queue.synchronize({
      ...executing(passed, { leaseId: 'former-1', gantry: { running } }),
      preferBeingIdle: true,
    });
    await settle();
    assert.deepEqual([queue.outcomes.length, queue.recorded], [1, [false]]);
  });

  it('adopts what a plain worker began, which says only the digest', async () => {
    const queue = new Queue();
    assert.equal((await queue.synchronize(executing('running'))).desiredState, undefined);
    queue.submit();
    assert.deepEqual(queue.stages, ['executing']);
    await queue.synchronize({ ...executing(passed), preferBeingIdle: true });
    await settle();
    assert.deepEqual([queue.outcomes.length, queue.recorded], [1, [true]]);
  });

  it('takes an attempt that ran out of memory for one that a larger machine may do', async () => {
    const queue = new Queue();
    queue.submit();
    const { gantry } = await queue.synchronize(IDLE);
    const killed = ExecuteResponse.fromPartial({ result: ActionResult.fromPartial({ exitCode: 137 }) });
    const report = executing(killed, { leaseId: gantry?.leaseId ?? '', gantry: { exhausted: true } });
    await queue.synchronize({ ...report, preferBeingIdle: true });
    assert.deepEqual([queue.outcomes, queue.stages.at(-1)], [[], 'queued']);
  });

  it('keeps what a node has cached until it says otherwise, and refuses what is no sketch', async () => {
    const queue = new Queue();
    const cached = sketchOf([action.hash]);
    const own = (node: string, fields: NonNullable<Fields['gantry']> = {}) => ({
      ...{ ...IDLE, workerId: { node }, gantry: fields },
    });
    const abort = new AbortController();
    const first = queue.synchronize(own('first'), abort.signal);
    const second = queue.synchronize(own('second', { cached }), abort.signal);
    await settle();
    queue.submit({ inputs: [{ hash: action.hash, sizeBytes: 1_000_000 }] });
    assert.equal(caseOf(await second), 'executing');
    abort.abort();
    await first;
    for (const bad of [{ bits: new Uint8Array(3), hashes: 4 }, { bits: new Uint8Array(8), hashes: 0 }, {}]) {
      await assert.rejects(queue.synchronize(own('third', { cached: bad })), (error) =>
        isKind(error, 'invalid-argument'),
      );
    }
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
});

describe('OperationQueue.Synchronize with workers that are wrong', () => {
  it('makes an error of results that no worker sends: done with neither would crash Bazel (R-EX-04)', async () => {
    for (const response of [{}, { status: { code: 0 } }]) {
      const queue = new Queue();
      queue.submit();
      await queue.synchronize(IDLE);
      const nothing = { ...executing(ExecuteResponse.fromPartial(response)), preferBeingIdle: true };
      for (let attempt = 1; attempt <= 3; attempt++) {
        await queue.synchronize(nothing);
        if (attempt < 3) assert.equal(caseOf(await queue.synchronize(IDLE)), 'executing');
      }
      await settle();
      const [outcome] = queue.outcomes;
      assert.ok(outcome?.type === 'result');
      const { status, result } = outcome.result.response;
      assert.deepEqual([status?.code, status?.message, result], [13, 'the worker sent no result', undefined]);
    }
  });
});
