import assert from 'node:assert/strict';
import { isKind } from '../errors.ts';
import { checkEntry, MAX_ENTRY_KEY_BYTES } from './entry-limits.ts';

describe('checkEntry', () => {
  it('accepts a key and a value at their limits', () => {
    checkEntry('k'.repeat(MAX_ENTRY_KEY_BYTES), new Uint8Array(10), 10);
  });

  it('refuses a byte more, counting keys in UTF-8', () => {
    const isTooLarge = (error: unknown): boolean => isKind(error, 'too-large');
    assert.throws(() => checkEntry('k', new Uint8Array(11), 10), isTooLarge);
    assert.throws(() => checkEntry('é'.repeat(MAX_ENTRY_KEY_BYTES / 2 + 1), new Uint8Array(1), 10), isTooLarge);
  });
});
