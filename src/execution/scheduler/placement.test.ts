import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { sketchOf } from '../../platform/locality.ts';
import { RuleMatcher } from '../../platform/matcher.ts';
import { FairQueue } from './fair-queue.ts';
import { serves } from './placement.ts';

/** Four times two digits: enough for a digest. */
const FILE = 'abcdef0123456789'.repeat(4);

describe('serves', () => {
  for (const [prefix, instance, expected] of [
    ['', '', true],
    ['', 'a/b', true],
    ['a', 'a', true],
    ['a', 'a/b', true],
    ['a/b', 'a', false],
    ['a', 'ab', false],
    ['a', '', false],
  ] as const) {
    it(`"${prefix}" ${expected ? 'serves' : 'does not serve'} "${instance}" (R-BB-14, R-BB-15)`, () => {
      assert.equal(serves(parseInstanceName(prefix), parseInstanceName(instance)), expected);
    });
  }
});

describe('what a node shares among its slots', () => {
  const node = { platform: 'cores=4 memory=100 gpus=1' };

  function slots(driver: SchedulerDriver, count: number, name = 'node'): void {
    for (let slot = 0; slot < count; slot++) driver.sync(`${name}${slot}`, { ...node, node: name });
  }

  const startedOf = (driver: SchedulerDriver): readonly string[] =>
    [...driver.view.tasks()].filter(({ state }) => state === 'executing').map(({ operations }) => operations.join());

  it('is taken while an action runs, and given back when it ends', () => {
    const driver = new SchedulerDriver();
    slots(driver, 3);
    driver.submit('three', { action: 'a', platform: 'cores=3' });
    driver.submit('two', { action: 'b', platform: 'cores=2' });
    driver.submit('one', { action: 'c', platform: 'cores=1' });
    assert.deepEqual(startedOf(driver), ['three', 'one']);
    driver.sync('node0', { ...node, lease: 'lease-0', completed: 'done', prefersIdle: true });
    assert.deepEqual(startedOf(driver), ['two', 'one']);
  });

  it('is given back also when an action is cancelled or its slot is lost', () => {
    for (const end of [
      { type: 'cancel', operation: 'three' },
      { type: 'leave', slot: 'node0' },
    ] as const) {
      const driver = new SchedulerDriver();
      slots(driver, 2);
      driver.submit('three', { action: 'a', platform: 'gpus=1', priority: 9 });
      driver.submit('two', { action: 'b', platform: 'gpus=1' });
      assert.deepEqual(startedOf(driver), ['three']);
      driver.apply(end);
      assert.equal(startedOf(driver).includes('two'), true, end.type);
    }
  });

  it('does not limit what asks for nothing of it', () => {
    const driver = new SchedulerDriver();
    slots(driver, 2);
    driver.submit('all', { action: 'a', platform: 'cores=4 gpus=1 memory=100' });
    driver.submit('none', { action: 'b' });
    assert.deepEqual(startedOf(driver), ['all', 'none']);
  });

  it('is counted by node', () => {
    const driver = new SchedulerDriver();
    slots(driver, 2, 'a');
    slots(driver, 2, 'b');
    for (const action of ['1', '2', '3']) driver.submit(action, { action, platform: 'cores=3' });
    assert.deepEqual(startedOf(driver), ['1', '2']);
  });

  it('is taken also by what has a default amount', () => {
    const rules = [{ name: 'cores', mode: 'minimum', isTaken: true, defaultAmount: 2 }] as const;
    const driver = new SchedulerDriver({}, new RuleMatcher({ rules, unknown: 'exact' }));
    for (const slot of ['s', 't', 'u']) driver.sync(slot, { platform: 'cores=4' });
    for (const action of ['1', '2', '3']) driver.submit(action, { action });
    assert.deepEqual(startedOf(driver), ['1', '2']);
  });

  it('counts anew when a slot comes back with more, for the waiting slots of its node too', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', { platform: 'cores=2' });
    driver.sync('t', { platform: 'cores=2' });
    driver.submit('one', { action: 'a', platform: 'cores=2' });
    driver.submit('two', { action: 'b', platform: 'cores=2' });
    assert.deepEqual(startedOf(driver), ['one']);
    driver.sync('s', { platform: 'cores=4', lease: 'lease-0' });
    assert.deepEqual(startedOf(driver), ['one', 'two']);
  });

  it('law: is never exceeded, and nothing waits for what is free, whatever comes and ends', () => {
    const steps = fc.array(
      fc.record({ cores: fc.integer({ min: 1, max: 4 }), ends: fc.option(fc.nat(9)), cancels: fc.boolean() }),
      { maxLength: 25 },
    );
    fc.assert(
      fc.property(steps, (all) => {
        const driver = new SchedulerDriver({ leaseTimeoutMs: 1e9, slotTimeoutMs: 1e9 });
        slots(driver, 3, 'a');
        slots(driver, 2, 'b');
        for (const [index, { cores, ends, cancels }] of all.entries()) {
          const busy = [...driver.view.slots()].filter(({ hold }) => hold !== undefined);
          const ending = ends === null ? undefined : busy[ends % Math.max(1, busy.length)];
          if (ending === undefined || cores > 2) {
            driver.submit(`op ${index}`, { action: String(100 + index), platform: `cores=${cores}` });
          } else if (cancels) driver.apply({ type: 'cancel', operation: ending.task?.operations[0] ?? '' });
          else endOf(driver, ending.name, ending.node);
          checkCapacity(driver);
        }
      }),
    );
  });

  function endOf(driver: SchedulerDriver, slot: string, name: string): void {
    const { hold } = driver.view.slot(slot) ?? {};
    assert.ok(hold);
    const { hash } = hold.key.action;
    const action = hash.replace(/^0+/, '');
    driver.sync(slot, { ...node, node: name, action, lease: hold.lease, completed: 'done' });
    driver.apply({ type: 'recorded', lease: hold.lease });
  }

  function checkCapacity(driver: SchedulerDriver): void {
    const all = [...driver.view.slots()];
    let mostFree = 0;
    for (const name of ['a', 'b']) {
      const own = all.filter((slot) => slot.node === name);
      const taken = own.reduce((sum, { task }) => sum + (task?.needs.takes?.[0]?.amount ?? 0), 0);
      assert.ok(taken <= 4, `${taken} cores of ${name}`);
      if (own.some(({ isPolling }) => isPolling)) mostFree = Math.max(mostFree, 4 - taken);
    }
    const largestFitting = [...driver.view.tasks()]
      .filter(({ state }) => state === 'queued')
      .map(({ needs }) => needs.takes?.[0]?.amount ?? 0)
      .filter((amount) => amount <= mostFree);
    // What is left may be kept for a larger task whose turn it is: then that one is queued as well.
    const isKept = [...driver.view.tasks()].some(
      ({ state, needs }) => state === 'queued' && (needs.takes?.[0]?.amount ?? 0) > mostFree,
    );
    assert.ok(largestFitting.length === 0 || isKept);
  }
});

