import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { BugError, ReapiError } from '../../errors.ts';

const LINUX = [{ name: 'OSFamily', value: 'linux' }];

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

describe('order of the queue', () => {
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

describe('merging (R-EX-15, R-EX-16)', () => {
  it('lets operations of one action share a task, queued or running, and all get its result', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    assert.deepEqual(driver.submit('two'), ['two queued']);
    driver.sync('s');
    assert.deepEqual(driver.submit('three', { merge: 'fresh' }), ['three executing']);
    driver.sync('s', { lease: 'lease-0', completed: 'done' });
    assert.deepEqual(driver.submit('four'), ['four executing']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0' }), [
      'one result done',
      'two result done',
      'three result done',
      'four result done',
    ]);
  });

  it('never lets a fresh newcomer share a result being recorded, and later ones share the fresh task', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    driver.sync('s', { lease: 'lease-0', completed: 'old' });
    const fresh = driver.submit('two', { merge: 'fresh' });
    assert.deepEqual(fresh, ['two executing', 's: lease-1 attempt 1, work of two']);
    assert.deepEqual(driver.submit('three'), ['three executing']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0' }), ['one result old']);
    assert.deepEqual(driver.submit('four'), ['four executing']);
  });

  it('never shares do_not_cache, neither as newcomer nor as host', () => {
    const driver = new SchedulerDriver();
    driver.submit('one', { merge: 'never' });
    driver.submit('two', { merge: 'any' });
    driver.submit('three', { merge: 'never' });
    assert.equal(driver.sync('s1').length, 2);
    assert.equal(driver.sync('s2').length, 2);
    assert.equal(driver.sync('s3').length, 2);
  });

  it('never shares across instance names', () => {
    const driver = new SchedulerDriver();
    driver.submit('one', { instance: 'x' });
    driver.submit('two', { instance: 'y' });
    assert.deepEqual(driver.sync('s1').length, 2);
    assert.deepEqual(driver.sync('s2')[0], 'two executing');
  });
});

describe('cancel and abandonment (R-OP-02, R-EX-12)', () => {
  it('cancels only the caller’s operation of a shared task', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.submit('two');
    driver.sync('s');
    assert.deepEqual(driver.apply({ type: 'cancel', operation: 'one' }), ['one failed: cancelled']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: lease-0 attempt 1, work of one']);
  });

  it('stops the task with its last operation: the next answer to the slot is idle, late results are dropped (R-BB-25)', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    driver.apply({ type: 'cancel', operation: 'one' });
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: nothing']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'late' }), ['s: wait']);
  });

  it('takes a queued task out of the queue', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.apply({ type: 'cancel', operation: 'one' });
    assert.deepEqual(driver.sync('s'), ['s: wait']);
  });

  it('lets a result be recorded although nobody waits any more', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    driver.sync('s', { lease: 'lease-0', completed: 'done' });
    assert.deepEqual(driver.apply({ type: 'cancel', operation: 'one' }), ['one failed: cancelled']);
    assert.deepEqual(driver.submit('two'), ['two executing']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0' }), ['two result done']);
  });

  it('changes nothing for operations that are finished or unknown', () => {
    const driver = new SchedulerDriver();
    for (const type of ['cancel', 'detach', 'attach'] as const) {
      assert.deepEqual(driver.apply({ type, operation: 'nobody' }), []);
    }
  });

  it('cancels an operation 60 s after its last waiter left', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    driver.nowMs = 1_000;
    driver.sync('s', { lease: 'lease-0' });
    driver.apply({ type: 'detach', operation: 'one' });
    driver.nowMs = 50_000;
    driver.sync('s', { lease: 'lease-0' });
    assert.deepEqual(driver.tickAt(60_999), []);
    assert.deepEqual(driver.tickAt(61_000), ['one failed: cancelled']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: nothing']);
  });

  it('counts the time anew when a waiter came back in between', () => {
    const driver = new SchedulerDriver({ platformGraceMs: 1_000_000 });
    driver.submit('one');
    driver.apply({ type: 'detach', operation: 'one' });
    driver.nowMs = 30_000;
    driver.apply({ type: 'attach', operation: 'one' });
    driver.nowMs = 40_000;
    driver.apply({ type: 'detach', operation: 'one' });
    driver.apply({ type: 'detach', operation: 'one' });
    assert.deepEqual(driver.tickAt(60_000), []);
    assert.deepEqual(driver.tickAt(99_999), []);
    assert.deepEqual(driver.tickAt(100_000), ['one failed: cancelled']);
  });

  it('keeps the task of an abandoned operation for those who share it', () => {
    const driver = new SchedulerDriver({ platformGraceMs: 1_000_000 });
    driver.submit('one');
    driver.submit('two');
    driver.apply({ type: 'detach', operation: 'one' });
    assert.deepEqual(driver.tickAt(60_000), ['one failed: cancelled']);
    assert.deepEqual(driver.sync('s')[0], 'two executing');
  });
});

describe('recording', () => {
  function recording(): SchedulerDriver {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    driver.sync('s', { lease: 'lease-0', completed: 'done' });
    return driver;
  }

  it('finishes the operation with the result and the cause when the write failed', () => {
    const driver = recording();
    const failed = new ReapiError('quota-exceeded', 'full');
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0', failed }), [
      'one result done, record failed: quota-exceeded',
    ]);
  });

  it('ends by its deadline, and later answers change nothing', () => {
    const driver = recording();
    assert.equal(driver.wakeMs, 30_000);
    assert.deepEqual(driver.tickAt(30_000), ['one result done, record failed: unavailable']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0' }), []);
  });

  it('frees the slot for the next task before it is finished', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    driver.sync('s');
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'done' }), [
      'record lease-0 done',
      'two executing',
      's: lease-1 attempt 1, work of two',
    ]);
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
    const driver = new SchedulerDriver({ platformGraceMs: 1_000_000 });
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
