import assert from 'node:assert/strict';
import fc from 'fast-check';
import { drivenOffer } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import type { Amount } from '../../platform/platform.ts';
import { Deadline } from './deadlines.ts';
import { FleetNode } from './fleet-node.ts';
import { DEFAULT_OPTIONS } from './options.ts';
import type { Pool } from './pool.ts';

function node(capacity: readonly Amount[] = []): FleetNode<string, string> {
  const made = new FleetNode<string, string>('n', DEFAULT_OPTIONS.isolation);
  made.setCapacity(capacity);
  return made;
}

function pool(): Pool<string, string> {
  return {
    ...{ text: '', prefix: parseInstanceName(''), offer: drivenOffer(''), sizeClass: 0 },
    ...{ configured: undefined, home: undefined, emptySinceMs: undefined },
    ...{ slots: new Set(), waiting: new Set(), demands: new Set() },
    departure: new Deadline(() => undefined),
    results: { all: 0, bad: 0, nodes: 0, failing: 0 },
  };
}

const cores = (amount: number): readonly Amount[] => [{ name: 'cores', amount }];

describe('FleetNode', () => {
  it('has room for what is left of everything that is taken', () => {
    const made = node([...cores(4), { name: 'memory', amount: 100 }]);
    made.take([...cores(3), { name: 'memory', amount: 10 }]);
    assert.deepEqual([made.freeOf('cores'), made.freeOf('memory')], [1, 90]);
    assert.equal(made.hasRoom(cores(1)), true);
    assert.equal(made.hasRoom(cores(2)), false);
    assert.equal(made.hasRoom([...cores(1), { name: 'memory', amount: 91 }]), false);
    made.give([...cores(3), { name: 'memory', amount: 10 }]);
    assert.equal(made.hasRoom(cores(4)), true);
  });

  it('has no end of what nobody counts', () => {
    const made = node();
    made.take(cores(1_000));
    assert.equal(made.freeOf('cores'), Number.POSITIVE_INFINITY);
    assert.equal(made.hasRoom(cores(1_000)), true);
  });

  it('gives all of itself to what needs more than it has, and only then', () => {
    const made = node(cores(2));
    assert.equal(made.hasRoom(cores(3)), true);
    made.take(cores(0.5));
    assert.equal(made.hasRoom(cores(3)), false);
  });

  it('follows its capacity when that changes', () => {
    const made = node(cores(2));
    made.take(cores(2));
    assert.deepEqual([made.setCapacity(cores(2)), made.setCapacity(cores(4))], [false, true]);
    assert.equal(made.hasRoom(cores(2)), true);
    assert.equal(made.setCapacity(cores(1)), true);
    assert.equal(made.freeOf('cores'), -1);
    assert.equal(made.hasRoom(cores(1)), false);
  });

  it('law: nothing is left of what was taken and given back, in any order, with fractions', () => {
    const amounts = fc.array(
      fc.integer({ min: 1, max: 4_000 }).map((milli) => milli / 1000),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(amounts, fc.array(fc.nat(100)), (taken, picks) => {
        const made = node(cores(1));
        for (const amount of taken) made.take(cores(amount));
        const held = [...taken];
        for (const pick of picks) {
          const [amount] = held.splice(pick % Math.max(1, held.length), 1);
          if (amount !== undefined) made.give(cores(amount));
        }
        for (const amount of held) made.give(cores(amount));
        assert.equal(made.freeOf('cores'), 1);
      }),
    );
  });

  it('counts its results with those of its pool, and with another pool when it has moved', () => {
    const made = node();
    const [first, second] = [pool(), pool()];
    made.note('bad', 'action', first);
    made.note('good', 'action', first);
    assert.deepEqual([first.results.all, first.results.bad, first.results.nodes], [2, 1, 1]);
    made.note('good', 'action', second);
    assert.deepEqual([first.results.all, second.results.all], [0, 1]);
    made.resetRecord();
    made.resetRecord();
    assert.deepEqual(second.results, { all: 0, bad: 0, nodes: 0, failing: 0 });
  });

  it('says why it looks broken', () => {
    const made = node();
    const its = pool();
    node().note('good', 'action', its);
    const reasons = ['a', 'b', 'c', 'd', 'e'].map((action) => made.note('bad', action, its));
    assert.deepEqual(reasons.slice(0, 4), [undefined, undefined, undefined, undefined]);
    assert.match(reasons[4] ?? '', /^it failed 5 times in a row/);
  });
});