describe('emptying a node for a task whose turn it is', () => {
  const node = { platform: 'cores=4' };

  /** Small ones run on both slots of a node; a big one waits before more small ones. */
  function emptying(): SchedulerDriver {
    const driver = new SchedulerDriver({ platformGraceMs: 1e9 });
    for (const slot of ['s', 't']) driver.sync(slot, node);
    driver.submit('small 1', { action: 'a', platform: 'cores=2' });
    driver.submit('small 2', { action: 'b', platform: 'cores=2' });
    driver.submit('big', { action: 'c', platform: 'cores=4' });
    driver.submit('small 3', { action: 'd', platform: 'cores=2' });
    return driver;
  }

  it('keeps what becomes free for it, so that small ones do not starve it', () => {
    const driver = emptying();
    assert.deepEqual(driver.sync('s', { ...node, action: 'a', lease: 'lease-0', completed: 'x' }).slice(1), [
      's: wait',
    ]);
    const done = driver.sync('t', { ...node, action: 'b', lease: 'lease-1', completed: 'x' });
    assert.deepEqual(done.slice(1), ['big executing', 't: lease-2 attempt 1, work of big']);
  });

  it('lets run what takes nothing of it', () => {
    const driver = emptying();
    driver.sync('s', { ...node, action: 'a', lease: 'lease-0', completed: 'x' });
    assert.deepEqual(driver.submit('free', { action: 'e' })[0], 'free executing');
  });

  it('ends with the task: what was kept goes to the next', () => {
    const driver = emptying();
    driver.sync('s', { ...node, action: 'a', lease: 'lease-0', completed: 'x' });
    assert.deepEqual(driver.apply({ type: 'cancel', operation: 'big' }), [
      'big failed: cancelled',
      'small 3 executing',
      's: lease-2 attempt 1, work of small 3',
    ]);
  });

  it('ends when another node takes the task', () => {
    const driver = emptying();
    driver.sync('s', { ...node, action: 'a', lease: 'lease-0', completed: 'x' });
    const other = driver.sync('u', { ...node, node: 'other' });
    assert.deepEqual(other, [
      'big executing',
      'u: lease-2 attempt 1, work of big',
      'small 3 executing',
      's: lease-3 attempt 1, work of small 3',
    ]);
  });

  it('goes over to another node when the first is drained, its waiting slots or busy ones', () => {
    for (const isWaiting of [true, false]) {
      const driver = emptying();
      driver.sync('s', { ...node, action: 'a', lease: 'lease-0', completed: 'x' });
      if (!isWaiting) driver.apply({ type: 'answered', slot: 's' });
      driver.drain({ node: 'node' });
      if (!isWaiting) driver.sync('s', node);
      const other = { ...node, node: 'other' };
      driver.submit('small 4', { action: 'e', platform: 'cores=2', priority: -500 });
      driver.sync('o1', other);
      assert.equal(driver.view.slot('o1')?.hold?.work, 'work of small 4');
      assert.deepEqual(driver.sync('o2', other), ['o2: wait'], 'now this node is emptied for the big one');
      const done = driver.sync('o1', { ...other, action: 'e', lease: 'lease-2', completed: 'x' });
      assert.equal(done.includes('big executing'), true);
    }
  });

  it('costs by the number of kinds that find no room, not by its square', () => {
    const asksFor = (kinds: number): number => {
      const driver = emptying();
      for (let kind = 0; kind < kinds; kind++) {
        driver.submit(`kind ${kind}`, { action: String(1_000 + kind), platform: `cores=3 memory=${kind + 1}` });
      }
      return asksDuring(() => assert.deepEqual(driver.sync('u', { platform: 'cores=4 memory=1000' }), ['u: wait']));
    };
    assert.ok(asksFor(200) < 3 * asksFor(100));
  });

  it('lets run what there is room for, however many kinds before it find none', () => {
    const driver = emptying();
    for (let kind = 0; kind < 40; kind++) {
      driver.submit(`kind ${kind}`, { action: String(1_000 + kind), platform: `cores=3 memory=${kind + 1}` });
    }
    driver.submit('free', { action: 'e', platform: 'memory=7', priority: 5 });
    assert.equal(driver.sync('u', { platform: 'cores=4 memory=1000' })[0], 'free executing');
  });

  /** How often a queue is asked what goes first in it. */
  function asksDuring(act: () => void): number {
    const { first } = FairQueue.prototype;
    let asks = 0;
    FairQueue.prototype.first = function (parent) {
      asks++;
      return first.call(this, parent);
    };
    try {
      act();
    } finally {
      FairQueue.prototype.first = first;
    }
    return asks;
  }

  it('is for one node at a time', () => {
    const driver = emptying();
    driver.sync('o1', { ...node, node: 'other', prefersIdle: true });
    driver.sync('s', { ...node, action: 'a', lease: 'lease-0', completed: 'x' });
    driver.sync('o2', { ...node, node: 'other' });
    assert.equal(driver.view.slot('o2')?.hold?.work, 'work of big');
  });
});

