import assert from 'node:assert/strict';
import {
  BuildQueueStateWorld,
  finishedOperation,
  idsOf,
  queueName,
} from '../../../test/support/build-queue-state-world.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { ExecutionStage_Value } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { BuildQueueStateDefinition } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import { MAX_PAGE_SIZE } from './page.ts';

const { methods } = BuildQueueStateDefinition;

describe('BuildQueueState', () => {
  let world: BuildQueueStateWorld;

  beforeEach(() => {
    world = new BuildQueueStateWorld();
  });

  describe('ListOperations', () => {
    const list = (request: object) => world.call(methods.listOperations, request);

    it('sorts by name and pages behind a name', async () => {
      for (const name of ['d', 'b', 'c']) world.view.addTask({ operations: [name] });
      world.finished.push(finishedOperation('a'));
      const first = await list({ pageSize: 2 });
      assert.deepEqual(
        first.operations.map(({ name }) => name),
        ['a', 'b'],
      );
      assert.deepEqual(first.paginationInfo, { startIndex: 0, totalEntries: 4 });
      const second = await list({ pageSize: 2, startAfter: { operationName: 'b' } });
      assert.deepEqual(
        second.operations.map(({ name }) => name),
        ['c', 'd'],
      );
      assert.deepEqual(second.paginationInfo, { startIndex: 2, totalEntries: 4 });
    });

    it('counts only if the page has no size', async () => {
      world.view.addTask({ operations: ['a', 'b'] });
      assert.deepEqual(await list({}), { operations: [], paginationInfo: { startIndex: 0, totalEntries: 2 } });
    });

    it('leaves the bytes of outputs out', async () => {
      world.finished.push(finishedOperation('o'));
      const [operation] = (await list({ pageSize: 1 })).operations;
      assert.equal(operation?.stage?.$case, 'completed');
      const { result } = operation.stage.value;
      assert.equal(result?.exitCode, 1);
      assert.equal(result?.stdoutRaw.length, 0);
      assert.deepEqual([result?.outputFiles[0]?.path, result?.outputFiles[0]?.contents.length], ['f', 0]);
    });

    for (const [stage, names] of [
      [ExecutionStage_Value.UNKNOWN, ['done', 'recording', 'runs', 'waits']],
      [ExecutionStage_Value.CACHE_CHECK, []],
      [ExecutionStage_Value.QUEUED, ['waits']],
      [ExecutionStage_Value.EXECUTING, ['recording', 'runs']],
      [ExecutionStage_Value.COMPLETED, ['done']],
    ] as const) {
      it(`filters by stage ${stage}`, async () => {
        const pool = world.view.addPool({});
        world.view.addTask({ operations: ['waits'] });
        world.view.addTask({ operations: ['recording'], isRecording: true });
        world.addSlot({ pool, task: world.view.addTask({ operations: ['runs'] }) });
        world.finished.push(finishedOperation('done'));
        const { operations } = await list({ pageSize: 10, filterStage: stage });
        assert.deepEqual(
          operations.map(({ name }) => name),
          names,
        );
      });
    }

    it('filters by an id anywhere on the way to the operation', async () => {
      world.view.addTask({ operations: ['mine'], shares: ['anna', 'c', 'i'] });
      world.view.addTask({ operations: ['other'], shares: ['anna', 'd', 'j'] });
      world.finished.push(finishedOperation('done'));
      const [principal, correlated, invocation] = idsOf('anna', 'c', 'i');
      const names = async (filterInvocationId: object | undefined) =>
        (await list({ pageSize: 10, filterInvocationId })).operations.map(({ name }) => name);
      assert.deepEqual(await names(principal), ['mine', 'other']);
      assert.deepEqual(await names(correlated), ['done', 'mine']);
      assert.deepEqual(await names(invocation), ['done', 'mine']);
      assert.deepEqual(await names({ typeUrl: 'x/Other', value: new Uint8Array() }), []);
    });

    it('shows nothing of instance names that the caller may not operate, and asks once for each', async () => {
      for (const name of ['a', 'b']) world.view.addTask({ instance: 'secret', operations: [name] });
      world.finished.push(finishedOperation('o'), finishedOperation('p'));
      world.denied = /secret/;
      const { operations, paginationInfo } = await list({ pageSize: 10 });
      assert.deepEqual(
        operations.map(({ name }) => name),
        ['o', 'p'],
      );
      assert.equal(paginationInfo?.totalEntries, 2);
      assert.deepEqual(world.asked, ['operate secret', 'operate main']);
    });

    it('lists an operation once that finishes while permissions are asked for', async () => {
      const task = world.view.addTask({ operations: ['o'] });
      const listed = list({ pageSize: 10 });
      world.view.removeTask(task);
      world.finished.push(finishedOperation('o'));
      const { operations } = await listed;
      assert.deepEqual(
        operations.map(({ stage }) => stage?.$case),
        ['queued'],
      );
    });

    it('refuses a page beyond the limit', async () => {
      await assert.rejects(list({ pageSize: MAX_PAGE_SIZE + 1 }), ofKind('invalid-argument'));
    });
  });

  describe('ListQueuedOperations', () => {
    const list = (request: object, ...shares: readonly string[]) => {
      const invocationName = { sizeClassQueueName: queueName(), ids: idsOf(...shares) };
      return world.call(methods.listQueuedOperations, { invocationName, ...request });
    };

    beforeEach(() => {
      world.view.addPool({});
    });

    it('sorts by priority, then the longest expected, then the earliest; and pages by these', async () => {
      const shares = ['i'];
      world.view.addTask({ operations: ['e'], shares, priority: 1 });
      world.view.addTask({ operations: ['d'], shares, queuedAtMs: 9 });
      world.view.addTask({ operations: ['c'], shares, queuedAtMs: 5 });
      world.view.addTask({ operations: ['b'], shares, expectedMs: 10, queuedAtMs: 20 });
      world.view.addTask({ operations: ['a'], shares, priority: -1, queuedAtMs: 30 });
      const seen: string[] = [];
      let startAfter: object | undefined;
      for (;;) {
        const { queuedOperations, paginationInfo } = await list({ pageSize: 2, startAfter }, 'i');
        assert.deepEqual(paginationInfo, { startIndex: seen.length, totalEntries: 5 });
        const last = queuedOperations.at(-1);
        if (last === undefined) break;
        seen.push(...queuedOperations.map(({ name }) => name));
        const { priority, expectedDuration, queuedTimestamp } = last;
        startAfter = { priority, expectedDuration, queuedTimestamp };
      }
      assert.deepEqual(seen, ['a', 'b', 'c', 'd', 'e']);
    });

    it('omits the invocation, which goes without saying', async () => {
      world.view.addTask({ operations: ['o'], shares: ['i'] });
      const [operation] = (await list({ pageSize: 1 }, 'i')).queuedOperations;
      assert.deepEqual([operation?.name, operation?.invocationName], ['o', undefined]);
    });

    it('lists what waits at this very place, of this queue', async () => {
      const pool = world.view.addPool({ prefix: 'main' });
      world.addSlot({ pool });
      world.view.addTask({ operations: ['below'], shares: ['p', 'c', 'i'] });
      world.view.addTask({ instance: 'main', operations: ['elsewhere'], shares: ['i'] });
      world.addSlot({ pool: 'pool-1', task: world.view.addTask({ operations: ['runs'], shares: ['i'] }) });
      world.view.addTask({ operations: ['o'], shares: ['i'] });
      const { paginationInfo } = await list({ pageSize: 0 });
      assert.equal(paginationInfo?.totalEntries, 0);
      const { queuedOperations } = await list({ pageSize: 9 }, 'i');
      assert.deepEqual(
        queuedOperations.map(({ name }) => name),
        ['o'],
      );
    });

    it('does not find an invocation that is not there', async () => {
      await assert.rejects(list({ pageSize: 1 }, 'nobody'), ofKind('not-found'));
    });

    it('asks for permission under the prefix of the queue', async () => {
      world.denied = /^operate /;
      await assert.rejects(list({ pageSize: 1 }), ofKind('denied'));
    });
  });
});
