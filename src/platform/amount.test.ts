import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type AmountUnit, parseAmount, showAmount } from './amount.ts';

describe('parseAmount', () => {
  const good: readonly (readonly [string, AmountUnit | undefined, number])[] = [
    ['0', undefined, 0],
    ['04', undefined, 4],
    ['2.50', undefined, 2.5],
    ['2', 'milli', 2],
    ['0.5', 'milli', 0.5],
    ['1500m', 'milli', 1.5],
    ['0.5m', 'milli', 0.0005],
    ['2000', 'bytes', 2000],
    ['2000B', 'bytes', 2000],
    ['1e9', 'bytes', 1_000_000_000],
    ['1.5e3', 'bytes', 1500],
    ['0.1', 'bytes', 1],
    ['1k', 'bytes', 1024],
    ['1M', 'bytes', 1024 ** 2],
    ['4GB', 'bytes', 4 * 1024 ** 3],
    ['4gib', 'bytes', 4 * 1024 ** 3],
    ['2.0 Gi', 'bytes', 2 * 1024 ** 3],
    ['1.5TB', 'bytes', 1.5 * 1024 ** 4],
  ];
  for (const [text, unit, amount] of good) {
    it(`reads ${JSON.stringify(text)} as ${amount} with the unit ${unit ?? 'plain'}`, () => {
      assert.equal(parseAmount(text, unit), amount);
    });
  }

  const bad: readonly (readonly [string, AmountUnit | undefined])[] = [
    ['', undefined],
    ['four', undefined],
    ['-1', undefined],
    ['+1', undefined],
    ['1e3', undefined],
    ['1GB', undefined],
    ['1500m', undefined],
    ['.5', undefined],
    ['9999999999999999', undefined],
    ['1500M', 'milli'],
    ['m', 'milli'],
    ['1GB', 'milli'],
    ['', 'bytes'],
    ['GB', 'bytes'],
    ['4XB', 'bytes'],
    ['4  GB', 'bytes'],
    ['1e99', 'bytes'],
    ['999999TB', 'bytes'],
    ['-4GB', 'bytes'],
  ];
  for (const [text, unit] of bad) {
    it(`refuses ${JSON.stringify(text)} with the unit ${unit ?? 'plain'}`, () => {
      assert.equal(parseAmount(text, unit), undefined);
    });
  }

  it('law: an amount that was read can be written and read again', () => {
    const text = fc.oneof(
      fc.nat().map(String),
      fc.tuple(fc.nat(999), fc.constantFrom('', 'k', 'MB', 'GiB', 'm')).map(([digits, unit]) => `${digits}${unit}`),
      fc.tuple(fc.nat(999), fc.nat(999_999)).map(([whole, part]) => `${whole}.${part}`),
    );
    fc.assert(
      fc.property(text, fc.constantFrom(undefined, 'bytes', 'milli'), (written, unit) => {
        const amount = parseAmount(written, unit);
        if (amount !== undefined) assert.equal(parseAmount(String(amount), unit), amount);
      }),
    );
  });
});

describe('showAmount', () => {
  it('adds a larger unit where it can only be bytes', () => {
    const shown = [1.5, 64, 1_000_000, 1024 ** 2, 1.5 * 1024 ** 3, 2 * 1024 ** 4].map(showAmount);
    assert.deepEqual(shown, [
      '1.5',
      '64',
      '1000000',
      '1048576 (1 MiB)',
      '1610612736 (1.5 GiB)',
      '2199023255552 (2 TiB)',
    ]);
  });
});
