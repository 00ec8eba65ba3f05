import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { BugError } from '../../errors.ts';

const LINUX = 'OSFamily=linux';

describe('an operation from submit to finish', () => {
  it('is queued, runs, is recorded and finished', () => {
    const driver = new SchedulerDriver();
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.deepEqual(driver.sync('s'), ['one executing', 's: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'done' }), ['record lease-0 done', 's: wait']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0' }), ['one result done']);
  });

  it('goes at once to a slot that waits, the longest-waiting first', () => {
    const driver = new SchedulerDriver();
    assert.deepEqual(driver.sync('s1'), ['s1: wait']);
    assert.deepEqual(driver.sync('s2'), ['s2: wait']);
    assert.deepEqual(driver.sync('s1'), ['s1: wait']);
    assert.deepEqual(driver.submit('one'), ['one executing', 's2: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.submit('two', { action: 'b' }), ['two executing', 's1: lease-1 attempt 1, work of two']);
    assert.deepEqual(driver.submit('three', { action: 'c' }), ['three queued']);
  });

  it('does not pass its kind when room becomes free in the moment in which it comes', () => {
    const [node, two] = [{ platform: 'cores=4' }, 'cores=2'];
    const driver = new SchedulerDriver({ slotTimeoutMs: 1e9 });
    driver.sync('s', node);
    driver.submit('lost', { platform: 'cores=3' });
    driver.nowMs = 30_000;
    driver.sync('t', node);
    driver.submit('first', { action: 'b', platform: two, priority: -100 });
    driver.nowMs = 60_000;
    const told = driver.submit('later', { action: 'c', platform: two });
    assert.deepEqual(told, ['lost queued', 'later queued', 'first executing', 't: lease-1 attempt 1, work of first']);
  });

  it('reports when the task was first queued, and names leases by the given prefix', () => {
    const driver = new SchedulerDriver({ leasePrefix: 'life7/' });
    driver.nowMs = 5;
    driver.submit('one');
    driver.nowMs = 9;
    assert.deepEqual(driver.sync('s'), ['one executing', 's: life7/0 attempt 1, work of one']);
    const orders = driver.effects.find((effect) => effect.type === 'orders');
    assert.equal(orders?.hold?.queuedAtMs, 5);
  });

  it('gives orders to a slot between polls only at its next sync', () => {
    const driver = new SchedulerDriver();
    driver.sync('s');
    assert.deepEqual(driver.apply({ type: 'answered', slot: 's' }), []);
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.deepEqual(driver.sync('s'), ['one executing', 's: lease-0 attempt 1, work of one']);
  });

  it('is an error of ours if submitted twice under one name', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    assert.throws(() => driver.submit('one', { action: 'b' }), BugError);
  });

  it('is an error of ours if time goes back', () => {
    const driver = new SchedulerDriver();
    driver.tickAt(10);
    assert.throws(() => driver.tickAt(9), BugError);
  });

  it('is refused with queue-full above the limit of queued tasks, but not if a slot is free', () => {
    const driver = new SchedulerDriver({ maxQueuedTasks: 1 });
    driver.submit('one', { action: 'a', platform: LINUX });
    assert.deepEqual(driver.submit('two', { action: 'b' }), ['two failed: queue-full']);
    assert.equal(driver.errors[0]?.facts.retryAfterMs, 1_000);
    driver.sync('s');
    assert.deepEqual(driver.submit('three', { action: 'c' }), [
      'three executing',
      's: lease-0 attempt 1, work of three',
    ]);
  });

  it('is refused with queue-full above the limit of operations, even to share a task', () => {
    const driver = new SchedulerDriver({ maxOperations: 1 });
    driver.submit('one');
    assert.deepEqual(driver.submit('two'), ['two failed: queue-full']);
    driver.apply({ type: 'cancel', operation: 'one' });
    assert.deepEqual(driver.submit('three'), ['three queued']);
  });
});

describe('reunion after a restart', () => {
  it('starts nothing until workers had time to say what they run, then gives work to all that wait', () => {
    const driver = new SchedulerDriver({ reunionMs: 5_000 });
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.deepEqual(driver.sync('s'), ['s: wait']);
    assert.deepEqual(driver.sync('t'), ['t: wait']);
    assert.deepEqual(driver.submit('two', { action: 'b' }), ['two queued']);
    assert.deepEqual(driver.messages, ['waiting a moment for workers to come back after a restart']);
    assert.deepEqual(driver.tickAt(4_999), []);
    assert.deepEqual(driver.tickAt(5_000), [
      'one executing',
      's: lease-0 attempt 1, work of one',
      'two executing',
      't: lease-1 attempt 1, work of two',
    ]);
  });

  it('gives a client what a worker says it runs, so that nothing runs twice', () => {
    const driver = new SchedulerDriver({ reunionMs: 5_000 });
    driver.sync('idle');
    driver.submit('one');
    const orders = driver.sync('s', { lease: 'former-1', instance: '' });
    assert.deepEqual(orders.at(-1), 's: former-1 attempt 1, work of one');
    assert.deepEqual(driver.tickAt(5_000), []);
  });
});

