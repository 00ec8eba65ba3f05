import assert from 'node:assert/strict';
import { drivenKey, drivenOffer, SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import type { SchedulerOptions } from './options.ts';

const GRACE_MS = 120_000;

/** A slot of ours that runs an action of a former server. */
const OURS = { lease: 'former-7', instance: 'main' } as const;

function driverOf(options: Partial<SchedulerOptions> = {}): SchedulerDriver {
  return new SchedulerDriver({ leaseTimeoutMs: 1_000_000, slotTimeoutMs: 1_000_000, ...options });
}

/** The same, and the server knows it. */
function adopted(options: Partial<SchedulerOptions> = {}): SchedulerDriver {
  const driver = driverOf(options);
  driver.sync('s', OURS);
  return driver;
}

describe('work of a former server', () => {
  it('goes on, with an event, as a task without operations that nobody waits for', () => {
    const driver = driverOf();
    assert.deepEqual(driver.sync('s', OURS), ['notice adopted', 's: former-7 attempt 1, no work']);
    assert.equal(driver.notices[0]?.text, 'worker s goes on with an action begun under a former server');
    const [task] = driver.view.tasks();
    assert.deepEqual([task?.state, task?.work, task?.operations], ['executing', undefined, []]);
    assert.equal(driver.view.slot('s')?.hold?.lease, 'former-7');
    assert.deepEqual(driver.sync('s', OURS), ['s: former-7 attempt 1, no work']);
  });

  it('is claimed by whoever asks for the same action, and its result is theirs', () => {
    const driver = adopted();
    assert.deepEqual(driver.submit('one', { instance: 'main' }), ['one executing']);
    assert.deepEqual(driver.sync('s', OURS), ['s: former-7 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { ...OURS, completed: 'done' }), ['record former-7 done', 's: wait']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'former-7' }), ['one result done']);
    assert.deepEqual(driver.view.counts.operations, 0);
  });

  it('is claimed also by a client that skips the cache: its result was not visible yet (R-EX-15)', () => {
    assert.deepEqual(adopted().submit('one', { instance: 'main', merge: 'fresh' }), ['one executing']);
  });

  it('is not claimed under another instance name, for another action, or by what must not be shared', () => {
    const driver = adopted();
    assert.deepEqual(driver.submit('one', { instance: 'other' }), ['one queued']);
    assert.deepEqual(driver.submit('two', { instance: 'main', action: 'b' }), ['two queued']);
    assert.deepEqual(driver.submit('three', { instance: 'main', merge: 'never' }), ['three queued']);
  });

  it('belongs to its task for good once claimed: also after the grace', () => {
    const driver = adopted();
    driver.submit('one', { instance: 'main' });
    assert.deepEqual(driver.tickAt(GRACE_MS), []);
    assert.deepEqual(driver.sync('s', OURS), ['s: former-7 attempt 1, work of one']);
  });

  it('takes what its task needs from the node, from the moment it is claimed', () => {
    const driver = driverOf();
    driver.sync('s', { ...OURS, platform: 'cores=2' });
    driver.sync('t', { platform: 'cores=2' });
    driver.submit('one', { instance: 'main', platform: 'cores=2' });
    assert.deepEqual(driver.submit('two', { action: 'b', platform: 'cores=1' }), ['two queued']);
    const done = driver.sync('s', { ...OURS, platform: 'cores=2', completed: 'done', prefersIdle: true });
    assert.deepEqual(done.slice(2), ['two executing', 't: lease-1 attempt 1, work of two']);
  });

  it('counts for the share of whoever claimed it', () => {
    const driver = adopted();
    driver.submit('one', { instance: 'main', shares: ['alice'] });
    const shares = [...driver.view.shares()].map(({ path, tasks, running }) => [path[0]?.id, tasks, running]);
    assert.deepEqual(shares, [['alice', 1, 1]]);
  });

  it('is tried again like any other once it was claimed and is lost', () => {
    const driver = adopted();
    driver.submit('one', { instance: 'main', expectedMs: 600_000 });
    driver.submit('two', { instance: 'main', action: 'b', expectedMs: 300_000 });
    assert.deepEqual(driver.apply({ type: 'leave', slot: 's' }), ['one queued']);
    assert.deepEqual(driver.sync('t')[1], 't: lease-1 attempt 2, work of one', 'the longest first');
  });

  it('just ends when it is lost, or its worker is at fault, and nobody asked', () => {
    const lost = adopted();
    assert.deepEqual(lost.apply({ type: 'leave', slot: 's' }), []);
    const fault = adopted();
    assert.deepEqual(fault.sync('s', { ...OURS, completed: 'x', verdict: 'worker-fault' }), ['s: wait']);
    for (const driver of [lost, fault]) assert.deepEqual([...driver.view.tasks()], []);
  });

  it('is told to stop at the end of the grace, with an event, if nobody asked', () => {
    const driver = adopted();
    assert.deepEqual(driver.tickAt(GRACE_MS - 1), []);
    assert.deepEqual(driver.tickAt(GRACE_MS), ['notice orphan-stopped']);
    assert.match(driver.notices[0]?.text ?? '', /^worker s is told to stop an action begun under a former server/);
    assert.deepEqual(driver.sync('s', OURS), ['s: nothing']);
    assert.deepEqual(driver.sync('t', OURS), ['t: nothing'], 'what is presented later is told at once');
  });

  it('is told to stop at once where there is no grace', () => {
    assert.deepEqual(driverOf({ adoptionGraceMs: 0 }).sync('s', OURS), ['s: nothing']);
  });

  it('joins the task of a client that asked before, queued or running', () => {
    const driver = driverOf();
    driver.submit('one', { instance: 'main' });
    const orders = ['notice adopted', 'one executing', 's: former-7 attempt 1, work of one'];
    assert.deepEqual(driver.sync('s', OURS).toSorted(), orders.toSorted());
    assert.equal(driver.view.counts.queuedTasks, 0);
    const second = driver.sync('t', { ...OURS, lease: 'former-8' });
    assert.deepEqual(second, ['notice adopted', 't: former-8 attempt 2, work of one']);
    assert.deepEqual(driver.sync('t', { ...OURS, lease: 'former-8', completed: 'done' })[0], 'record former-8 done');
    assert.deepEqual(driver.sync('s', OURS), ['s: nothing'], 'the slower one stops');
  });

  it('is not adopted by a slot that has other orders already', () => {
    const driver = driverOf();
    driver.submit('one', { action: 'b' });
    driver.sync('s');
    assert.deepEqual(driver.sync('s', OURS), ['s: lease-0 attempt 1, work of one']);
  });

  it('is told to stop if its worker does not serve the instance name', () => {
    assert.deepEqual(driverOf().sync('s', { ...OURS, prefix: 'team' }), ['s: nothing']);
  });

  it('is told to stop if its key is of another action, or its function none that the worker offers', () => {
    const driver = driverOf();
    driver.submit('one', { instance: 'main' });
    const sync = { type: 'sync', slot: 's', node: 'n', offer: drivenOffer(''), prefersIdle: true } as const;
    const instancePrefix = parseInstanceName('');
    const { action } = drivenKey('b');
    const other = { action, lease: 'former-1', key: drivenKey('a', 'main') };
    assert.deepEqual(driver.apply({ ...sync, instancePrefix, holding: other }), ['s: nothing']);
    const deaf = { ...sync, offer: { ...sync.offer, digestFunctions: [] } };
    const known = { action, lease: 'former-1', key: drivenKey('b', 'main') };
    assert.deepEqual(driver.apply({ ...deaf, instancePrefix, holding: known }), ['s: nothing']);
  });

  it('is never taken for what this server ordered itself and gave up (R-BB-25)', () => {
    const driver = driverOf();
    driver.submit('one', { instance: 'main' });
    driver.sync('s');
    driver.apply({ type: 'cancel', operation: 'one' });
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', instance: 'main' }), ['s: nothing']);
    driver.submit('two');
    driver.sync('plain');
    driver.apply({ type: 'cancel', operation: 'two' });
    assert.deepEqual(driver.sync('plain', { action: 'a' }), ['plain: nothing']);
  });
});

describe('a result of a former server', () => {
  const done = { ...OURS, completed: 'done' };

  it('is recorded, and kept for who asks first: later ones find it in the cache, or want another try', () => {
    const driver = driverOf();
    assert.deepEqual(driver.sync('s', done), ['notice adopted', 'record former-7 done', 's: wait']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'former-7' }), []);
    assert.deepEqual(driver.submit('one', { instance: 'main' }), ['one result done']);
    assert.deepEqual(driver.submit('two', { instance: 'main' })[0], 'two executing');
  });

  it('is kept until the end of the grace, and never for who skips the cache (R-EX-15)', () => {
    const driver = driverOf({ platformGraceMs: 1e9 });
    driver.sync('s', { ...done, prefersIdle: true });
    driver.apply({ type: 'recorded', lease: 'former-7' });
    assert.deepEqual(driver.submit('fresh', { instance: 'main', merge: 'fresh' }), ['fresh queued']);
    driver.apply({ type: 'cancel', operation: 'fresh' });
    driver.tickAt(GRACE_MS);
    assert.deepEqual([...driver.view.tasks()], []);
    assert.deepEqual(driver.submit('late', { instance: 'main' }), ['late queued']);
  });

  it('is given to who asks while it is being recorded', () => {
    const driver = driverOf();
    driver.sync('s', done);
    assert.deepEqual(driver.submit('one', { instance: 'main' }), ['one executing']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'former-7' }), ['one result done']);
  });

  it('is given also if it could not be recorded, with the cause', () => {
    const driver = driverOf();
    driver.sync('s', done);
    const failed = new ReapiError('quota-exceeded', 'full');
    driver.apply({ type: 'recorded', lease: 'former-7', failed });
    assert.deepEqual(driver.submit('one', { instance: 'main' }), ['one result done, record failed: quota-exceeded']);
  });

  it('counts once, however often it is sent', () => {
    const driver = driverOf();
    driver.sync('s', done);
    assert.deepEqual(driver.sync('s', done), ['s: wait']);
    driver.apply({ type: 'recorded', lease: 'former-7' });
    assert.deepEqual(driver.sync('s', done), ['s: wait']);
  });

  it('is the result of a client that asked before', () => {
    const driver = driverOf();
    driver.submit('one', { instance: 'main' });
    const effects = driver.sync('s', { ...done, prefersIdle: true });
    assert.equal(effects.includes('record former-7 done'), true);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'former-7' }), ['one result done']);
  });
});

