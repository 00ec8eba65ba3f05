import assert from 'node:assert/strict';
import { cutText } from './cut-text.ts';

describe('cutText', () => {
  it('keeps a text that is short enough, and marks one that is not', () => {
    assert.equal(cutText('abc', 3), 'abc');
    assert.equal(cutText('abcd', 3), 'abc…');
  });

  it('leaves no half of a character', () => {
    assert.ok(cutText('ab😀', 3).isWellFormed());
  });
});
