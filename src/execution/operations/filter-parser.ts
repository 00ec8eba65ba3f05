import { type FilterToken, filterError, filterTokens } from './filter-tokens.ts';

/** What a filter says. */
export type FilterExpression =
  | { readonly type: 'and' | 'or'; readonly parts: readonly FilterExpression[] }
  | { readonly type: 'not'; readonly part: FilterExpression }
  | FilterTest;

/** One field against one value. */
export interface FilterTest {
  readonly type: 'test';
  readonly field: string;
  /** `:` means contains. */
  readonly operator: '=' | '!=' | ':';
  readonly value: string;
  /** Where field and value stand, from 1. */
  readonly position: number;
  readonly valuePosition: number;
}

/** How deep parentheses and NOT may be nested. */
export const MAX_FILTER_DEPTH = 16;

/** Most fields that may be tested. */
export const MAX_FILTER_TESTS = 64;

/**
 * Reads a filter, in the manner of AIP-160:
 *
 *     expression = term { "AND" term } | term { "OR" term }
 *     term       = "NOT" term | "(" expression ")" | field ( "=" | "!=" | ":" ) value
 *
 * AIP-160 lets OR bind tighter than AND, the reverse of most languages: whoever mixes them has to write parentheses.
 * @throws invalid-argument that names the position.
 */
export function parseFilter(text: string): FilterExpression {
  const parser = new FilterParser(filterTokens(text));
  return parser.whole();
}

class FilterParser {
  readonly #tokens: readonly FilterToken[];
  #at = 0;
  #tests = 0;

  constructor(tokens: readonly FilterToken[]) {
    this.#tokens = tokens;
  }

  whole(): FilterExpression {
    const expression = this.#expression(0);
    const rest = this.#next;
    if (rest.type === 'close') throw filterError(rest.position, 'this parenthesis was not opened');
    if (rest.type !== 'end') throw filterError(rest.position, `expected AND or OR, not "${rest.text}"`);
    return expression;
  }

  get #next(): FilterToken {
    return this.#tokens[this.#at] ?? { type: 'end', text: '', position: 1 };
  }

  #expression(depth: number): FilterExpression {
    const first = this.#term(depth);
    const joint = this.#joint();
    if (joint === undefined) return first;
    const parts = [first];
    for (let next: FilterToken['text'] | undefined = joint; next !== undefined; next = this.#joint()) {
      if (next !== joint) throw filterError(this.#next.position, 'AND and OR beside each other need parentheses');
      this.#at++;
      parts.push(this.#term(depth));
    }
    return { type: joint === 'AND' ? 'and' : 'or', parts };
  }

  /** Which of AND and OR comes next, if one does. */
  #joint(): 'AND' | 'OR' | undefined {
    const { type, text } = this.#next;
    return type === 'word' && (text === 'AND' || text === 'OR') ? text : undefined;
  }

  #term(depth: number): FilterExpression {
    const token = this.#next;
    if (depth >= MAX_FILTER_DEPTH) {
      throw filterError(token.position, `parentheses and NOT are nested more than ${MAX_FILTER_DEPTH} deep`);
    }
    if (token.type === 'word' && token.text === 'NOT') {
      this.#at++;
      return { type: 'not', part: this.#term(depth + 1) };
    }
    if (token.type !== 'open') return this.#test();
    this.#at++;
    const inner = this.#expression(depth + 1);
    const close = this.#next;
    if (close.type === 'end') throw filterError(token.position, 'this parenthesis is not closed');
    if (close.type !== 'close') throw filterError(close.position, `expected AND, OR or ")", not "${close.text}"`);
    this.#at++;
    return inner;
  }

  #test(): FilterTest {
    const field = this.#next;
    if (field.type !== 'word' || field.text === 'AND' || field.text === 'OR') {
      throw filterError(field.position, `expected a field${field.type === 'end' ? '' : `, not "${field.text}"`}`);
    }
    this.#at++;
    const operator = this.#next;
    if (operator.type !== 'operator') {
      throw filterError(operator.position, `expected =, != or : after "${field.text}"`);
    }
    this.#at++;
    const value = this.#next;
    if (value.type !== 'value') throw filterError(value.position, 'a value is missing');
    this.#at++;
    if (++this.#tests > MAX_FILTER_TESTS) {
      throw filterError(field.position, `more than ${MAX_FILTER_TESTS} fields are tested`);
    }
    return {
      type: 'test',
      field: field.text,
      operator: operator.text === '=' ? '=' : operator.text === ':' ? ':' : '!=',
      value: value.text,
      position: field.position,
      valuePosition: value.position,
    };
  }
}
