import assert from 'node:assert/strict';
import { readableCount, readableDuration, readableShare, readableSize } from './readable.ts';

describe('readableSize', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 2 - 1, '1.0 MiB'],
    [1024 ** 3, '1.0 GiB'],
    [1.25 * 1024 ** 4, '1.3 TiB'],
    [5000 * 1024 ** 5, '5000.0 PiB'],
  ] as const) {
    it(`writes ${bytes} as ${text}`, () => assert.equal(readableSize(bytes), text));
  }
});

describe('readableDuration', () => {
  for (const [seconds, text] of [
    [0, '0 s'],
    [59.4, '59 s'],
    [59.6, '1 min 0 s'],
    [200, '3 min 20 s'],
    [18_125, '5 h 2 min'],
    [273_600, '3 d 4 h'],
  ] as const) {
    it(`writes ${seconds} as ${text}`, () => assert.equal(readableDuration(seconds), text));
  }
});

describe('readableCount', () => {
  it('separates thousands', () => assert.equal(readableCount(1_234_567), '1,234,567'));
});

describe('readableShare', () => {
  it('is a percentage, and nothing of nothing', () => {
    assert.equal(readableShare(1, 8), '12.5 %');
    assert.equal(readableShare(0, 0), '0.0 %');
  });
});