describe('the choice among slots that wait', () => {
  it('is the pool that satisfies most preferences, whoever waited longer', () => {
    const rules = [
      { name: 'rack', mode: 'preference' },
      { name: 'disk', mode: 'preference' },
    ] as const;
    const driver = new SchedulerDriver({}, new RuleMatcher({ rules, unknown: 'exact' }));
    driver.sync('none', { node: 'none' });
    driver.sync('one', { node: 'one', platform: 'rack=1' });
    driver.sync('both', { node: 'both', platform: 'rack=1 disk=ssd' });
    const platform = 'rack=1 disk=ssd';
    const takers = ['1', '2', '3'].map((action) => driver.submit(action, { action, platform })[1]?.split(':')[0]);
    assert.deepEqual(takers, ['both', 'one', 'none'], 'nobody is refused for a preference');
  });

  it('is the smallest size class among those, and then the one that waited longest', () => {
    const driver = new SchedulerDriver();
    driver.sync('large', { sizeClass: 4 });
    driver.sync('second', { sizeClass: 1, platform: 'os=linux' });
    driver.sync('first', { sizeClass: 1 });
    driver.sync('second', { sizeClass: 1, platform: 'os=linux' });
    const takers = ['1', '2', '3'].map((action) => driver.submit(action, { action })[1]?.split(':')[0]);
    assert.deepEqual(takers, ['first', 'second', 'large']);
  });

  it('is the node that holds most of the inputs', () => {
    const driver = new SchedulerDriver();
    const [small, large] = [FILE, FILE.toUpperCase().toLowerCase().split('').reverse().join('')];
    driver.sync('empty', { node: 'empty' });
    driver.sync('some', { node: 'some', cached: sketchOf([small]) });
    driver.sync('most', { node: 'most', cached: sketchOf([large]) });
    const inputs = [
      { hash: large, sizeBytes: 2_000_000 },
      { hash: small, sizeBytes: 1_000_000 },
    ];
    const takers = ['1', '2', '3'].map((action) => driver.submit(action, { action, inputs })[1]?.split(':')[0]);
    assert.deepEqual(takers, ['most', 'some', 'empty']);
  });

  it('remembers what a node holds until it says something else', () => {
    const driver = new SchedulerDriver();
    const inputs = [{ hash: FILE, sizeBytes: 1_000_000 }];
    driver.sync('first', { node: 'first' });
    driver.sync('holder', { node: 'holder', cached: sketchOf([FILE]) });
    driver.sync('holder', { node: 'holder' });
    assert.equal(driver.submit('1', { action: '1', inputs })[1]?.split(':')[0], 'holder');
    driver.sync('holder', { node: 'holder', action: '1', lease: 'lease-0', completed: 'x', cached: sketchOf([]) });
    assert.equal(driver.submit('2', { action: '2', inputs })[1]?.split(':')[0], 'first');
  });

  it('is who waited longest where nothing speaks for another', () => {
    const driver = new SchedulerDriver();
    for (const slot of ['a', 'b', 'c', 'a']) driver.sync(slot, { node: slot });
    const takers = ['1', '2', '3'].map((action) => driver.submit(action, { action })[1]?.split(':')[0]);
    assert.deepEqual(takers, ['b', 'c', 'a']);
  });
});

