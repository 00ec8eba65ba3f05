import assert from 'node:assert/strict';
import type { Random } from '../system/random.ts';
import { Backoff } from './backoff.ts';

const middle: Random = { fraction: () => 0.5, uuid: () => '', token: () => '' };
const options = { firstMs: 100, maxMs: 1_000, healthyMs: 60_000 };

describe('Backoff', () => {
  it('doubles the pause with every quick failure, up to the maximum', () => {
    const backoff = new Backoff(middle, options);
    assert.deepEqual(
      [1, 2, 3, 4, 5].map(() => backoff.next(10)),
      [100, 200, 400, 800, 1_000],
    );
  });

  it('starts anew after an attempt that lasted', () => {
    const backoff = new Backoff(middle, options);
    backoff.next(10);
    backoff.next(10);
    assert.equal(backoff.next(60_000), 100);
    assert.equal(backoff.next(10), 200);
  });

  it('spreads the pause by a tenth, so that a fleet does not come back in step', () => {
    const low = new Backoff({ ...middle, fraction: () => 0 }, options);
    const high = new Backoff({ ...middle, fraction: () => 0.999 }, options);
    assert.equal(low.next(0), 90);
    assert.ok(high.next(0) > 109 && high.next(0) <= 220);
  });
});
