import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { DEFAULT_OPTIONS } from './options.ts';

const LINUX = 'OSFamily=linux';
const MACOS = 'OSFamily=macos';

describe('drain (R-BB-30)', () => {
  it('lets a node finish what it holds and take nothing new', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    driver.sync('s');
    driver.drain({ node: 'node' });
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'done' }), ['record lease-0 done', 's: wait']);
  });

  it('gives waiting slots of the node work as soon as it ends', () => {
    const driver = new SchedulerDriver();
    driver.sync('s');
    driver.drain({ node: 'node' });
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.deepEqual(driver.drain({ node: 'node' }, { on: false }), [
      'one executing',
      's: lease-0 attempt 1, work of one',
    ]);
    assert.deepEqual(driver.drain({ node: 'node' }, { on: false }), []);
  });

  it('applies to nodes that connect later', () => {
    const driver = new SchedulerDriver();
    driver.drain({ node: 'node' });
    driver.submit('one');
    assert.deepEqual(driver.sync('s'), ['s: wait']);
    assert.deepEqual(driver.sync('t', { node: 'other' })[0], 'one executing');
  });
});

describe('drains by pattern (R-BB-30)', () => {
  const rack = (thread: string, host = 'a') => ({ labels: { rack: '1', host, thread } });

  it('select slots that have all labels of the pattern', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', rack('0'));
    driver.sync('t', rack('1'));
    driver.drain({ rack: '1', thread: '0' });
    assert.deepEqual(driver.submit('one')[1], 't: lease-0 attempt 1, work of one');
    assert.deepEqual(driver.submit('two', { action: 'b' }), ['two queued']);
    assert.deepEqual(
      [...driver.view.slots()].map(({ isDrained }) => isDrained),
      [true, false],
    );
  });

  it('overlap: a slot is open when the last one that selects it has ended', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', rack('0'));
    driver.drain({ rack: '1' });
    driver.drain({});
    driver.submit('one');
    assert.deepEqual(driver.drain({ rack: '1' }, { on: false }), []);
    assert.deepEqual(driver.drain({}, { on: false })[0], 'one executing');
  });

  it('follow a slot that comes back with other labels', () => {
    const driver = new SchedulerDriver();
    driver.drain({ host: 'b' });
    driver.sync('s', rack('0', 'a'));
    driver.sync('s', rack('0', 'b'));
    assert.deepEqual(driver.submit('one'), ['one queued']);
    assert.deepEqual(driver.sync('s', rack('0', 'a'))[0], 'one executing');
  });

  it('are no more than their limit', () => {
    const driver = new SchedulerDriver({ maxDrains: 1 });
    driver.drain({ host: 'a' });
    driver.drain({ host: 'b' });
    assert.equal(driver.view.drains().length, 1);
  });

  it('tell waiting slots that understand it to exit, and the others when they come; busy ones when they are done', () => {
    const driver = new SchedulerDriver();
    driver.sync('waits', { canExit: true });
    driver.sync('busy', { canExit: true });
    driver.sync('waits', { canExit: true });
    driver.submit('one');
    driver.sync('plain');
    assert.deepEqual(driver.drain({}, { isTermination: true }), ['waits: exit']);
    assert.deepEqual(driver.sync('busy', { canExit: true, lease: 'lease-0' }), [
      'busy: lease-0 attempt 1, work of one',
    ]);
    const done = driver.sync('busy', { canExit: true, lease: 'lease-0', completed: 'done' });
    assert.deepEqual(done, ['record lease-0 done', 'busy: exit']);
    assert.deepEqual(driver.sync('plain'), ['plain: wait'], 'it would not understand');
    assert.equal(driver.view.slot('busy')?.isTerminating, true);
  });

  it('become terminations when they are said again as such, and back', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', { canExit: true });
    assert.deepEqual(driver.drain({}), []);
    assert.deepEqual(driver.drain({}, { isTermination: true }), ['s: exit']);
    driver.drain({}, { on: false });
    assert.deepEqual(driver.sync('s', { canExit: true }), ['s: wait']);
    assert.deepEqual(driver.submit('one')[0], 'one executing');
  });
});

