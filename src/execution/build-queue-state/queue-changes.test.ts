import assert from 'node:assert/strict';
import {
  BuildQueueStateWorld,
  finishedOperation,
  queueName,
  WALL_ZERO_MS,
} from '../../../test/support/build-queue-state-world.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { Code } from '../../gen/google/rpc/code.ts';
import { BuildQueueStateDefinition } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import { QUEUE_LABEL } from './queue-name.ts';

const { methods } = BuildQueueStateDefinition;
const LINUX = { OSFamily: 'linux' };

describe('BuildQueueState', () => {
  let world: BuildQueueStateWorld;

  beforeEach(() => {
    world = new BuildQueueStateWorld();
  });

  describe('KillOperations', () => {
    const status = { code: Code.UNAVAILABLE, message: 'no', details: [] };
    const kill = (type: object | undefined, reason: object | undefined = status) =>
      world.call(methods.killOperations, { filter: type && { type }, status: reason });
    const one = (name: string) => ({ $case: 'operationName', value: name });
    const withoutWorkers = (value: object) => ({ $case: 'sizeClassQueueWithoutWorkers', value });

    it('ends one operation with the given status, and leaves others of its task alone', async () => {
      world.view.addTask({ instance: 'main', operations: ['a', 'b'] });
      await kill(one('a'));
      assert.deepEqual(world.killed, [{ operation: 'a', status }]);
      assert.deepEqual(world.asked, ['admin main']);
    });

    it('has nothing against an operation that is over, and does not find one that never was', async () => {
      world.finished.push(finishedOperation('o'));
      await kill(one('o'));
      await assert.rejects(kill(one('nothing')), ofKind('operation-not-found'));
    });

    it('ends all that waits in a queue without workers', async () => {
      world.view.addTask({ instance: 'main', properties: LINUX, operations: ['a', 'b'] });
      world.view.addTask({ instance: 'main', operations: ['elsewhere'] });
      await kill(withoutWorkers(queueName('main', LINUX)));
      assert.deepEqual(
        world.killed.map(({ operation }) => operation),
        ['a', 'b'],
      );
    });

    it('spares a queue that has workers', async () => {
      const pool = world.view.addPool({ prefix: 'main' });
      world.addSlot({ pool });
      world.view.addTask({ instance: 'main' });
      await assert.rejects(kill(withoutWorkers(queueName('main'))), ofKind('precondition'));
      await assert.rejects(kill(withoutWorkers(queueName('other'))), ofKind('not-found'));
      assert.deepEqual(world.killed, []);
    });

    it('refuses a status that would pass for a success, and a call that does not say what to end', async () => {
      world.view.addTask({ operations: ['a'] });
      for (const reason of [{}, { code: Code.OK, message: 'fine' }, { code: 17 }, { code: -1 }]) {
        await assert.rejects(kill(one('a'), reason), ofKind('invalid-argument'));
      }
      await assert.rejects(world.call(methods.killOperations, { status }), ofKind('invalid-argument'));
      await assert.rejects(
        world.call(methods.killOperations, { filter: { type: one('a') } }),
        ofKind('invalid-argument'),
      );
      assert.deepEqual(world.killed, []);
    });

    it('needs the permission to change', async () => {
      world.view.addTask({ instance: 'main', operations: ['a'] });
      world.denied = /^admin/;
      await assert.rejects(kill(one('a')), ofKind('denied'));
      await assert.rejects(kill(withoutWorkers(queueName('main'))), ofKind('denied'));
      assert.deepEqual(world.killed, []);
    });
  });

  describe('drains', () => {
    const change = (method: 'addDrain' | 'removeDrain', pattern: object, name: object = queueName('main')) =>
      world.call(methods[method], { sizeClassQueueName: name, workerIdPattern: pattern });
    const list = async (name: object = queueName('main')) =>
      (await world.call(methods.listDrains, { sizeClassQueueName: name })).drains;
    let pool: string;

    beforeEach(() => {
      pool = world.view.addPool({ prefix: 'main' });
    });

    it('hold for the workers of one queue only, also for those that come later (R-BB-30)', async () => {
      const here = world.addSlot({ pool, labels: { host: 'h' } });
      const elsewhere = world.addSlot({ pool: world.view.addPool({ prefix: 'other' }), labels: { host: 'h' } });
      await change('addDrain', { host: 'h' });
      assert.equal(world.view.slot(here.name)?.isDrained, true);
      assert.equal(world.view.slot(elsewhere.name)?.isDrained, false);
      assert.deepEqual(await list(), [
        { workerIdPattern: { host: 'h' }, createdTimestamp: { seconds: BigInt(WALL_ZERO_MS / 1000 + 1000), nanos: 0 } },
      ]);
      assert.deepEqual(await list(queueName('other')), []);
    });

    it('may select all workers of a queue', async () => {
      const slots = ['a', 'b'].map((host) => world.addSlot({ pool, labels: { host } }));
      await change('addDrain', {});
      assert.ok(slots.every(({ name }) => world.view.slot(name)?.isDrained));
      const { platformQueues } = await world.call(methods.listPlatformQueues);
      assert.equal(platformQueues[0]?.sizeClassQueues[0]?.drainsCount, 1);
    });

    it('end when they are removed, and removing what is not there changes nothing', async () => {
      const slot = world.addSlot({ pool, labels: { host: 'h' } });
      await change('addDrain', { host: 'h' });
      await change('removeDrain', { host: 'other' });
      assert.equal(world.view.slot(slot.name)?.isDrained, true);
      await change('removeDrain', { host: 'h' });
      assert.equal(world.view.slot(slot.name)?.isDrained, false);
      assert.deepEqual(await list(), []);
    });

    it('are sorted by pattern', async () => {
      for (const host of ['b', 'a']) await change('addDrain', { host });
      assert.deepEqual(
        (await list()).map(({ workerIdPattern }) => workerIdPattern),
        [{ host: 'a' }, { host: 'b' }],
      );
    });

    it('that were made for the whole fleet are listed where they select a worker, and are not removed from there', async () => {
      world.addSlot({ pool, labels: { host: 'h' } });
      world.view.addPool({ prefix: 'other' });
      world.parts.actions.drain({ pattern: { host: 'h' }, on: true });
      world.parts.actions.drain({ pattern: { host: 'gone' }, on: true });
      world.parts.actions.drain({ pattern: { host: 'h', x: 'y' }, on: true, isTermination: true });
      assert.deepEqual(
        (await list()).map(({ workerIdPattern }) => workerIdPattern),
        [{ host: 'h' }],
      );
      assert.deepEqual(await list(queueName('other')), []);
      await assert.rejects(change('removeDrain', { host: 'h' }), ofKind('precondition'));
    });

    it('are not begun where workers do not say which queue they belong to', async () => {
      world.view.addSlot({ pool, labels: { host: 'h' } });
      await assert.rejects(change('addDrain', { host: 'h' }), ofKind('precondition'));
      assert.deepEqual(world.view.drains(), []);
    });

    it('are refused beyond their number', async () => {
      world.maxDrains = 1;
      await change('addDrain', { host: 'a' });
      await assert.rejects(change('addDrain', { host: 'b' }), ofKind('quota-exceeded'));
    });

    it('are refused with a pattern that is too long or reserved', async () => {
      const many = Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`l${index}`, '']));
      for (const pattern of [many, { host: 'x'.repeat(4_097) }, { [QUEUE_LABEL]: 'x' }]) {
        await assert.rejects(change('addDrain', pattern), ofKind('invalid-argument'));
        await assert.rejects(change('removeDrain', pattern), ofKind('invalid-argument'));
      }
    });

    it('do not find a queue that is not there, but end when it has gone', async () => {
      await assert.rejects(change('addDrain', {}, queueName('gone')), ofKind('not-found'));
      await assert.rejects(change('removeDrain', {}, queueName('gone')), ofKind('not-found'));
      await assert.rejects(list(queueName('gone')), ofKind('not-found'));
      const task = world.view.addTask({ instance: 'gone', properties: LINUX });
      await change('addDrain', {}, queueName('gone', LINUX));
      world.view.removeTask(task);
      await change('removeDrain', {}, queueName('gone', LINUX));
      assert.deepEqual(world.view.drains(), []);
    });

    it('need the permission to change, and to look at them the one to look', async () => {
      world.denied = /^admin/;
      await assert.rejects(change('addDrain', {}), ofKind('denied'));
      await assert.rejects(change('removeDrain', {}), ofKind('denied'));
      assert.deepEqual(await list(), []);
      assert.deepEqual(world.asked, ['admin main', 'admin main', 'operate main']);
    });
  });
});
