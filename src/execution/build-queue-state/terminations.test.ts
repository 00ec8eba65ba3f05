import assert from 'node:assert/strict';
import { BuildQueueStateWorld } from '../../../test/support/build-queue-state-world.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { ReapiError } from '../../errors.ts';
import { Terminations } from './terminations.ts';

describe('Terminations', () => {
  let world: BuildQueueStateWorld;
  let terminations: Terminations;
  let pool: string;

  beforeEach(() => {
    world = new BuildQueueStateWorld();
    terminations = new Terminations(world.parts);
    pool = world.view.addPool({});
  });

  /** Lets everything happen that waits for a time that has come. */
  async function advance(ms: number): Promise<void> {
    world.clock.advance(ms);
    await new Promise(setImmediate);
  }

  const patterns = () => world.view.drains().map(({ pattern, isTermination }) => ({ ...pattern, isTermination }));

  it('waits until the workers hold nothing (R-BB-30)', async () => {
    const busy = world.addSlot({ pool, labels: { host: 'a' }, task: world.view.addTask() });
    world.addSlot({ pool, labels: { host: 'b' }, task: world.view.addTask() });
    let isDone = false;
    const done = terminations.terminate({ host: 'a' }, noAbort()).then(() => {
      isDone = true;
    });
    assert.equal(world.view.slot(busy.name)?.isTerminating, true);
    await advance(10_000);
    assert.equal(isDone, false);
    world.view.changeSlot(busy.name, { hold: undefined, task: undefined });
    await advance(500);
    await done;
  });

  it('ends once the workers are gone, so that they may come back', async () => {
    const slot = world.addSlot({ pool, labels: { host: 'a' } });
    await terminations.terminate({ host: 'a' }, noAbort());
    await advance(60_000);
    assert.deepEqual(patterns(), [{ host: 'a', isTermination: true }]);
    world.view.removeSlot(slot.name);
    await advance(5_000);
    assert.deepEqual(patterns(), []);
    assert.equal(world.clock.armed, 0);
  });

  it('ends those of a former server as well, once their workers had time to come back', async () => {
    world.addSlot({ pool, labels: { host: 'a' } });
    world.addSlot({ pool, labels: { host: 'b' } });
    await terminations.terminate({ host: 'a' }, noAbort());
    await terminations.terminate({ host: 'b' }, noAbort());
    world.parts.actions.drain({ pattern: { host: 'c' }, on: true, isTermination: true, reason: 'an operator' });
    const drains = world.view
      .drains()
      .map(({ pattern, reason }) => ({ pattern, on: true, isTermination: true, reason }));
    const next = new BuildQueueStateWorld();
    for (const drain of drains) next.parts.actions.drain(drain);
    const restarted = new Terminations(next.parts);
    assert.ok(restarted);
    const left = () => next.view.drains().map(({ pattern }) => pattern);
    next.clock.advance(59_000);
    assert.equal(left().length, 3);
    next.addSlot({ pool: next.view.addPool({}), labels: { host: 'a' } });
    next.clock.advance(1_000);
    assert.deepEqual(left(), [{ host: 'a' }, { host: 'c' }]);
  });

  it('changes nothing if no worker matches', async () => {
    world.addSlot({ pool, labels: { host: 'a' } });
    await terminations.terminate({ host: 'b' }, noAbort());
    assert.deepEqual(patterns(), []);
    assert.equal(world.clock.armed, 0);
  });

  it('leaves a drain of the same pattern as it was before', async () => {
    const pattern = { host: 'a' };
    world.parts.actions.drain({ pattern, on: true, reason: 'disk' });
    const slot = world.addSlot({ pool, labels: pattern });
    await terminations.terminate(pattern, noAbort());
    assert.deepEqual(patterns(), [{ host: 'a', isTermination: true }]);
    world.view.removeSlot(slot.name);
    await advance(5_000);
    assert.deepEqual(patterns(), [{ host: 'a', isTermination: false }]);
    assert.equal(world.view.drains()[0]?.reason, 'disk');
  });

  it('leaves a termination that others began to them', async () => {
    const pattern = { host: 'a' };
    world.parts.actions.drain({ pattern, on: true, isTermination: true });
    const slot = world.addSlot({ pool, labels: pattern });
    await terminations.terminate(pattern, noAbort());
    world.view.removeSlot(slot.name);
    await advance(60_000);
    assert.deepEqual(patterns(), [{ host: 'a', isTermination: true }]);
  });

  it('keeps the workers drained if the caller gives up', async () => {
    world.addSlot({ pool, labels: { host: 'a' }, task: world.view.addTask() });
    const caller = new AbortController();
    const done = terminations.terminate({ host: 'a' }, caller.signal);
    caller.abort(new ReapiError('cancelled', 'gone'));
    await assert.rejects(done, ofKind('cancelled'));
    assert.deepEqual(patterns(), [{ host: 'a', isTermination: true }]);
  });

  it('refuses to wait for workers that cannot be drained', async () => {
    world.maxDrains = 0;
    world.addSlot({ pool, labels: { host: 'a' } });
    await assert.rejects(terminations.terminate({ host: 'a' }, noAbort()), ofKind('quota-exceeded'));
    assert.equal(world.clock.armed, 0);
  });

  it('serves several callers of one pattern', async () => {
    const slot = world.addSlot({ pool, labels: { host: 'a' }, task: world.view.addTask() });
    const calls = [1, 2].map(() => terminations.terminate({ host: 'a' }, noAbort()));
    world.view.removeSlot(slot.name);
    await advance(500);
    await Promise.all(calls);
    await advance(5_000);
    assert.deepEqual(patterns(), []);
  });

  it('arms no timer once the server stops', async () => {
    world.addSlot({ pool, labels: { host: 'a' } });
    await terminations.terminate({ host: 'a' }, noAbort());
    world.stopping.abort();
    assert.equal(world.clock.armed, 0);
    world.addSlot({ pool, labels: { host: 'b' } });
    await terminations.terminate({ host: 'b' }, noAbort());
    assert.equal(world.clock.armed, 0);
  });
});
