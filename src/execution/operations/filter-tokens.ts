import { ReapiError } from '../../errors.ts';

/** One piece of a filter. */
export interface FilterToken {
  /** `word`: a bare one, a field's name or a keyword; `value`: what stands behind an operator, without its quotes. */
  readonly type: 'word' | 'operator' | 'value' | 'open' | 'close' | 'end';
  readonly text: string;
  /** Of its first character; the first of the filter is 1. */
  readonly position: number;
}

/** Longest filter in characters. */
export const MAX_FILTER_LENGTH = 2048;

const SPACE = /\s+/y;
const WORD = /[A-Za-z_][A-Za-z0-9_.]*/y;
const OPERATOR = /!=|=|:/y;
/** Values need no quotes unless they have white space, quotes or parentheses: `//a:b` and `!=` are a label and a value here. */
const BARE_VALUE = /[^\s"()]+/y;
const QUOTED_VALUE = /"((?:[^"\\]|\\["\\])*)"/y;
const BRACKETS: Readonly<Record<string, 'open' | 'close'>> = { '(': 'open', ')': 'close' };

/** Cuts a filter into pieces; the last one is `end`. @throws invalid-argument for what is no piece of a filter, and for one that is too long. */
export function filterTokens(text: string): readonly FilterToken[] {
  if (text.length > MAX_FILTER_LENGTH) {
    throw new ReapiError('invalid-argument', `the filter is longer than ${MAX_FILTER_LENGTH} characters`, {
      field: 'filter',
    });
  }
  const tokens: FilterToken[] = [];
  let at = 0;
  for (;;) {
    at += lengthOf(SPACE, text, at);
    if (at >= text.length) break;
    const token = tokens.at(-1)?.type === 'operator' ? valueAt(text, at) : pieceAt(text, at);
    tokens.push({ type: token.type, text: token.text, position: at + 1 });
    at += token.length;
  }
  tokens.push({ type: 'end', text: '', position: text.length + 1 });
  return tokens;
}

/** A filter that cannot be understood. */
export function filterError(position: number, what: string): ReapiError {
  return new ReapiError('invalid-argument', `the filter, at position ${position}: ${what}`, { field: 'filter' });
}

interface Piece {
  readonly type: FilterToken['type'];
  readonly text: string;
  readonly length: number;
}

function pieceAt(text: string, at: number): Piece {
  const char = text.charAt(at);
  const bracket = BRACKETS[char];
  if (bracket !== undefined) return { type: bracket, text: char, length: 1 };
  for (const [type, pattern] of [
    ['word', WORD],
    ['operator', OPERATOR],
  ] as const) {
    const length = lengthOf(pattern, text, at);
    if (length > 0) return { type, text: text.slice(at, at + length), length };
  }
  throw filterError(at + 1, `"${printable(char)}" is neither a field, an operator nor a parenthesis`);
}

function valueAt(text: string, at: number): Piece {
  QUOTED_VALUE.lastIndex = at;
  const quoted = QUOTED_VALUE.exec(text);
  if (quoted !== null) {
    return { type: 'value', text: (quoted[1] ?? '').replace(/\\(["\\])/g, '$1'), length: quoted[0].length };
  }
  if (text[at] === '"')
    throw filterError(at + 1, 'the quoted text has no end, or a backslash before something else than \\ or "');
  const length = lengthOf(BARE_VALUE, text, at);
  if (length === 0) throw filterError(at + 1, 'a value is missing');
  return { type: 'value', text: text.slice(at, at + length), length };
}

function lengthOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}

function printable(char: string): string {
  return /[\x20-\x7e]/.test(char) ? char : '?';
}
