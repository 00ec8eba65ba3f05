import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isKind } from '../../errors.ts';
import { filterTokens, MAX_FILTER_LENGTH } from './filter-tokens.ts';

const short = (text: string) =>
  filterTokens(text).map(({ type, text: piece, position }) => `${position} ${type} ${piece}`);

const complaint = (text: string): string => {
  try {
    filterTokens(text);
  } catch (error) {
    assert.ok(isKind(error, 'invalid-argument'), String(error));
    assert.equal(error.facts.field, 'filter');
    return error.message;
  }
  return 'none';
};

describe('filterTokens', () => {
  it('cuts fields, operators, values, keywords and parentheses apart', () => {
    assert.deepEqual(short(' NOT (stage = QUEUED)'), [
      ...['2 word NOT', '6 open (', '7 word stage', '13 operator =', '15 value QUEUED', '21 close )', '22 end '],
    ]);
    assert.deepEqual(short('a!=b'), ['1 word a', '2 operator !=', '4 value b', '5 end ']);
    assert.deepEqual(short(''), ['1 end ']);
  });

  it('takes a label without quotes for a value', () => {
    assert.deepEqual(short('target=//a/b:c-d'), ['1 word target', '7 operator =', '8 value //a/b:c-d', '17 end ']);
    assert.deepEqual(short('a==b')[2], '3 value =b');
  });

  it('reads quoted values, with quotes and backslashes in them', () => {
    assert.deepEqual(short(String.raw`a="x (y) \"z\" \\"`)[2], String.raw`3 value x (y) "z" \ `.trimEnd());
    assert.deepEqual(short('a=""')[2], '3 value ');
  });

  for (const [text, expected] of [
    ['stage=QUEUED & done=true', /position 14: "&" is neither/],
    ['"x"=y', /position 1: """ is neither/],
    ['a=b é', /position 5: "\?" is neither/],
    ['a="b', /position 3: the quoted text has no end/],
    [String.raw`a="\n"`, /position 3: the quoted text/],
    ['(a=)', /position 4: a value is missing/],
    ['x'.repeat(MAX_FILTER_LENGTH + 1), /longer than 2048/],
  ] as const) {
    it(`refuses ${text.slice(0, 30)}, saying where`, () => assert.match(complaint(text), expected));
  }

  it('law: either cuts a text into pieces that stand where they say, or refuses it', () => {
    const piece = fc.constantFrom('a', '=', '!=', ':', '(', ')', '"', '\\', ' ', 'AND', '//x:y', 'é');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('');
        if (complaint(text) !== 'none') return;
        for (const token of filterTokens(text)) {
          if (token.type === 'value' && text[token.position - 1] === '"') continue;
          assert.equal(text.slice(token.position - 1, token.position - 1 + token.text.length), token.text);
        }
      }),
    );
  });
});
