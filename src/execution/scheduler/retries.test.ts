import assert from 'node:assert/strict';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import type { Verdict } from './events.ts';
import { DEFAULT_OPTIONS, type RetryOptions } from './options.ts';

function driverOf(retries: Partial<RetryOptions> = {}): SchedulerDriver {
  const isolation = { ...DEFAULT_OPTIONS.isolation, faultsInARow: 0 };
  return new SchedulerDriver({
    retries: { ...DEFAULT_OPTIONS.retries, ...retries },
    adoptionGraceMs: 0,
    platformGraceMs: 1_000_000,
    isolation,
  });
}

/** A slot of a node of its own takes the action, says so, and is lost, while others go on. */
function takeDown(driver: SchedulerDriver, node: string, attempt: number): readonly string[] {
  driver.sync('witness', { node: 'witness', prefersIdle: true });
  driver.sync(node, { node });
  driver.sync(node, { node, lease: `lease-${attempt}` });
  return driver.apply({ type: 'leave', slot: node });
}

describe('a task whose worker is lost', () => {
  it('is tried again `maxLost` times, then it is unavailable: never a failure of the action', () => {
    const driver = driverOf({ maxLost: 2, quarantineAfter: 0 });
    driver.submit('one');
    assert.deepEqual(takeDown(driver, 'a', 0), ['one queued']);
    assert.deepEqual(driver.messages, ['attempt 1 did not end well: worker a left']);
    assert.deepEqual(takeDown(driver, 'b', 1), ['one queued']);
    assert.deepEqual(takeDown(driver, 'c', 2), ['one failed: unavailable']);
    assert.equal(driver.errors[0]?.message, 'the action lost its worker 3 times, the last time because worker c left');
    assert.deepEqual(
      driver.attempts.map(({ node, end }) => [node, end?.how, end?.cause]),
      [
        ['a', 'worker-lost', 'worker a left'],
        ['b', 'worker-lost', 'worker b left'],
        ['c', 'worker-lost', 'worker c left'],
      ],
    );
  });

  it('is tried no more than `maxAttempts` times in all', () => {
    const driver = driverOf({ maxLost: 9, maxAttempts: 2, quarantineAfter: 0 });
    driver.submit('one');
    takeDown(driver, 'a', 0);
    assert.deepEqual(takeDown(driver, 'b', 1), ['one failed: unavailable']);
  });

  it('is tried not at all if that is the limit', () => {
    const driver = driverOf({ maxLost: 0 });
    driver.submit('one');
    assert.deepEqual(takeDown(driver, 'a', 0), ['one failed: unavailable']);
    assert.match(driver.errors[0]?.message ?? '', /lost its worker once/);
  });

  it('ends quietly when nobody waits any more', () => {
    const driver = driverOf();
    driver.submit('one');
    driver.sync('s');
    driver.apply({ type: 'cancel', operation: 'one' });
    assert.deepEqual(driver.apply({ type: 'leave', slot: 's' }), []);
    assert.equal(driver.view.counts.queuedTasks, 0);
  });
});

