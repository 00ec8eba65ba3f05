import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isKind } from '../../errors.ts';
import { type FilterExpression, MAX_FILTER_DEPTH, MAX_FILTER_TESTS, parseFilter } from './filter-parser.ts';

/** With all parentheses, and quotes around values. */
function written(expression: FilterExpression): string {
  switch (expression.type) {
    case 'test':
      return `${expression.field}${expression.operator}${JSON.stringify(expression.value)}`;
    case 'not':
      return `NOT ${written(expression.part)}`;
    default:
      return `(${expression.parts.map(written).join(expression.type === 'and' ? ' AND ' : ' OR ')})`;
  }
}

describe('parseFilter', () => {
  for (const [text, expected] of [
    ['a=b', 'a="b"'],
    ['a=b AND c!=d AND e:f', '(a="b" AND c!="d" AND e:"f")'],
    ['a=b OR (c=d AND NOT e=f)', '(a="b" OR (c="d" AND NOT e="f"))'],
    ['((a=b))', 'a="b"'],
    ['NOT NOT a=b', 'NOT NOT a="b"'],
    ['NOT (a=b OR c=d) AND e=f', '(NOT (a="b" OR c="d") AND e="f")'],
    ['a=AND', 'a="AND"'],
  ] as const) {
    it(`reads ${text}`, () => assert.equal(written(parseFilter(text)), expected));
  }

  const nested = (depth: number) => `${'('.repeat(depth)}a=b${')'.repeat(depth)}`;
  const many = (count: number) => Array.from({ length: count }, () => 'a=b').join(' AND ');

  for (const [name, text, expected] of [
    ['a field alone', 'done', /position 5: expected =, != or : after "done"/],
    ['an operator without a field', '= a', /position 1: expected a field, not "="/],
    ['an operator without a value', 'a=', /position 3: a value is missing/],
    ['a keyword in place of a field', 'a=b AND OR', /position 9: expected a field, not "OR"/],
    ['an end behind a keyword', 'a=b AND', /position 8: expected a field/],
    ['a keyword in lower case', 'a=b and c=d', /position 5: expected AND or OR, not "and"/],
    ['AND and OR without parentheses', 'a=b AND c=d OR e=f', /position 13: AND and OR beside each other/],
    ['a parenthesis that is not closed', 'c=d AND (a=b', /position 9: this parenthesis is not closed/],
    ['a parenthesis that was not opened', 'a=b)', /position 4: this parenthesis was not opened/],
    ['two tests side by side in parentheses', '(a=b c=d)', /position 6: expected AND, OR or "\)", not "c"/],
    ['nothing in parentheses', '()', /position 2: expected a field, not "\)"/],
    ['what is nested too deep', nested(MAX_FILTER_DEPTH), /nested more than 16 deep/],
    ['too many NOT', `${'NOT '.repeat(MAX_FILTER_DEPTH)}a=b`, /nested more than 16 deep/],
    ['too many tests', many(MAX_FILTER_TESTS + 1), /more than 64 fields/],
  ] as const) {
    it(`refuses ${name}, saying where`, () => {
      assert.throws(
        () => parseFilter(text),
        (error) => isKind(error, 'invalid-argument') && expected.test(error.message),
      );
    });
  }

  it('reads what is just within its limits', () => {
    parseFilter(nested(MAX_FILTER_DEPTH - 1));
    parseFilter(many(MAX_FILTER_TESTS));
  });

  it('law: reads what it has written again, and fails in no other way than with invalid-argument', () => {
    const word = fc.constantFrom('a', '=', '!=', ':', '(', ')', 'b', '"c d"', 'AND', 'OR', 'NOT');
    fc.assert(
      fc.property(fc.array(word, { maxLength: 14 }), (words) => {
        let expression: FilterExpression;
        try {
          expression = parseFilter(words.join(' '));
        } catch (error) {
          assert.ok(isKind(error, 'invalid-argument'), String(error));
          return;
        }
        assert.equal(written(parseFilter(written(expression))), written(expression));
      }),
    );
  });
});