describe('work of a former server on a plain bb_worker, which reports only the action digest', () => {
  it('is found by the digest, under any instance name below its prefix', () => {
    const driver = driverOf();
    assert.deepEqual(driver.sync('s', { action: 'a', prefix: 'team' }), [
      'notice adopted',
      's: lease-0 attempt 1, no work',
    ]);
    assert.deepEqual(driver.submit('other', { instance: 'other' }), ['other queued']);
    assert.deepEqual(driver.submit('different', { instance: 'team/x', action: 'b' }), ['different queued']);
    assert.deepEqual(driver.submit('unshared', { instance: 'team/x', merge: 'never' }), ['unshared queued']);
    assert.deepEqual(driver.submit('one', { instance: 'team/x' }), ['one executing']);
    assert.deepEqual(driver.submit('two', { instance: 'team/y' }), ['two queued'], 'it is claimed once');
    const done = driver.sync('s', { action: 'a', prefix: 'team', completed: 'done', prefersIdle: true });
    assert.deepEqual(done, ['record lease-0 done', 's: nothing']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0' }), ['one result done']);
  });

  it('joins the task of a client that asked before', () => {
    const driver = driverOf();
    driver.submit('elsewhere', { instance: 'other' });
    driver.submit('one', { instance: 'team/x' });
    const orders = driver.sync('s', { action: 'a', prefix: 'team' });
    assert.deepEqual(orders.at(-1), 's: lease-0 attempt 1, work of one');
  });

  it('is told to stop at the end of the grace', () => {
    const driver = driverOf();
    driver.sync('s', { action: 'a' });
    assert.deepEqual(driver.tickAt(GRACE_MS), ['notice orphan-stopped']);
    assert.deepEqual(driver.sync('s', { action: 'a' }), ['s: nothing']);
    assert.deepEqual(driver.submit('one'), ['one queued']);
  });

  it('is nothing if it is over: such a worker recorded the result itself', () => {
    assert.deepEqual(driverOf().sync('s', { action: 'a', completed: 'done' }), ['s: wait']);
  });
});

describe('orphans', () => {
  it('are no more than there may be slots', () => {
    const driver = driverOf({ maxSlots: 1 });
    driver.sync('s', OURS);
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(driver.sync('s', OURS)[0], 'notice adopted', 'one that ended makes room');
    assert.deepEqual(driver.sync('t', { ...OURS, lease: 'former-8', action: 'b' }), ['t: nothing']);
  });
});
