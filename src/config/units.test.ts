import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatSize, parseSize, size } from './units.ts';

describe('parseSize', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4096', 4096],
    ['7 B', 7],
    ['20GiB', 20 * 1024 ** 3],
    ['20 gib', 20 * 1024 ** 3],
    ['1.5 MiB', 1_572_864],
    ['3kB', 3000],
    ['2 TB', 2_000_000_000_000],
    [' 1 KiB ', 1024],
  ] as const) {
    it(`reads "${text}" as ${bytes} bytes`, () => assert.equal(parseSize(text), bytes));
  }

  for (const text of [
    '',
    'GiB',
    '20G',
    '-1',
    '1e3',
    '0x10',
    '1.5',
    '1.0001 B',
    '1 GiB 2',
    '9007199254740993',
    '99999999 TiB',
  ]) {
    it(`refuses "${text}"`, () => assert.equal(parseSize(text), undefined));
  }
});

describe('formatSize', () => {
  it('law: what it writes reads back as the same bytes', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(1, 1024, 1024 ** 2), (n, unit) => {
        assert.equal(parseSize(formatSize(n * unit)), n * unit);
      }),
    );
  });

  it('uses the largest unit that is exact', () => {
    assert.equal(formatSize(20 * 1024 ** 3), '20 GiB');
    assert.equal(formatSize(1536 * 1024 ** 2), '1536 MiB');
    assert.equal(formatSize(1025), '1025 B');
    assert.equal(formatSize(0), '0 B');
  });
});

describe('size', () => {
  const schema = size({ min: 10, max: 2048, by: 100 }, 'a size');

  it('takes numbers and text alike, and has a default', () => {
    assert.equal(schema.parse(11), 11);
    assert.equal(schema.parse('2KiB'), 2048);
    assert.equal(schema.parse(undefined), 100);
  });

  it('refuses what is out of range, no whole number or no size', () => {
    for (const value of [9, 2049, 10.5, '3KiB', 'much', true, null, {}]) {
      assert.equal(schema.safeParse(value).success, false, String(value));
    }
  });
});