describe('a node that fails differently from the rest', () => {
  const isolation = { faultsInARow: 2, window: 40, maxShare: 0.5, forMs: 10_000 };
  const fault = { completed: 'x', verdict: 'worker-fault' as const };

  /** Two different actions failed on `bad`; `good` did well, and is busy. */
  function isolated(): SchedulerDriver {
    const retries = { ...DEFAULT_OPTIONS.retries, maxFaults: 0 };
    const driver = new SchedulerDriver({ isolation, retries, slotTimeoutMs: 1e9, leaseTimeoutMs: 1e9 });
    driver.sync('g', { node: 'good' });
    driver.submit('short', { action: 'e' });
    driver.submit('long', { action: 'f' });
    driver.sync('g', { node: 'good', action: 'e', lease: 'lease-0', completed: 'x' });
    driver.sync('b', { node: 'bad' });
    driver.submit('one', { action: 'a' });
    driver.sync('b', { node: 'bad', action: 'a', lease: 'lease-2', ...fault });
    driver.submit('two', { action: 'b' });
    driver.sync('b', { node: 'bad', action: 'b', lease: 'lease-3', ...fault });
    return driver;
  }

  it('gets nothing more, and is named with the reason', () => {
    const driver = isolated();
    assert.deepEqual(
      driver.notices.map(({ kind, text }) => [kind, text]),
      [['node-isolated', 'node bad gets no more work: it failed 2 times in a row, with different actions']],
    );
    assert.deepEqual(driver.submit('three', { action: 'c' }), ['three queued']);
    assert.deepEqual(driver.sync('b', { node: 'bad' }), ['b: wait']);
    assert.deepEqual(driver.view.isolated(), [
      { node: 'bad', reason: 'it failed 2 times in a row, with different actions', sinceMs: 0 },
    ]);
    assert.equal(driver.view.counts.drainedSlots, 1);
  });

  it('gets work again when it is forgiven, or its time is over', () => {
    for (const end of [
      (driver: SchedulerDriver) => driver.apply({ type: 'forgive', node: 'bad' }),
      (driver: SchedulerDriver) => driver.tickAt(10_000),
    ]) {
      const driver = isolated();
      driver.submit('three', { action: 'c' });
      assert.deepEqual(end(driver), ['three executing', 'b: lease-4 attempt 1, work of three']);
      assert.deepEqual(driver.view.isolated(), []);
      assert.deepEqual(driver.apply({ type: 'forgive', node: 'bad' }), []);
    }
  });

  it('has a clean record then: one more fault does not isolate it', () => {
    const driver = isolated();
    driver.apply({ type: 'forgive', node: 'bad' });
    driver.submit('three', { action: 'c' });
    driver.sync('b', { node: 'bad', action: 'c', lease: 'lease-4', ...fault });
    assert.deepEqual(driver.notices, []);
  });

  it('stays so when it goes and comes back, until its time is over or it is forgiven', () => {
    const driver = isolated();
    driver.apply({ type: 'leave', slot: 'b' });
    assert.deepEqual(driver.view.isolated(), []);
    driver.submit('three', { action: 'c' });
    assert.deepEqual(driver.sync('b', { node: 'bad' }), ['b: wait']);
    assert.equal(driver.view.isolated().length, 1);
    assert.deepEqual(driver.tickAt(10_000)[0], 'three executing');
    const forgiven = isolated();
    forgiven.apply({ type: 'leave', slot: 'b' });
    forgiven.apply({ type: 'forgive', node: 'bad' });
    forgiven.submit('three', { action: 'c' });
    assert.deepEqual(forgiven.sync('b', { node: 'bad' })[0], 'three executing');
  });

  it('is not isolated if it is the only one of its kind, or too many are', () => {
    const retries = { ...DEFAULT_OPTIONS.retries, maxFaults: 0 };
    const driver = new SchedulerDriver({ isolation, retries });
    driver.sync('b', { node: 'bad' });
    for (const [number, action] of ['a', 'b', 'c'].entries()) {
      driver.submit(action, { action });
      driver.sync('b', { node: 'bad', action, lease: `lease-${number}`, ...fault });
      assert.deepEqual(driver.notices, []);
    }
    const many = isolated();
    many.sync('c', { node: 'worse' });
    many.submit('three', { action: 'c' });
    many.sync('c', { node: 'worse', action: 'c', lease: 'lease-4', ...fault });
    many.submit('four', { action: 'd' });
    many.sync('c', { node: 'worse', action: 'd', lease: 'lease-5', ...fault });
    assert.deepEqual([many.notices, many.view.isolated().length], [[], 1]);
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
    driver.drain({ node: 'old' });
    assert.deepEqual(driver.submit('one')[0], 'one executing');
    driver.sync('s', { node: 'new', lease: 'lease-0', completed: 'done' });
    driver.drain({ node: 'new' });
    assert.deepEqual(driver.submit('two', { action: 'b' }), ['two queued']);
  });

  it('moves with what it runs: the old node has more left then, and what ends makes room on the new one', () => {
    const four = { platform: 'cores=4' };
    const driver = new SchedulerDriver();
    for (const slot of ['s', 't']) driver.sync(slot, { ...four, node: 'old' });
    driver.submit('one', { platform: 'cores=3' });
    driver.submit('two', { action: 'b', platform: 'cores=2' });
    const moved = driver.sync('s', { ...four, node: 'new', lease: 'lease-0' });
    assert.deepEqual(moved.slice(1), ['two executing', 't: lease-1 attempt 1, work of two']);
    driver.sync('u', { ...four, node: 'new' });
    assert.deepEqual(driver.submit('three', { action: 'c', platform: 'cores=3' }), ['three queued']);
    const ended = driver.apply({ type: 'cancel', operation: 'one' });
    assert.deepEqual(ended.slice(1), ['three executing', 'u: lease-2 attempt 1, work of three']);
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
