import assert from 'node:assert/strict';
import fc from 'fast-check';
import { clippedText, paddedText, textWidth } from './text-width.ts';

describe('textWidth', () => {
  for (const [text, width] of [
    ['', 0],
    ['host=a', 6],
    ['naïve', 5],
    ['nai\u0308ve', 5],
    ['日本', 4],
    ['한국', 4],
    ['\u1112\u1161\u11ab', 2],
    ['ＡＢ', 4],
    ['🚀', 2],
    ['a\u200db', 2],
    ['❤\ufe0f', 2],
    ['𠮷', 2],
    ['—…│', 3],
  ] as const) {
    it(`is ${width} for ${JSON.stringify(text)}`, () => assert.equal(textWidth(text), width));
  }
});

describe('clippedText', () => {
  for (const [text, columns, clipped] of [
    ['abcdef', 6, 'abcdef'],
    ['abcdef', 5, 'abcd…'],
    ['abcdef', 1, '…'],
    ['abcdef', 0, ''],
    ['日本語', 6, '日本語'],
    ['日本語', 5, '日本…'],
    ['日本語', 4, '日…'],
    ['e\u0301e\u0301e\u0301', 2, 'e\u0301…'],
  ] as const) {
    it(`makes "${clipped}" of "${text}" in ${columns} columns`, () =>
      assert.equal(clippedText(text, columns), clipped));
  }
});

describe('paddedText', () => {
  it('fills on either side', () => {
    assert.equal(paddedText('日本', 6), '日本  ');
    assert.equal(paddedText('12', 5, 'right'), '   12');
    assert.equal(paddedText('abcdef', 3, 'right'), 'ab…');
  });

  it('law: takes exactly as many columns as it is told', () => {
    const text = fc.string({ unit: 'grapheme' });
    fc.assert(
      fc.property(text, fc.nat(40), fc.constantFrom('left' as const, 'right' as const), (given, columns, align) => {
        assert.equal(textWidth(paddedText(given, columns, align)), columns);
      }),
    );
  });
});
