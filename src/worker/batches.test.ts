import assert from 'node:assert/strict';
import fc from 'fast-check';
import { batchesOf } from './batches.ts';

describe('batchesOf', () => {
  it('law: keeps every item in order, and no batch of several is above the limit', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20)), fc.integer({ min: 1, max: 30 }), (sizes, maxBytes) => {
        const batches = [...batchesOf(sizes, (size) => size, maxBytes)];
        assert.deepEqual(batches.flat(), sizes);
        for (const batch of batches) {
          assert.ok(batch.length === 1 || batch.reduce((sum, size) => sum + size, 0) <= maxBytes);
          assert.ok(batch.length > 0);
        }
      }),
    );
  });

  it('puts no more than the given number of items into a run', () => {
    const batches = [...batchesOf([1, 1, 1, 1, 1], (size) => size, 100, 2)];
    assert.deepEqual(batches, [[1, 1], [1, 1], [1]]);
  });
});