describe('an action that takes workers down', () => {
  function quarantined(): SchedulerDriver {
    const driver = driverOf({ quarantineAfter: 3, quarantineMs: 5_000 });
    driver.submit('one');
    for (const [attempt, node] of ['a', 'b', 'c'].entries()) takeDown(driver, node, attempt);
    return driver;
  }

  it('is quarantined after 3 different nodes, with an event, and fails for good', () => {
    const driver = quarantined();
    const text = 'the action is quarantined: it took down its worker 3 times (on a, b, c)';
    assert.deepEqual(
      driver.notices.map((notice) => [notice.kind, notice.text]),
      [['action-quarantined', text]],
    );
    assert.deepEqual(
      driver.errors.map(({ kind, message }) => [kind, message]),
      [['precondition', text]],
    );
    assert.equal(driver.errors[0]?.facts.retryAfterMs, undefined);
    assert.deepEqual(
      driver.view.quarantined().map(({ reason, untilMs }) => [reason, untilMs]),
      [[text, 5_000]],
    );
  });

  it('is refused from then on, until its time is over', () => {
    const driver = quarantined();
    assert.deepEqual(driver.submit('two'), ['two failed: precondition']);
    assert.match(driver.errors[0]?.message ?? '', /quarantined: it took down its worker 3 times/);
    assert.deepEqual(driver.submit('other', { action: 'b' }), ['other queued']);
    driver.nowMs = 5_000;
    assert.deepEqual(driver.submit('three'), ['three queued']);
    assert.deepEqual(driver.view.quarantined(), []);
  });

  it('is quarantined in a small fleet too, when no attempt ended otherwise', () => {
    const driver = driverOf({ maxLost: 1 });
    driver.submit('one');
    assert.deepEqual(takeDown(driver, 'a', 0), ['one queued']);
    assert.deepEqual(takeDown(driver, 'a', 1), ['notice action-quarantined', 'one failed: precondition']);
  });

  it('is not blamed when several nodes are lost at once with different actions: that is the network', () => {
    const driver = driverOf({ maxLost: 1 });
    for (const [index, node] of ['a', 'b', 'c', 'd'].entries()) {
      driver.submit(node, { action: node });
      driver.sync(node, { node });
      driver.sync(node, { node, action: node, lease: `lease-${index}` });
    }
    for (const slot of ['a', 'b', 'c', 'd']) driver.apply({ type: 'leave', slot });
    driver.sync('e', { node: 'e' });
    assert.equal(driver.view.slot('e')?.hold?.work, 'work of a');
    driver.sync('e', { node: 'e', action: 'a', lease: 'lease-4' });
    assert.deepEqual(driver.apply({ type: 'leave', slot: 'e' }), ['a failed: unavailable']);
    assert.deepEqual(driver.view.quarantined(), []);
  });

  it('is not blamed when nobody else is heard either, nor for a worker that was about to stop', () => {
    for (const [others, prefersIdle] of [
      [false, false],
      [true, true],
    ]) {
      const driver = driverOf({ maxLost: 9 });
      driver.submit('one');
      for (const [attempt, node] of ['a', 'b', 'c', 'd'].entries()) {
        driver.nowMs += 100_000;
        if (others) driver.sync('witness', { node: 'witness', prefersIdle: true });
        driver.sync(node, { node });
        driver.sync(node, { node, lease: `lease-${attempt}`, ...(prefersIdle && { prefersIdle }) });
        driver.apply({ type: 'leave', slot: node });
      }
      assert.deepEqual([driver.view.quarantined(), driver.view.counts.queuedTasks], [[], 1]);
    }
  });

  it('is let go when it is released', () => {
    const driver = quarantined();
    const [view] = driver.view.quarantined();
    assert.ok(view);
    assert.deepEqual(driver.apply({ type: 'release', key: view.key }), []);
    assert.deepEqual(driver.submit('two'), ['two queued']);
  });

  it('is not blamed for one node that goes down three times', () => {
    const driver = driverOf({ maxLost: 9 });
    driver.submit('one');
    for (const attempt of [0, 1, 2]) takeDown(driver, 'a', attempt);
    assert.deepEqual(driver.view.quarantined(), []);
  });

  it('is not blamed for workers that never said they run it', () => {
    const driver = driverOf({ maxLost: 9 });
    driver.submit('one');
    for (const node of ['a', 'b', 'c']) {
      driver.sync(node, { node });
      assert.deepEqual(driver.apply({ type: 'leave', slot: node }), ['one queued']);
    }
    assert.deepEqual(driver.view.quarantined(), []);
  });

  it('is never quarantined if that is switched off', () => {
    const driver = driverOf({ maxLost: 9, maxAttempts: 9, quarantineAfter: 0 });
    driver.submit('one');
    for (const [attempt, node] of ['a', 'b', 'c', 'd'].entries()) {
      assert.deepEqual(takeDown(driver, node, attempt), ['one queued']);
    }
  });
});

describe('a task whose worker is at fault', () => {
  const fails = (driver: SchedulerDriver, attempt: number, verdict: Verdict): readonly string[] =>
    driver.sync('s', { lease: `lease-${attempt}`, completed: `result ${attempt}`, verdict, cause: 'broken pipe' });

  it('is tried again `maxFaults` times; the last result is its end, and is not recorded', () => {
    const driver = driverOf({ maxFaults: 1 });
    driver.submit('one');
    driver.sync('s');
    assert.deepEqual(fails(driver, 0, 'worker-fault').slice(0, 2), ['one queued', 'one executing']);
    assert.deepEqual(driver.messages[0], 'attempt 1 did not end well: broken pipe');
    assert.deepEqual(fails(driver, 1, 'worker-fault'), ['one result result 1', 's: wait']);
    assert.deepEqual(
      driver.attempts.map(({ end }) => end?.how),
      ['worker-fault', 'worker-fault'],
    );
  });

  it('is tried again `maxExhausted` times where the machine was too small', () => {
    const driver = driverOf({ maxExhausted: 1 });
    driver.submit('one');
    driver.sync('s');
    assert.deepEqual(fails(driver, 0, 'exhausted').slice(0, 2), ['one queued', 'one executing']);
    assert.deepEqual(fails(driver, 1, 'exhausted'), ['one result result 1', 's: wait']);
  });

  it('counts each cause by itself, and all of them together', () => {
    const driver = driverOf({ maxFaults: 1, maxExhausted: 1, maxAttempts: 3 });
    driver.submit('one');
    driver.sync('s');
    assert.deepEqual(fails(driver, 0, 'worker-fault')[0], 'one queued');
    assert.deepEqual(fails(driver, 1, 'exhausted')[0], 'one queued');
    assert.deepEqual(fails(driver, 2, 'worker-fault'), ['one result result 2', 's: wait']);
  });

  it('believes a failure of the action at once (R-EX-22)', () => {
    const driver = driverOf();
    driver.submit('one');
    driver.sync('s');
    assert.deepEqual(fails(driver, 0, 'failure'), ['record lease-0 result 0', 's: wait']);
  });
});

