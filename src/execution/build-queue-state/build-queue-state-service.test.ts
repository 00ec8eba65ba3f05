import assert from 'node:assert/strict';
import {
  BuildQueueStateWorld,
  finishedOperation,
  idsOf,
  queueName,
  WALL_ZERO_MS,
} from '../../../test/support/build-queue-state-world.ts';
import { callUnary } from '../../../test/support/call-method.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { RealQueueState } from '../../../test/support/real-queue-state.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import {
  Action,
  DigestFunction_Value,
  RequestMetadata,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { BuildQueueStateDefinition } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { ExecutionWork } from '../execution-work.ts';
import { QUEUE_LABEL } from './queue-name.ts';

const { methods } = BuildQueueStateDefinition;
const LINUX = { OSFamily: 'linux' };

function workFor(targetId: string): ExecutionWork {
  return {
    key: { instance: parseInstanceName(''), action: { function: 'sha256', hash: '0'.repeat(64), sizeBytes: 0 } },
    action: Action.fromPartial({}),
    timeoutMs: 1_000,
    requestMetadata: RequestMetadata.fromPartial({ targetId }),
  };
}

describe('BuildQueueState', () => {
  let world: BuildQueueStateWorld;

  beforeEach(() => {
    world = new BuildQueueStateWorld();
  });

  describe('GetOperation', () => {
    const get = (operationName: string) => world.call(methods.getOperation, { operationName });

    it('tells all that is known of a queued operation but its name', async () => {
      world.view.addPool({ prefix: 'main', alternatives: [LINUX], offer: { sizeClass: 4 } });
      const task = world.view.addTask({
        instance: 'main/sub',
        properties: LINUX,
        operations: ['o'],
        shares: ['anna', 'c', 'i'],
        sizeClass: 2,
        priority: -7,
        queuedAtMs: 1_500,
        expectedMs: 2_250,
        work: workFor('//some:target'),
      });
      const { operation } = await get('o');
      assert.deepEqual(operation, {
        name: '',
        invocationName: { sizeClassQueueName: queueName('main', LINUX, 4), ids: idsOf('anna', 'c', 'i') },
        queuedTimestamp: { seconds: BigInt(WALL_ZERO_MS / 1000 + 1), nanos: 500_000_000 },
        actionDigest: { hash: task.key.action.hash, sizeBytes: BigInt(task.key.action.sizeBytes) },
        timeout: undefined,
        stage: { $case: 'queued', value: {} },
        targetId: '//some:target',
        priority: -7,
        instanceNameSuffix: 'sub',
        expectedDuration: { seconds: 2n, nanos: 250_000_000 },
        digestFunction: DigestFunction_Value.SHA256,
      });
    });

    it('says of an operation whether it executes, and nothing of a duration nobody knows', async () => {
      const pool = world.view.addPool({});
      world.addSlot({ pool, task: world.view.addTask({ operations: ['o'] }) });
      const { operation } = await get('o');
      assert.equal(operation?.stage?.$case, 'executing');
      assert.equal(operation?.expectedDuration, undefined);
    });

    it('finds a finished operation, with its whole response', async () => {
      world.finished.push(finishedOperation('o'));
      const { operation } = await get('o');
      assert.equal(operation?.stage?.$case, 'completed');
      assert.equal(Buffer.from(operation.stage.value.result?.stdoutRaw ?? []).toString(), 'out');
      assert.deepEqual(operation.invocationName, { sizeClassQueueName: queueName('main'), ids: idsOf('c', 'i') });
      assert.deepEqual([operation.name, operation.priority, operation.targetId], ['', 3, '//t']);
    });

    it('does not find what nobody knows', async () => {
      await assert.rejects(get('nothing'), ofKind('operation-not-found'));
    });

    it('asks for permission under the instance name of the operation', async () => {
      world.view.addTask({ instance: 'secret', operations: ['o'] });
      world.finished.push(finishedOperation('p'));
      world.denied = /./;
      await assert.rejects(get('o'), ofKind('denied'));
      await assert.rejects(get('p'), ofKind('denied'));
      assert.deepEqual(world.asked, ['operate secret', 'operate main']);
    });
  });

  describe('TerminateWorkers', () => {
    const terminate = (workerIdPattern: object, signal?: AbortSignal) =>
      world.call(methods.terminateWorkers, { workerIdPattern }, signal);

    it('answers when the workers of all queues that match hold nothing (R-BB-30)', async () => {
      const pools = ['a', 'b'].map((prefix) => world.view.addPool({ prefix }));
      const slots = pools.map((pool) =>
        world.addSlot({ pool, labels: { host: 'h', pool }, task: world.view.addTask() }),
      );
      const done = terminate({ host: 'h' });
      await new Promise(setImmediate);
      for (const { name } of slots) {
        assert.equal(world.view.slot(name)?.isTerminating, true);
        world.view.changeSlot(name, { hold: undefined });
      }
      world.clock.advance(500);
      assert.deepEqual(await done, {});
    });

    it('tells a caller that the server stops', async () => {
      world.addSlot({ pool: world.view.addPool({}), task: world.view.addTask() });
      const done = terminate({});
      await new Promise(setImmediate);
      world.stopping.abort(new ReapiError('unavailable', 'stopping'));
      await assert.rejects(done, ofKind('unavailable'));
    });

    it('needs the permission to change everything', async () => {
      world.addSlot({ pool: world.view.addPool({ prefix: 'a' }) });
      world.denied = /^admin $/;
      await assert.rejects(terminate({}), ofKind('denied'));
      assert.deepEqual(world.view.drains(), []);
    });

    it('refuses a pattern that no worker could match', async () => {
      await assert.rejects(terminate({ [QUEUE_LABEL]: 'x' }), ofKind('invalid-argument'));
    });
  });
});

describe('BuildQueueState over a scheduler', () => {
  const linux = [{ name: 'OSFamily', value: 'linux' }];
  const windows = [{ name: 'OSFamily', value: 'windows' }];
  let world: RealQueueState;

  beforeEach(() => {
    world = new RealQueueState();
  });

  const queues = async () => (await callUnary(world.methods, methods.listPlatformQueues, {})).platformQueues;

  async function nameOf(index: number) {
    return { platformQueueName: (await queues())[index]?.name, sizeClass: 0 };
  }

  it('follows work from the queue to a worker', async () => {
    world.submit('a', linux, ['anna', 'c', 'i']);
    const [waiting] = await queues();
    assert.equal(waiting?.sizeClassQueues[0]?.workersCount, 0);
    assert.equal(waiting?.sizeClassQueues[0]?.rootInvocation?.queuedOperationsCount?.indirect, 1);
    world.sync('h', linux);
    world.sync('idle', linux);
    const [running] = await queues();
    const { workersCount, rootInvocation } = running?.sizeClassQueues[0] ?? {};
    assert.deepEqual(
      [workersCount, rootInvocation?.executingWorkersCount, rootInvocation?.idleSynchronizingWorkersCount],
      [2, 1, 1],
    );
    const invocationName = { sizeClassQueueName: await nameOf(0), ids: idsOf('anna', 'c', 'i') };
    const filter = { type: { $case: 'executing', value: invocationName } };
    const { workers } = await callUnary(world.methods, methods.listWorkers, { filter, pageSize: 9 });
    assert.deepEqual(
      workers.map(({ id, currentOperation }) => [id, currentOperation?.name]),
      [[{ host: 'h' }, 'a']],
    );
  });

  it('drains the workers of one queue and no others (R-BB-30)', async () => {
    world.sync('h', linux);
    world.sync('w', windows);
    const sizeClassQueueName = await nameOf(0);
    await callUnary(world.methods, methods.addDrain, { sizeClassQueueName, workerIdPattern: {} });
    world.sync('later', linux);
    const isDrained = ['h', 'w', 'later'].map((host) => world.sync(host, host === 'w' ? windows : linux)?.isDrained);
    assert.deepEqual(isDrained, [true, false, true]);
    await callUnary(world.methods, methods.removeDrain, { sizeClassQueueName, workerIdPattern: {} });
    assert.equal(world.sync('h', linux)?.isDrained, false);
  });

  it('terminates a worker once it has finished', async () => {
    world.sync('h', linux);
    world.submit('a', linux, ['i']);
    let isOver = false;
    const over = callUnary(world.methods, methods.terminateWorkers, { workerIdPattern: { host: 'h' } }).then(() => {
      isOver = true;
    });
    await new Promise(setImmediate);
    world.clock.advance(1_000);
    await new Promise(setImmediate);
    assert.equal(isOver, false);
    assert.equal(world.sync('h', linux, true)?.hold, undefined);
    world.submit('b', linux, ['i']);
    assert.equal(world.sync('h', linux)?.hold, undefined);
    world.clock.advance(500);
    await over;
  });

  it('kills what waits where nobody works', async () => {
    world.submit('a', windows, ['i']);
    const value = await nameOf(0);
    await callUnary(world.methods, methods.killOperations, {
      filter: { type: { $case: 'sizeClassQueueWithoutWorkers', value } },
      status: { code: 14, message: 'no such machines' },
    });
    await assert.rejects(
      callUnary(world.methods, methods.getOperation, { operationName: 'a' }),
      ofKind('operation-not-found'),
    );
    assert.deepEqual(await queues(), []);
  });
});
