import assert from 'node:assert/strict';
import { turns } from '../../test/support/deferred.ts';
import { forEachBounded } from './for-each-bounded.ts';

describe('forEachBounded', () => {
  it('does everything once, never more than the width at a time', async () => {
    let running = 0;
    let most = 0;
    const done: number[] = [];
    await forEachBounded(10, 3, async (index) => {
      most = Math.max(most, ++running);
      await turns(index % 2);
      running--;
      done.push(index);
    });
    assert.equal(most, 3);
    assert.deepEqual(
      done.toSorted((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
  });

  it('throws the first failure after what runs has ended, and starts nothing more', async () => {
    const started: number[] = [];
    let isOtherDone = false;
    const work = async (index: number): Promise<void> => {
      started.push(index);
      if (index === 0) throw new Error('first');
      await turns(2);
      isOtherDone = true;
    };
    await assert.rejects(forEachBounded(10, 2, work), /first/);
    assert.deepEqual(started, [0, 1]);
    assert.equal(isOtherDone, true);
  });

  it('does nothing for nothing', async () => {
    await forEachBounded(0, 4, () => Promise.reject(new Error('called')));
  });
});
