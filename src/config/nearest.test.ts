import assert from 'node:assert/strict';
import { nearest } from './nearest.ts';

describe('nearest', () => {
  const known = ['maxSizeBytes', 'minFreeBytes', 'sync'];

  it('finds the name with the fewest differing letters, case aside', () => {
    assert.equal(nearest('maxSizeByte', known), 'maxSizeBytes');
    assert.equal(nearest('MAXSIZEBYTES', known), 'maxSizeBytes');
    assert.equal(nearest('snyc', known), undefined);
    assert.equal(nearest('synk', known), 'sync');
  });

  it('finds nothing when more than a third of the letters differ', () => {
    assert.equal(nearest('colour', known), undefined);
    assert.equal(nearest('', known), undefined);
    assert.equal(nearest('x', []), undefined);
  });

  it('is not slowed down by a very long name', () => {
    assert.equal(nearest('x'.repeat(1_000_000), known), undefined);
  });
});
