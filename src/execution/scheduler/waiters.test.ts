import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Waiters } from './waiters.ts';

const waiting = (priority: number) => ({ priority });

describe('Waiters', () => {
  it('has nobody at first, and then one without a collection', () => {
    const waiters = new Waiters();
    assert.deepEqual([waiters.size, waiters.first, waiters.best], [0, undefined, Number.POSITIVE_INFINITY]);
    const one = waiting(3);
    waiters.add(one);
    assert.deepEqual([waiters.size, waiters.first, waiters.best, [...waiters]], [1, one, 3, [one]]);
  });

  it('keeps the order in which they came', () => {
    const waiters = new Waiters<{ priority: number }>();
    const all = [waiting(2), waiting(1), waiting(2)];
    for (const item of all) waiters.add(item);
    assert.deepEqual([...waiters], all);
    assert.equal(waiters.first, all[0]);
  });

  it('takes all out at once', () => {
    const waiters = new Waiters<{ priority: number }>();
    const all = [waiting(2), waiting(1)];
    for (const item of all) waiters.add(item);
    assert.deepEqual(waiters.take(), all);
    assert.deepEqual([waiters.size, waiters.best], [0, Number.POSITIVE_INFINITY]);
    waiters.add(waiting(9));
    assert.equal(waiters.best, 9);
  });

  it('law: is an ordered set with the best of the priorities', () => {
    const step = fc.record({ isAddition: fc.boolean(), priority: fc.integer({ min: 0, max: 3 }), at: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const waiters = new Waiters<{ priority: number }>();
        let naive: { priority: number }[] = [];
        for (const { isAddition, priority, at } of steps) {
          const item = isAddition ? waiting(priority) : (naive[at % Math.max(1, naive.length)] ?? waiting(priority));
          if (isAddition) {
            waiters.add(item);
            naive.push(item);
          } else {
            waiters.delete(item);
            naive = naive.filter((other) => other !== item);
          }
          assert.deepEqual([...waiters], naive);
          assert.equal(waiters.size, naive.length);
          assert.equal(waiters.first, naive[0]);
          assert.equal(waiters.best, Math.min(Number.POSITIVE_INFINITY, ...naive.map((each) => each.priority)));
        }
      }),
    );
  });
});
