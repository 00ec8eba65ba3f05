import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from './options.ts';

const { retries } = DEFAULT_OPTIONS;

function running(options: Partial<SchedulerOptions> = {}): SchedulerDriver {
  const driver = new SchedulerDriver(options);
  driver.submit('one');
  driver.sync('s');
  driver.sync('s', { lease: 'lease-0' });
  return driver;
}

describe('what a slot reports', () => {
  it('is matched by action digest alone if it knows no lease (a plain bb_worker)', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    assert.deepEqual(driver.sync('s', { action: 'a' }), ['s: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { action: 'a', completed: 'done' }), ['record lease-0 done', 's: wait']);
  });

  it('is told to stop when it is unknown, and never blocked meanwhile (R-BB-06)', () => {
    const driver = new SchedulerDriver({ adoptionGraceMs: 0 });
    assert.deepEqual(driver.sync('s', { action: 'b' }), ['s: nothing']);
    assert.deepEqual(driver.sync('s', { action: 'b', lease: 'of-another-life' }), ['s: nothing']);
  });

  it('is replaced by queued work when it is unknown (R-BB-06)', () => {
    const driver = new SchedulerDriver({ adoptionGraceMs: 0 });
    driver.submit('one');
    assert.deepEqual(driver.sync('s', { action: 'b' }), ['one executing', 's: lease-0 attempt 1, work of one']);
  });

  it('is discarded when the completed lease is unknown, and the slot goes on as idle (R-BB-08)', () => {
    const driver = new SchedulerDriver();
    assert.deepEqual(driver.sync('s', { action: 'b', completed: 'stray' }), ['s: wait']);
    assert.deepEqual(driver.sync('s', { action: 'b', lease: 'x', completed: 'stray' }), ['s: wait']);
  });

  it('does not count if the lease belongs to another slot or another action', () => {
    const driver = running();
    assert.deepEqual(driver.sync('t', { lease: 'lease-0', completed: 'forged' }), ['t: wait']);
    assert.deepEqual(driver.sync('s', { action: 'b', lease: 'lease-0', completed: 'wrong' }).includes('record'), false);
  });

  it('counts once: a second report of the same completion is discarded', () => {
    const driver = running();
    driver.sync('s', { lease: 'lease-0', completed: 'done' });
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'done' }), ['s: wait']);
  });
});

describe('the attempts of an operation', () => {
  it('are told at its end, each with its slot, node, times and how it ended', () => {
    const driver = running();
    driver.nowMs = 5_000;
    driver.sync('s', { lease: 'lease-0', completed: 'broken', verdict: 'worker-fault', cause: 'no disk' });
    driver.nowMs = 7_000;
    driver.sync('s', { lease: 'lease-1', completed: 'done' });
    driver.apply({ type: 'recorded', lease: 'lease-1' });
    const on = { slot: 's', node: 'node' };
    assert.deepEqual(driver.attempts, [
      { attempt: 1, ...on, startedAtMs: 0, end: { atMs: 5_000, how: 'worker-fault', cause: 'no disk' } },
      { attempt: 2, ...on, startedAtMs: 5_000, end: { atMs: 7_000, how: 'success', cause: '' } },
    ]);
  });

  it('are cancelled with it', () => {
    const driver = running();
    driver.nowMs = 9;
    driver.apply({ type: 'cancel', operation: 'one' });
    const end = { atMs: 9, how: 'cancelled', cause: '' };
    assert.deepEqual(driver.attempts, [{ attempt: 1, slot: 's', node: 'node', startedAtMs: 0, end }]);
    assert.equal(driver.view.slot('s')?.hold, undefined);
  });

  it('tell with the stage where the newest of them runs', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    const stages = driver.effects.filter((effect) => effect.type === 'stage');
    assert.deepEqual(stages, [{ type: 'stage', operation: 'one', stage: 'executing', slot: 's' }]);
    driver.sync('s', { lease: 'lease-0' });
    driver.submit('two');
    assert.deepEqual(driver.effects[0], { type: 'stage', operation: 'two', stage: 'executing', slot: 's' });
  });
});

describe('sending a lease again (R-BB-09)', () => {
  it('happens at every sync of a slot that has not taken it, nine times; then the task fails', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    for (let again = 1; again <= 9; again++) {
      assert.deepEqual(driver.sync('s'), ['s: lease-0 attempt 1, work of one'], `time ${again}`);
    }
    assert.deepEqual(driver.sync('s'), ['one failed: internal', 's: wait']);
  });

  it('also happens to a slot that prefers to be idle, runs or completed something else (R-BB-10)', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s');
    assert.deepEqual(driver.sync('s', { prefersIdle: true }), ['s: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { action: 'b' }), ['s: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { action: 'b', completed: 'old' }), ['s: lease-0 attempt 1, work of one']);
  });

  it('is not counted once the slot has confirmed the lease', () => {
    const driver = new SchedulerDriver({ maxResends: 1 });
    driver.submit('one');
    driver.sync('s');
    driver.sync('s');
    for (let again = 0; again < 5; again++) {
      assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: lease-0 attempt 1, work of one']);
    }
  });
});

