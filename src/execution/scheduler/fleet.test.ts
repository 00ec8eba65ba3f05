import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';

const LINUX = [{ name: 'OSFamily', value: 'linux' }];
const MACOS = [{ name: 'OSFamily', value: 'macos' }];

describe('drain (R-BB-30)', () => {
  it('lets a node finish what it holds and take nothing new', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    driver.sync('s');
    driver.apply({ type: 'drain', node: 'node', on: true });
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'done' }), ['record lease-0 done', 's: wait']);
  });

  it('gives waiting slots of the node work as soon as it ends', () => {
    const driver = new SchedulerDriver();
    driver.sync('s');
    driver.apply({ type: 'drain', node: 'node', on: true });
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.deepEqual(driver.apply({ type: 'drain', node: 'node', on: false }), [
      'one executing',
      's: lease-0 attempt 1, work of one',
    ]);
    assert.deepEqual(driver.apply({ type: 'drain', node: 'node', on: false }), []);
  });

  it('applies to nodes that connect later', () => {
    const driver = new SchedulerDriver();
    driver.apply({ type: 'drain', node: 'node', on: true });
    driver.submit('one');
    assert.deepEqual(driver.sync('s'), ['s: wait']);
    assert.deepEqual(driver.sync('t', { node: 'other' })[0], 'one executing');
  });
});

describe('a slot', () => {
  it('gets nothing and never waits while it prefers to be idle (R-BB-10)', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    assert.deepEqual(driver.sync('s', { prefersIdle: true }), ['s: nothing']);
    assert.deepEqual(driver.sync('s'), ['one executing', 's: lease-0 attempt 1, work of one']);
  });

  it('has its completion processed first when it prefers to be idle (R-BB-10)', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    const last = driver.sync('s', { lease: 'lease-0', completed: 'done', prefersIdle: true });
    assert.deepEqual(last, ['record lease-0 done', 's: nothing']);
  });

  it('serves its instance name prefix and what lies below (R-BB-14, R-BB-15)', () => {
    const driver = new SchedulerDriver();
    driver.submit('above', { action: 'a', instance: 'team' });
    driver.submit('beside', { action: 'b', instance: 'team/application' });
    driver.submit('equal', { action: 'c', instance: 'team/app' });
    driver.submit('below', { action: 'd', instance: 'team/app/x' });
    assert.deepEqual(driver.sync('s1', { prefix: 'team/app' })[0], 'equal executing');
    assert.deepEqual(driver.sync('s2', { prefix: 'team/app' })[0], 'below executing');
    assert.deepEqual(driver.sync('s3', { prefix: 'team/app' }), ['s3: wait']);
    assert.deepEqual(driver.sync('s4', { prefix: 'team' })[0], 'above executing');
  });

  it('may change what it offers', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', { platform: LINUX });
    driver.sync('s', { platform: MACOS });
    assert.deepEqual(driver.submit('one', { platform: LINUX }), ['one queued']);
    assert.deepEqual(driver.submit('two', { action: 'b', platform: MACOS })[0], 'two executing');
  });

  it('may move to another node, whose drain then counts', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', { node: 'old' });
    driver.sync('s', { node: 'new' });
    driver.apply({ type: 'drain', node: 'old', on: true });
    assert.deepEqual(driver.submit('one')[0], 'one executing');
    driver.sync('s', { node: 'new', lease: 'lease-0', completed: 'done' });
    driver.apply({ type: 'drain', node: 'new', on: true });
    assert.deepEqual(driver.submit('two', { action: 'b' }), ['two queued']);
  });

  it('that has waited longest gets the work, also among different offers that fit', () => {
    const driver = new SchedulerDriver();
    driver.sync('s1', { platform: MACOS });
    driver.sync('s2', { platform: LINUX });
    driver.sync('s1', { platform: MACOS });
    assert.deepEqual(driver.submit('one')[1], 's2: lease-0 attempt 1, work of one');
    driver.submit('two', { action: 'b' });
    driver.sync('s2', { platform: LINUX, lease: 'lease-0', completed: 'done' });
    driver.sync('s1', { platform: MACOS, lease: 'lease-1', completed: 'done' });
    assert.deepEqual(driver.submit('three', { action: 'c' })[1], 's2: lease-2 attempt 1, work of three');
  });

  it('keeps its lease when it changes what it offers', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s', { platform: LINUX });
    const changed = driver.sync('s', { platform: MACOS, lease: 'lease-0' });
    assert.deepEqual(changed, ['s: lease-0 attempt 1, work of one']);
    assert.deepEqual(
      driver.sync('s', { platform: MACOS, lease: 'lease-0', completed: 'done' })[0],
      'record lease-0 done',
    );
  });

  it('beyond the limit waits, is not known, and gets nothing', () => {
    const driver = new SchedulerDriver({ maxSlots: 1 });
    driver.sync('s');
    assert.deepEqual(driver.sync('t'), ['t: wait']);
    assert.deepEqual(driver.submit('one')[1], 's: lease-0 attempt 1, work of one');
    assert.deepEqual(driver.submit('two', { action: 'b' }), ['two queued']);
    assert.deepEqual(driver.sync('t'), ['t: wait']);
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(driver.sync('t').at(-1), 't: lease-1 attempt 2, work of one');
  });

  it('without a lease is forgotten after 90 s, counted from the end of its poll', () => {
    const driver = new SchedulerDriver({ platformGraceMs: 1 });
    driver.sync('s');
    driver.nowMs = 60_000;
    driver.apply({ type: 'answered', slot: 's' });
    driver.tickAt(149_999);
    driver.submit('one');
    assert.deepEqual(driver.messages, [undefined]);
    assert.deepEqual(driver.tickAt(150_000), []);
    assert.deepEqual(driver.tickAt(150_001), ['one failed: unavailable']);
  });
});

