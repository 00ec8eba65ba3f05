import assert from 'node:assert/strict';
import { BuildQueueStateWorld, idsOf, queueName } from '../../../test/support/build-queue-state-world.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  BuildQueueStateDefinition,
  ListInvocationChildrenRequest_Filter,
} from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import { MAX_PAGE_SIZE } from './page.ts';

const { methods } = BuildQueueStateDefinition;
const LINUX = { OSFamily: 'linux' };

describe('BuildQueueState', () => {
  let world: BuildQueueStateWorld;

  beforeEach(() => {
    world = new BuildQueueStateWorld();
  });

  describe('ListPlatformQueues', () => {
    const list = async () => (await world.call(methods.listPlatformQueues)).platformQueues;

    it('groups size classes by platform, and tells what is in each', async () => {
      const small = world.view.addPool({ prefix: 'main', alternatives: [LINUX], offer: { sizeClass: 1 } });
      world.view.addPool({ prefix: 'main', alternatives: [LINUX], offer: { sizeClass: 8 } });
      world.addSlot({ pool: small, isPolling: true, lastShares: [] });
      world.view.addTask({ instance: 'main', properties: LINUX, sizeClass: 8, shares: ['i'] });
      const empty = {
        queuedOperationsCount: { direct: 0, indirect: 0 },
        executingWorkersCount: 0,
        idleWorkersCount: 0,
        idleSynchronizingWorkersCount: 0,
        childrenCount: 0,
        activeChildrenCount: 0,
        queuedChildrenCount: 0,
      };
      assert.deepEqual(await list(), [
        {
          name: queueName('main', LINUX).platformQueueName,
          sizeClassQueues: [
            {
              sizeClass: 1,
              timeout: undefined,
              workersCount: 1,
              drainsCount: 0,
              rootInvocation: { ...empty, idleWorkersCount: 1, idleSynchronizingWorkersCount: 1 },
            },
            {
              sizeClass: 8,
              timeout: undefined,
              workersCount: 0,
              drainsCount: 0,
              rootInvocation: {
                ...empty,
                queuedOperationsCount: { direct: 0, indirect: 1 },
                childrenCount: 1,
                activeChildrenCount: 1,
                queuedChildrenCount: 1,
              },
            },
          ],
        },
      ]);
    });

    it('shows an autoscaler what no worker could run', async () => {
      world.view.addTask({ instance: 'main', properties: LINUX });
      const [queue] = await list();
      assert.deepEqual(queue?.name, queueName('main', LINUX).platformQueueName);
      assert.equal(queue?.sizeClassQueues[0]?.workersCount, 0);
    });

    it('hides queues under prefixes that the caller may not operate', async () => {
      for (const prefix of ['open', 'secret']) world.view.addPool({ prefix });
      world.denied = /secret/;
      assert.deepEqual(
        (await list()).map(({ name }) => name?.instanceNamePrefix),
        ['open'],
      );
    });

    it('refuses to list more than fits into an answer', async () => {
      for (let index = 0; index <= MAX_PAGE_SIZE; index++) world.view.addPool({ offer: { sizeClass: index } });
      await assert.rejects(list(), ofKind('quota-exceeded'));
    });
  });

  describe('ListInvocationChildren', () => {
    const { ALL, ACTIVE, QUEUED } = ListInvocationChildrenRequest_Filter;
    const list = async (filter: number, ...shares: readonly string[]) => {
      const invocationName = { sizeClassQueueName: queueName(), ids: idsOf(...shares) };
      const { children } = await world.call(methods.listInvocationChildren, { invocationName, filter });
      return children.map(({ id, state }) => ({
        id: RequestMetadata.decode(id?.value ?? new Uint8Array()).toolInvocationId,
        queued: state?.queuedOperationsCount?.direct,
      }));
    };

    beforeEach(() => {
      const pool = world.view.addPool({});
      world.addSlot({ pool, lastShares: ['idle'] });
      world.addSlot({ pool, task: world.view.addTask({ shares: ['busy'] }) });
      world.view.addTask({ shares: ['busy'] });
      world.view.addTask({ shares: ['waiting'] });
      world.addSlot({ pool, task: world.view.addTask({ shares: ['running'] }) });
    });

    it('lists all of them by id', async () => {
      assert.deepEqual(
        (await list(ALL)).map(({ id }) => id),
        ['busy', 'idle', 'running', 'waiting'].sort((a, b) => a.length - b.length || (a < b ? -1 : 1)),
      );
    });

    it('lists those with anything to do', async () => {
      assert.deepEqual(
        (await list(ACTIVE)).map(({ id }) => id),
        ['busy', 'running', 'waiting'],
      );
    });

    it('lists those with anything queued, whose turn it is first', async () => {
      assert.deepEqual(await list(QUEUED), [
        { id: 'waiting', queued: 1 },
        { id: 'busy', queued: 1 },
      ]);
    });

    it('lists nothing below an invocation', async () => {
      assert.deepEqual(await list(ALL, 'busy'), []);
    });

    it('does not find invocations and queues that are not there', async () => {
      await assert.rejects(list(ALL, 'nobody'), ofKind('not-found'));
      const invocationName = { sizeClassQueueName: queueName('other'), ids: [] };
      await assert.rejects(world.call(methods.listInvocationChildren, { invocationName }), ofKind('not-found'));
    });

    it('refuses an unknown filter and a call without a name', async () => {
      await assert.rejects(list(3), ofKind('invalid-argument'));
      await assert.rejects(world.call(methods.listInvocationChildren), ofKind('invalid-argument'));
    });

    it('asks for permission under the prefix of the queue, before it tells what is there', async () => {
      world.denied = /^operate $/;
      await assert.rejects(list(ALL, 'nobody'), ofKind('denied'));
    });
  });
});