describe('a lost attempt', () => {
  it('is followed by the next one when the slot restarted; an action that always ends so is quarantined', () => {
    const driver = running();
    for (let lost = 1; lost <= 3; lost++) {
      const again = ['one queued', 'one executing', `s: lease-${lost} attempt ${lost + 1}, work of one`];
      assert.deepEqual(driver.sync('s'), again);
      driver.sync('s', { lease: `lease-${lost}` });
    }
    assert.deepEqual(driver.sync('s'), ['notice action-quarantined', 'one failed: precondition', 's: wait']);
  });

  it('ends as internal if nothing is quarantined: the worker was there, and dropped it', () => {
    const driver = running({ retries: { ...retries, maxLost: 0, quarantineAfter: 0 } });
    assert.deepEqual(driver.sync('s'), ['one failed: internal', 's: wait']);
    assert.match(driver.errors[0]?.message ?? '', /lost its worker once, the last time because worker s dropped it/);
  });

  it('is found out by silence after 60 s, and after the last one the operation is unavailable (R-BB-20)', () => {
    const driver = running({ retries: { ...retries, maxLost: 1 }, platformGraceMs: 1_000_000 });
    assert.deepEqual(driver.tickAt(59_999), []);
    assert.deepEqual(driver.tickAt(60_000), ['one queued']);
    assert.deepEqual(driver.messages, ['attempt 1 did not end well: worker s fell silent']);
    driver.sync('t');
    assert.deepEqual(driver.tickAt(120_000), ['one failed: unavailable']);
    assert.match(
      driver.errors[0]?.message ?? '',
      /lost its worker 2 times, the last time because worker t fell silent/,
    );
    assert.equal(driver.errors[0]?.facts.retryAfterMs, 1_000);
  });

  it('counts silence from the last sync', () => {
    const driver = running();
    driver.nowMs = 50_000;
    driver.sync('s', { lease: 'lease-0' });
    assert.deepEqual(driver.tickAt(109_999), []);
    assert.deepEqual(driver.tickAt(110_000), ['one queued']);
  });

  it('counts silence from the orders when a waiting slot got them', () => {
    const driver = new SchedulerDriver();
    driver.sync('s');
    driver.nowMs = 40_000;
    driver.submit('one');
    assert.deepEqual(driver.tickAt(99_999), []);
    assert.deepEqual(driver.tickAt(100_000), ['one queued']);
  });

  it('follows at once when the slot leaves', () => {
    const driver = running();
    driver.sync('t');
    assert.deepEqual(driver.apply({ type: 'leave', slot: 's' }), [
      'one queued',
      'one executing',
      't: lease-1 attempt 2, work of one',
    ]);
    assert.deepEqual(driver.apply({ type: 'leave', slot: 's' }), []);
  });

  it('keeps its place in the queue', () => {
    const driver = running();
    driver.submit('two', { action: 'b' });
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(driver.sync('t')[0], 'one executing');
  });

  it('goes on where it runs if it comes back while its task is queued', () => {
    const driver = running();
    driver.tickAt(60_000);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['one executing', 's: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'done' }), ['record lease-0 done', 's: wait']);
  });

  it('must stop if its slot came back as something that does not fit', () => {
    const driver = new SchedulerDriver();
    const linux = 'os=linux';
    driver.submit('one', { platform: linux });
    driver.sync('s', { platform: linux });
    driver.tickAt(60_000);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: nothing']);
  });

  it('must stop if its task runs elsewhere by now', () => {
    const driver = running();
    driver.nowMs = 55_000;
    driver.sync('t');
    driver.tickAt(60_000);
    driver.sync('t', { lease: 'lease-1' });
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: nothing']);
  });

  it('goes on in place of the next one if that has not begun, and is forgiven', () => {
    const driver = running();
    driver.nowMs = 55_000;
    driver.sync('t');
    driver.tickAt(60_000);
    assert.deepEqual(driver.sync('s', { lease: 'lease-0' }), ['s: lease-0 attempt 1, work of one']);
    assert.equal(driver.view.slot('t')?.hold, undefined);
    assert.deepEqual(
      driver.view.taskOf('one')?.attempts.map(({ end }) => [end?.how, end?.cause]),
      [
        [undefined, undefined],
        ['superseded', 'attempt 1 goes on after all'],
      ],
    );
    assert.deepEqual(driver.sync('t'), ['t: wait']);
  });

  it('is lost at once when its worker was started anew, also if it had not said yet that it runs', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s', { incarnation: 'first' });
    assert.deepEqual(driver.sync('s', { incarnation: 'first' }), ['s: lease-0 attempt 1, work of one'], 'sent again');
    assert.deepEqual(driver.sync('s', { incarnation: 'second' }), [
      'one queued',
      'one executing',
      's: lease-1 attempt 2, work of one',
    ]);
    assert.deepEqual(driver.messages[0], 'attempt 1 did not end well: worker s was started anew');
  });

  it('is not touched by a late word of the process before', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.sync('s', { incarnation: 'first' });
    driver.sync('s', { incarnation: 'second' });
    const late = { incarnation: 'first', lease: 'lease-0', completed: 'late' };
    assert.deepEqual(driver.sync('s', late), ['s: nothing']);
    assert.equal(driver.view.slot('s')?.hold?.lease, 'lease-1');
    const done = driver.sync('s', { incarnation: 'second', lease: 'lease-1', completed: 'done' });
    assert.deepEqual(done, ['record lease-1 done', 's: wait']);
  });

  it('still gives its result if it comes back completed before the next one ends', () => {
    const driver = running();
    driver.nowMs = 55_000;
    driver.sync('t');
    assert.deepEqual(driver.tickAt(60_000).at(-1), 't: lease-1 attempt 2, work of one');
    driver.sync('t', { lease: 'lease-1' });
    assert.deepEqual(driver.sync('s', { lease: 'lease-0', completed: 'first' }), ['record lease-0 first', 's: wait']);
    assert.deepEqual(driver.sync('t', { lease: 'lease-1' }), ['t: nothing']);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-1' }), []);
    assert.deepEqual(driver.apply({ type: 'recorded', lease: 'lease-0' }), ['one result first']);
  });

  it('gives its result also while its task is queued again', () => {
    const driver = running();
    driver.tickAt(60_000);
    const late = driver.sync('s', { lease: 'lease-0', completed: 'late' });
    assert.deepEqual(late, ['record lease-0 late', 'one executing', 's: wait']);
    assert.deepEqual(driver.sync('t'), ['t: wait']);
  });
});