describe('a hint of what comes next', () => {
  const busy = { lease: 'lease-0', prefetches: true };

  it('goes to a busy slot that fetches ahead, and each task to one node', () => {
    const driver = new SchedulerDriver();
    for (const node of ['a', 'b']) driver.sync(node, { node });
    driver.submit('one');
    driver.submit('two', { action: 'b' });
    assert.deepEqual(driver.sync('a', { ...busy, node: 'a' }), ['a: lease-0 attempt 1, work of one']);
    driver.submit('three', { action: 'c' });
    assert.deepEqual(driver.sync('a', { ...busy, node: 'a', prefetches: false }), [
      'a: lease-0 attempt 1, work of one',
    ]);
    assert.deepEqual(driver.sync('a', { ...busy, node: 'a' }), [
      'a: lease-0 attempt 1, work of one, next work of three',
    ]);
    const other = { node: 'b', action: 'b', lease: 'lease-1', prefetches: true };
    assert.deepEqual(driver.sync('b', other), ['b: lease-1 attempt 1, work of two']);
    assert.deepEqual(driver.sync('a', { ...busy, node: 'a' })[0]?.endsWith('next work of three'), true);
  });

  it('is only of what the slot could run', () => {
    const driver = new SchedulerDriver();
    driver.sync('s', { platform: 'os=linux' });
    driver.submit('one');
    driver.submit('mac', { action: 'b', platform: 'os=macos' });
    assert.deepEqual(driver.sync('s', { ...busy, platform: 'os=linux' }), ['s: lease-0 attempt 1, work of one']);
  });
});