describe('order of the queue', () => {
  it('gives shares their turns, whoever asked first or more (R-BB-29)', () => {
    const driver = new SchedulerDriver();
    for (const action of ['a', 'b', 'c']) driver.submit(`alice ${action}`, { action, shares: ['alice'] });
    driver.submit('bob', { action: 'd', shares: ['bob'] });
    const order = ['s1', 's2', 's3', 's4'].map((slot) => driver.sync(slot)[0]);
    assert.deepEqual(order, ['alice a executing', 'bob executing', 'alice b executing', 'alice c executing']);
  });

  it('gives a share of twice the weight twice as much', () => {
    const driver = new SchedulerDriver();
    const heavy = [{ id: 'alice', weight: 2 }];
    for (let count = 0; count < 6; count++) {
      driver.submit(`alice ${count}`, { action: String(100 + count), shares: heavy });
      driver.submit(`bob ${count}`, { action: String(200 + count), shares: ['bob'] });
    }
    const order = Array.from({ length: 6 }, (_, slot) => driver.sync(`s${slot}`)[0]?.split(' ')[0]);
    assert.equal(order.filter((name) => name === 'alice').length, 4);
  });

  it('lets what waits long enough go before any priority (ageing)', () => {
    const driver = new SchedulerDriver({ platformGraceMs: 1_000_000 });
    driver.submit('old', { action: 'a', priority: 5 });
    driver.nowMs = 5 * 60_000 + 1;
    driver.submit('young', { action: 'b' });
    assert.deepEqual(driver.sync('s')[0], 'old executing');
  });

  it('puts the longest first inside a share', () => {
    const driver = new SchedulerDriver();
    driver.submit('short', { action: 'a', expectedMs: 1_000 });
    driver.submit('long', { action: 'b', expectedMs: 600_000 });
    driver.submit('unknown', { action: 'c' });
    const order = ['s1', 's2', 's3'].map((slot) => driver.sync(slot)[0]);
    assert.deepEqual(order, ['long executing', 'unknown executing', 'short executing']);
  });

  it('is priority, lower first, then arrival, over all groups (R-EX-24)', () => {
    const driver = new SchedulerDriver();
    driver.submit('late', { action: 'a', priority: 5 });
    driver.submit('first', { action: 'b', priority: 0, platform: LINUX });
    driver.submit('second', { action: 'c', priority: 0 });
    driver.submit('urgent', { action: 'd', priority: -1 });
    const order = ['s1', 's2', 's3', 's4'].map((slot) => driver.sync(slot, { platform: LINUX })[0]);
    assert.deepEqual(order, ['urgent executing', 'first executing', 'second executing', 'late executing']);
  });

  it('takes the best priority of those who share a task, as long as they wait (R-EX-24)', () => {
    const driver = new SchedulerDriver();
    driver.submit('slow', { action: 'a', priority: 5 });
    driver.submit('other', { action: 'b', priority: 0 });
    driver.submit('urgent', { action: 'a', priority: -1 });
    driver.apply({ type: 'cancel', operation: 'urgent' });
    assert.deepEqual(driver.sync('s1')[0], 'other executing');
    driver.submit('third', { action: 'c', priority: 0 });
    driver.submit('urgent again', { action: 'a', priority: -1 });
    assert.deepEqual(driver.sync('s2').slice(0, 2), ['slow executing', 'urgent again executing']);
  });
});

describe('wake', () => {
  it('asks for a tick when the earliest deadline changes, and again after each tick', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    assert.equal(driver.wakeMs, 60_000);
    driver.submit('two', { action: 'b' });
    assert.equal(driver.wakeMs, undefined);
    driver.tickAt(10);
    assert.equal(driver.wakeMs, 60_000);
  });

  it('asks for nothing on behalf of what is finished', () => {
    const driver = new SchedulerDriver({ platformGraceMs: 1_000_000, adoptionGraceMs: 0 });
    driver.submit('one');
    driver.apply({ type: 'detach', operation: 'one' });
    assert.equal(driver.wakeMs, 60_000);
    driver.apply({ type: 'cancel', operation: 'one' });
    assert.equal(driver.wakeMs, 1_000_000);
    driver.submit('two');
    driver.sync('s');
    driver.sync('s', { lease: 'lease-0', completed: 'done' });
    assert.equal(driver.wakeMs, 30_000);
    driver.apply({ type: 'recorded', lease: 'lease-0' });
    assert.equal(driver.wakeMs, 60_000);
  });

  it('lets what is due happen before the event', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    driver.nowMs = 60_000;
    assert.deepEqual(driver.sync('t'), ['one queued', 'one executing', 't: lease-1 attempt 2, work of one']);
  });
});