describe('a fault of a worker', () => {
  it('is followed by another attempt, on another node if one would do, even if that is busy', () => {
    const driver = new SchedulerDriver();
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    driver.sync('s', { node: 'bad' });
    driver.sync('t', { node: 'good' });
    const fault = { lease: 'lease-0', completed: 'broken', verdict: 'worker-fault' as const, node: 'bad' };
    assert.deepEqual(driver.sync('s', fault), ['one queued', 's: wait']);
    assert.deepEqual(driver.messages, ['attempt 1 did not end well: worker s failed']);
    const next = driver.sync('t', { node: 'good', action: 'b', lease: 'lease-1', completed: 'done' });
    assert.deepEqual(next.slice(1), ['one executing', 't: lease-2 attempt 2, work of one']);
  });

  it('is tried again on the same node if no other would do', () => {
    const driver = running();
    const fault = { lease: 'lease-0', completed: 'broken', verdict: 'worker-fault' as const };
    assert.deepEqual(driver.sync('s', fault), ['one queued', 'one executing', 's: lease-1 attempt 2, work of one']);
  });

  it('is tried again on the same node as soon as the last other one is gone or drained', () => {
    for (const event of [
      { type: 'leave', slot: 't' },
      { type: 'drain', pattern: { node: 'good' }, on: true },
    ] as const) {
      const driver = new SchedulerDriver();
      driver.submit('one');
      driver.submit('two', { action: 'b' });
      driver.sync('s', { node: 'bad' });
      driver.sync('t', { node: 'good' });
      driver.sync('s', { lease: 'lease-0', completed: 'broken', verdict: 'worker-fault' as const, node: 'bad' });
      assert.deepEqual(driver.apply(event).includes('s: lease-2 attempt 2, work of one'), true, event.type);
    }
  });

  it('changes nothing if the attempt was lost before', () => {
    const driver = running();
    driver.tickAt(60_000);
    const fault = { lease: 'lease-0', completed: 'broken', verdict: 'worker-fault' as const };
    assert.deepEqual(driver.sync('s', fault), ['one executing', 's: lease-1 attempt 2, work of one']);
  });

  it('is the result after the last attempt, and is not recorded', () => {
    const driver = running({ retries: { ...retries, maxAttempts: 1 } });
    const fault = { lease: 'lease-0', completed: 'broken', verdict: 'worker-fault' as const };
    assert.deepEqual(driver.sync('s', fault), ['one result broken', 's: wait']);
  });
});