describe('a platform nobody offers', () => {
  it('waits with a message during the start-up grace, then fails, naming the property, the offers and the nearest worker', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', { platform: LINUX });
    assert.deepEqual(driver.submit('one', { platform: MACOS }), ['one queued']);
    const why = 'no worker satisfies the platform: OSFamily wants macos (on offer: linux); the nearest worker is s';
    assert.deepEqual(driver.messages, [`waiting for a worker: ${why}`]);
    assert.deepEqual(driver.tickAt(59_999), []);
    assert.deepEqual(driver.tickAt(60_000), ['one failed: no-such-platform']);
    assert.equal(driver.errors[0]?.message, why);
  });

  it('fails at once after the start-up grace', () => {
    const driver = new SchedulerDriver();
    driver.tickAt(0);
    driver.tickAt(60_000);
    driver.sync('s', { platform: LINUX });
    assert.deepEqual(driver.submit('one', { platform: MACOS }), ['one failed: no-such-platform']);
    assert.deepEqual(driver.submit('two', { legacyOutputs: true }), ['two failed: no-such-platform']);
    assert.match(driver.errors[0]?.message ?? '', /legacy outputs wants yes/);
  });

  it('says so when no worker serves the instance name', () => {
    const driver = new SchedulerDriver();
    driver.tickAt(0);
    driver.tickAt(60_000);
    driver.sync('s', { prefix: 'team' });
    driver.submit('one', { instance: 'other' });
    assert.equal(driver.errors[0]?.message, 'no connected worker serves the instance name "other"');
  });

  it('waits for a worker that was there a short while ago, so that a restart fails no build', () => {
    const driver = new SchedulerDriver();
    driver.tickAt(100_000);
    driver.sync('s');
    driver.apply({ type: 'leave', slot: 's' });
    driver.nowMs = 159_000;
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.match(driver.messages[0] ?? '', /^waiting for a worker: no worker is connected that could run it/);
    assert.deepEqual(driver.sync('s')[0], 'one executing');
  });

  it('is served again for good when a worker is back within the grace time', () => {
    const driver = new SchedulerDriver();
    driver.sync('s');
    driver.apply({ type: 'leave', slot: 's' });
    driver.nowMs = 59_000;
    driver.sync('s', { prefersIdle: true });
    driver.tickAt(61_000);
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.deepEqual(driver.tickAt(140_000), []);
  });

  it('is unavailable when the last worker has been gone for the grace time (R-BB-21)', () => {
    const driver = new SchedulerDriver();
    driver.sync('s');
    driver.apply({ type: 'answered', slot: 's' });
    driver.nowMs = 70_000;
    driver.submit('one');
    driver.nowMs = 80_000;
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(driver.tickAt(139_999), []);
    assert.deepEqual(driver.tickAt(140_000), ['one failed: unavailable']);
  });

  it('also ends a task that is queued again when nobody is left to run it', () => {
    const driver = new SchedulerDriver();
    driver.submit('one', { platform: LINUX });
    driver.sync('s', { platform: LINUX });
    for (let nowMs = 30_000; nowMs <= 120_000; nowMs += 30_000) {
      driver.nowMs = nowMs;
      driver.sync('s', { platform: MACOS, lease: 'lease-0' });
    }
    assert.deepEqual(driver.apply({ type: 'leave', slot: 's' }), ['one queued', 'one failed: unavailable']);
  });
});