describe('size classes (R-BB-22, R-BB-23)', () => {
  const small = { node: 'small', sizeClass: 1 };
  const large = { node: 'large', sizeClass: 4 };

  it('go to the smallest first', () => {
    const driver = driverOf();
    driver.sync('l', large);
    driver.sync('s', small);
    assert.deepEqual(driver.submit('one')[1], 's: lease-0 attempt 1, work of one');
    assert.deepEqual(driver.submit('two', { action: 'b' })[1], 'l: lease-1 attempt 1, work of two');
  });

  it('below what the history asks for are not used, unless no worker of such a class was ever there', () => {
    const driver = driverOf();
    driver.sync('s', small);
    driver.sync('l', large);
    assert.deepEqual(driver.submit('one', { sizeClass: 4 })[1], 'l: lease-0 attempt 1, work of one');
    assert.deepEqual(driver.submit('two', { action: 'b', sizeClass: 2 }), ['two queued']);
    assert.deepEqual(driver.submit('three', { action: 'c', sizeClass: 9 })[1], 's: lease-1 attempt 1, work of three');
  });

  it('send a failure of a small one to the largest, once, with its operations (R-BB-23)', () => {
    const driver = driverOf();
    driver.sync('s', small);
    driver.sync('m', { node: 'medium', sizeClass: 2 });
    driver.sync('l', large);
    driver.submit('one');
    const failed = { ...small, lease: 'lease-0', completed: 'exit 137', verdict: 'failure' as const };
    assert.deepEqual(driver.sync('s', failed), [
      'notice retried-on-larger',
      'one queued',
      's: wait',
      'one executing',
      'l: lease-1 attempt 2, work of one',
    ]);
    assert.deepEqual(driver.notices[0]?.text, 'the action failed in size class 1 and is tried in class 4');
    const again = { ...large, lease: 'lease-1', completed: 'exit 1', verdict: 'failure' as const };
    assert.deepEqual(driver.sync('l', again), ['record lease-1 exit 1', 'l: wait']);
  });

  it('wait for the largest while it is busy', () => {
    const driver = driverOf();
    driver.sync('l', large);
    driver.submit('busy', { action: 'b' });
    driver.sync('s', small);
    driver.submit('one');
    const failed = { ...small, lease: 'lease-1', completed: 'exit 1', verdict: 'failure' as const };
    assert.deepEqual(driver.sync('s', failed), ['notice retried-on-larger', 'one queued', 's: wait']);
    assert.equal([...driver.view.demands()][0]?.sizeClass, 4);
    assert.deepEqual(driver.sync('l', { ...large, action: 'b', lease: 'lease-0', completed: 'done' }).slice(1), [
      'one executing',
      'l: lease-2 attempt 2, work of one',
    ]);
  });

  it('answer with the first failure if nothing comes of the second look', () => {
    const failed = { ...small, lease: 'lease-0', completed: 'exit 137', verdict: 'failure' as const };
    const ends: readonly (readonly [string, (driver: SchedulerDriver) => readonly string[]])[] = [
      ['the last large worker leaves', (driver) => driver.apply({ type: 'leave', slot: 'l' })],
      ['it never begins', (driver) => driver.tickAt(600_000)],
    ];
    for (const [what, end] of ends) {
      const driver = new SchedulerDriver({
        adoptionGraceMs: 0,
        leaseTimeoutMs: 1e9,
        slotTimeoutMs: 1e9,
        platformGraceMs: 1,
      });
      driver.tickAt(0);
      driver.sync('l', large);
      driver.submit('busy', { action: 'b' });
      driver.sync('l', { ...large, action: 'b', lease: 'lease-0' });
      driver.sync('s', small);
      driver.submit('one');
      driver.sync('s', { ...failed, lease: 'lease-1' });
      const last = [...end(driver), ...driver.tickAt(600_001)];
      assert.equal(last.includes('one result exit 137'), true, what);
    }
  });

  it('believe a failure of the only class, and of workers without one', () => {
    for (const slot of [small, { node: 'plain' }]) {
      const driver = driverOf();
      driver.sync('s', slot);
      driver.submit('one');
      const failed = { ...slot, lease: 'lease-0', completed: 'exit 1', verdict: 'failure' as const };
      assert.deepEqual(driver.sync('s', failed), ['record lease-0 exit 1', 's: wait']);
    }
  });

  for (const [onLarger, verdict, isTriedAgain] of [
    ['failure', 'failure', true],
    ['failure', 'exhausted', true],
    ['exhaustion', 'failure', false],
    ['exhaustion', 'exhausted', true],
    ['nothing', 'failure', false],
    ['nothing', 'exhausted', true],
  ] as const) {
    it(`set to try again on "${onLarger}" ${isTriedAgain ? 'do' : 'do not'} so after "${verdict}"`, () => {
      const driver = driverOf({ onLarger });
      driver.sync('s', small);
      driver.sync('l', large);
      driver.submit('one');
      driver.sync('s', { ...small, lease: 'lease-0', completed: 'x', verdict });
      assert.equal(driver.view.slot('l')?.hold?.lease, isTriedAgain ? 'lease-1' : undefined);
    });
  }

  it('do not try a failure again that was the last attempt', () => {
    const driver = driverOf({ maxAttempts: 1 });
    driver.sync('s', small);
    driver.sync('l', large);
    driver.submit('one');
    const failed = { ...small, lease: 'lease-0', completed: 'exit 1', verdict: 'failure' as const };
    assert.deepEqual(driver.sync('s', failed), ['record lease-0 exit 1', 's: wait']);
  });

  it('let a larger worker of another platform not count', () => {
    const driver = driverOf();
    driver.sync('s', { ...small, platform: 'os=linux' });
    driver.sync('l', { ...large, platform: 'os=windows' });
    driver.submit('one', { platform: 'os=linux' });
    const failed = { ...small, platform: 'os=linux', lease: 'lease-0', completed: 'x', verdict: 'failure' as const };
    assert.deepEqual(driver.sync('s', failed)[0], 'record lease-0 x');
  });
});

