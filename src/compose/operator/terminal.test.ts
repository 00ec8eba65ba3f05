import assert from 'node:assert/strict';
import fc from 'fast-check';
import { jsonText, printable } from './terminal.ts';

describe('printable', () => {
  for (const [text, shown] of [
    ['src/main.c', 'src/main.c'],
    ['naïve-文.txt', 'naïve-文.txt'],
    ['a\nb\tc', 'a\\x0ab\\x09c'],
    ['\x1b[2J', '\\x1b[2J'],
    ['\x9b2J\x7f', '\\x9b2J\\x7f'],
    ['exe\u202etxt', 'exe\\u202etxt'],
  ] as const) {
    it(`shows ${JSON.stringify(text)} as ${shown}`, () => assert.equal(printable(text), shown));
  }

  it('law: leaves no control character', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => assert.doesNotMatch(printable(text), /\p{Cc}/u)));
  });
});

describe('jsonText', () => {
  it('law: is JSON of the value, without control characters but line feeds', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        const text = jsonText(value);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
        assert.doesNotMatch(text.replaceAll('\n', ''), /\p{Cc}|\p{Bidi_Control}/u);
      }),
    );
  });
});
