import assert from 'node:assert/strict';
import { compareTexts, mapText } from './text-order.ts';

describe('compareTexts', () => {
  it('orders by characters, not as a language would', () => {
    assert.deepEqual(['b', 'ä', 'B', 'a', 'a'].sort(compareTexts), ['B', 'a', 'a', 'b', 'ä']);
  });
});

describe('mapText', () => {
  it('does not depend on the order of entries', () => {
    assert.equal(mapText({ b: '2', a: '1' }), mapText({ a: '1', b: '2' }));
    assert.notEqual(mapText({ a: '1' }), mapText({ a: '2' }));
  });
});