describe('a task that is queued again', () => {
  it('keeps its place, and is tried on another node than the one at fault, also when the rest is busy', () => {
    const driver = driverOf();
    for (const node of ['a', 'b']) driver.sync(node, { node });
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    driver.submit('later', { action: 'c' });
    const fault = { lease: 'lease-0', completed: 'x', verdict: 'worker-fault' as const };
    const answer = driver.sync('a', { node: 'a', ...fault });
    assert.deepEqual(answer, ['one queued', 'later executing', 'a: lease-2 attempt 1, work of later']);
    assert.deepEqual(driver.explain('one').blocks, [{ kind: 'all-busy', slots: 2 }]);
    driver.submit('last', { action: 'd' });
    const done = driver.sync('b', { node: 'b', action: 'b', lease: 'lease-1', completed: 'done' });
    assert.deepEqual(done.slice(1), ['one executing', 'b: lease-3 attempt 2, work of one']);
  });

  it('says that it keeps off a node that is idle', () => {
    const driver = driverOf();
    driver.sync('a', { node: 'a' });
    driver.sync('b', { node: 'b' });
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    driver.sync('a', { node: 'a', lease: 'lease-0', completed: 'x', verdict: 'worker-fault' });
    assert.deepEqual(driver.explain('one').blocks, [{ kind: 'avoids-nodes', nodes: ['a'] }]);
  });

  it('avoids all nodes that were at fault, and takes one of them when there is no other', () => {
    const driver = driverOf({ maxFaults: 9 });
    driver.sync('a', { node: 'a' });
    driver.sync('b', { node: 'b' });
    driver.submit('one');
    driver.sync('a', { node: 'a', lease: 'lease-0', completed: 'x', verdict: 'worker-fault' });
    const second = driver.sync('b', { node: 'b', lease: 'lease-1', completed: 'x', verdict: 'worker-fault' });
    assert.deepEqual(second.at(-1), 'b: lease-2 attempt 3, work of one');
  });
});
