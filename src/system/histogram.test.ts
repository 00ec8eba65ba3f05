import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FAST_SECONDS, Histogram } from './histogram.ts';

describe('Histogram', () => {
  it('takes a bound as part of its bucket, and has a bucket for what is above all', () => {
    const histogram = new Histogram([1, 10]);
    for (const value of [0, 1, 1.5, 10, 10.5]) histogram.observe(value);
    assert.deepEqual(
      [...histogram.cumulative()],
      [
        [1, 2],
        [10, 4],
        [Number.POSITIVE_INFINITY, 5],
      ],
    );
    assert.deepEqual([histogram.sum, histogram.count], [23, 5]);
  });

  it('counts nothing before the first value', () => {
    const histogram = new Histogram([1]);
    assert.deepEqual([histogram.sum, histogram.count], [0, 0]);
    assert.deepEqual(
      [...histogram.cumulative()],
      [
        [1, 0],
        [Number.POSITIVE_INFINITY, 0],
      ],
    );
  });

  it('law: a bucket counts exactly the values up to its bound', () => {
    const bounds = fc
      .uniqueArray(fc.integer({ min: -100, max: 100 }), { maxLength: 20 })
      .map((all) => all.toSorted((a, b) => a - b));
    fc.assert(
      fc.property(bounds, fc.array(fc.integer({ min: -150, max: 150 })), (upper, values) => {
        const histogram = new Histogram(upper);
        for (const value of values) histogram.observe(value);
        for (const [bound, count] of histogram.cumulative()) {
          assert.equal(count, values.filter((value) => value <= bound).length);
        }
        assert.equal(
          histogram.sum,
          values.reduce((total, value) => total + value, 0),
        );
      }),
    );
  });
});

describe('FAST_SECONDS', () => {
  it('ascends', () => {
    assert.deepEqual(
      FAST_SECONDS.toSorted((a, b) => a - b),
      [...new Set(FAST_SECONDS)],
    );
  });
});
