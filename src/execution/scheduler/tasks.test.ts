import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { ReapiError } from '../../errors.ts';

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

describe('a queued task that several wait for', () => {
  /** A huge build runs one action and has nine more queued. */
  function huge(): SchedulerDriver {
    const driver = new SchedulerDriver();
    for (let number = 0; number < 10; number++)
      driver.submit(`huge ${number}`, { action: `1${number}`, shares: ['huge'] });
    driver.sync('s');
    return driver;
  }

  const shareOf = (driver: SchedulerDriver, operation: string): string | undefined =>
    driver.view.taskOf(operation)?.shares[0]?.id;

  it('is counted for the one whose turn is sooner: a small build does not wait until a huge one comes to it', () => {
    const driver = huge();
    driver.submit('small', { action: '19', shares: ['small'] });
    assert.equal(shareOf(driver, 'huge 9'), 'small');
    assert.deepEqual(driver.sync('t'), ['huge 9 executing', 'small executing', 't: lease-1 attempt 1, work of huge 9']);
  });

  it('stays where it is if the newcomer does not run less, and the share of the newcomer is not kept', () => {
    const driver = huge();
    driver.submit('small', { action: '19', shares: ['small'] });
    driver.submit('other', { action: 'a', shares: ['small'] });
    for (const slot of ['t', 'u', 'v']) driver.sync(slot);
    driver.submit('late', { action: '18', shares: ['small'] });
    assert.equal(shareOf(driver, 'late'), 'huge');
    const tasks = [...driver.view.shares()].map((share) => [share.path[0]?.id, share.tasks, share.running]);
    assert.deepEqual(tasks, [
      ['huge', 9, 2],
      ['small', 2, 2],
    ]);
  });

  it('leaves no share behind when all are cancelled, whoever came first', () => {
    const driver = huge();
    driver.submit('small', { action: '19', shares: ['small'] });
    driver.apply({ type: 'cancel', operation: 'small' });
    for (let number = 0; number < 10; number++) driver.apply({ type: 'cancel', operation: `huge ${number}` });
    assert.deepEqual([...driver.view.shares()], []);
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

describe('law: operations and tasks', () => {
  const POLICIES = ['any', 'fresh', 'never'] as const;
  const step = fc.record({
    does: fc.constantFrom('submit', 'submit', 'submit', 'cancel', 'start', 'complete', 'record'),
    merge: fc.constantFrom(...POLICIES),
    action: fc.constantFrom('a', 'b'),
    at: fc.nat(20),
  });

  /** What must be so after every event, however it came to that. */
  function check(driver: SchedulerDriver, wishes: ReadonlyMap<string, (typeof POLICIES)[number]>): void {
    const tasks = [...driver.view.tasks()];
    const waiting = tasks.flatMap(({ operations }) => operations);
    assert.equal(new Set(waiting).size, waiting.length, 'an operation waits for one task');
    assert.equal(driver.view.counts.operations, waiting.length);
    for (const { operations } of tasks) {
      const isShared = operations.length > 1;
      for (const name of operations) if (wishes.get(name) === 'never') assert.ok(!isShared, `${name} shares nothing`);
    }
    for (const action of ['a', 'b']) {
      const open = tasks.filter(
        ({ key, state, operations }) =>
          key.action.hash[0] === action &&
          state !== 'recording' &&
          operations.some((name) => wishes.get(name) !== 'never'),
      );
      assert.ok(open.length <= 1, 'what may be shared runs once, beside one being recorded');
    }
  }

  it('every operation ends once; what may be shared is one task, what may not is its own (R-EX-15, R-EX-16)', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const driver = new SchedulerDriver({ leaseTimeoutMs: 1e9, adoptionGraceMs: 0 });
        const wishes = new Map<string, (typeof POLICIES)[number]>();
        const ended: string[] = [];
        const recording: string[] = [];
        let seen = driver.effects;
        const note = (): void => {
          if (driver.effects === seen) return;
          seen = driver.effects;
          for (const effect of seen) {
            if (effect.type === 'finish') ended.push(effect.operation);
            if (effect.type === 'record') recording.push(effect.lease);
          }
        };
        for (const [index, { does, merge, action, at }] of steps.entries()) {
          const busy = [...driver.view.slots()].filter(({ hold }) => hold !== undefined);
          const slot = busy[at % Math.max(1, busy.length)];
          if (does === 'submit') {
            wishes.set(`op ${index}`, merge);
            driver.submit(`op ${index}`, { action, merge });
          } else if (does === 'cancel') driver.apply({ type: 'cancel', operation: `op ${at}` });
          else if (does === 'start') driver.sync(`s${index}`, { node: `n${index}` });
          else if (does === 'record') driver.apply({ type: 'recorded', lease: recording.shift() ?? 'none' });
          else if (slot?.hold !== undefined) {
            const { lease, key } = slot.hold;
            const held = { action: key.action.hash[0] ?? '', lease, completed: 'x', prefersIdle: true };
            driver.sync(slot.name, { node: slot.node, ...held });
          }
          note();
          check(driver, wishes);
        }
        for (const operation of wishes.keys()) {
          driver.apply({ type: 'cancel', operation });
          note();
        }
        assert.deepEqual(ended.toSorted(), [...wishes.keys()].toSorted());
      }),
    );
  });
});
