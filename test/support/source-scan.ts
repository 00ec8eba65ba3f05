/** A place in a source where a rule is broken or a function is. Lines count from 1. */
export interface Place {
  readonly line: number;
  readonly text: string;
}

/** A function with a body in braces. */
export interface FunctionSize {
  readonly line: number;
  /** From its parameters to its closing brace. */
  readonly lines: number;
  readonly parameters: number;
}

/** One import or re-export of a module. */
export interface ImportFact {
  readonly line: number;
  readonly specifier: string;
  /** What stands between `import` and `from`; empty for imports for effect and dynamic ones. */
  readonly clause: string;
}

/** Words before a parenthesis that make it no parameter list. */
const STATEMENTS = new Set(['if', 'for', 'while', 'switch', 'catch', 'with', 'case', 'return', 'await']);

/** After one of these a slash starts a regular expression, not a division. */
const BEFORE_REGEXP = /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|void|throw|await|yield))\s*$/;

/**
 * The source with comments, and the insides of strings, templates and regular expressions, turned into spaces.
 * Positions and lines stay. Expressions inside templates stay code.
 */
export function codeOf(source: string): string {
  let code = '';
  let at = 0;
  /** Depth of braces at which each open template expression ends. */
  const templates: number[] = [];
  let depth = 0;
  const skip = (pattern: RegExp): void => {
    pattern.lastIndex = at;
    const [text = source[at] ?? ''] = pattern.exec(source) ?? [];
    code += blank(text);
    at += text.length;
  };
  while (at < source.length) {
    const char = source[at] ?? '';
    const pair = source.slice(at, at + 2);
    if (pair === '//') skip(/[^\n]*/y);
    else if (pair === '/*') skip(/[\s\S]*?\*\//y);
    else if (char === "'" || char === '"') skip(char === '"' ? /"(?:[^"\\\n]|\\.)*"/y : /'(?:[^'\\\n]|\\.)*'/y);
    else if (char === '/' && BEFORE_REGEXP.test(code.slice(-40)))
      skip(/\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y);
    else if (char === '`' || (char === '}' && templates.at(-1) === depth)) {
      if (char === '}') templates.pop();
      skip(/[`}](?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)/y);
      if (source[at - 1] === '{') templates.push(depth);
    } else {
      if (char === '{') depth++;
      if (char === '}') depth--;
      code += char;
      at++;
    }
  }
  return code;
}

/** The functions of a source, given as `codeOf` returns it. Arrow functions with an expression for a body are left out. */
export function functionsOf(code: string): readonly FunctionSize[] {
  const found: FunctionSize[] = [];
  for (let open = code.indexOf('('); open >= 0; open = code.indexOf('(', open + 1)) {
    const word = /([A-Za-z_$#][\w$]*)\s*$/.exec(code.slice(Math.max(0, open - 60), open))?.[1];
    if (word !== undefined && STATEMENTS.has(word)) continue;
    const close = closingOf(code, open);
    const body = bodyAfter(code, close + 1);
    if (body === undefined) continue;
    const lines = lineAt(code, closingOf(code, body)) - lineAt(code, open) + 1;
    found.push({ line: lineAt(code, open), lines, parameters: countItems(code.slice(open + 1, close)) });
  }
  return found;
}

/** The imports of a source, static, for effect, dynamic, and re-exports. */
export function importsOf(source: string): readonly ImportFact[] {
  const pattern =
    /^\s*(?:import|export)\s+(?<clause>(?:type\s+)?(?:[\w*\s,$]|\{[^}]*\})*?)\s*\bfrom\s*'(?<from>[^']+)'|^\s*import\s*'(?<effect>[^']+)'|\bimport\('(?<dynamic>[^']+)'\)/gm;
  return [...source.matchAll(pattern)].map((match) => {
    const { clause = '', from, effect, dynamic } = match.groups ?? {};
    const specifier = from ?? effect ?? dynamic ?? '';
    return { line: lineAt(source, match.index + match[0].search(/\S/)), specifier, clause };
  });
}

/** Where a pattern occurs in a text. */
export function placesOf(text: string, pattern: RegExp): readonly Place[] {
  const global = new RegExp(pattern.source, `${pattern.flags.replace('g', '')}g`);
  return [...text.matchAll(global)].map((match) => ({ line: lineAt(text, match.index), text: match[0].trim() }));
}

/** Exported top-level statements without a doc comment right above them. */
export function undocumentedExportsOf(source: string): readonly Place[] {
  const lines = source.split('\n');
  return lines.flatMap((text, at) => {
    if (!/^export (?:async |abstract )*(?:function|class|interface|type|const)\b/.test(text)) return [];
    return /\*\/\s*$/.test(lines[at - 1] ?? '') ? [] : [{ line: at + 1, text }];
  });
}

/** Titles of the first level in Markdown, outside code. */
export function titlesOf(markdown: string): readonly string[] {
  return markdown
    .replace(/^(```|~~~)[\s\S]*?^\1/gm, '')
    .split('\n')
    .filter((line) => /^# \S/.test(line));
}

function blank(text: string): string {
  return text.replace(/[^\n]/g, ' ');
}

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < offset; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

const PAIRS: Readonly<Record<string, string>> = { '(': ')', '{': '}', '[': ']' };

/** Position of the bracket that closes the one at `open`; the end of the text if none does. */
function closingOf(code: string, open: number): number {
  const opening = code[open] ?? '';
  const closing = PAIRS[opening];
  let depth = 0;
  for (let at = open; at < code.length; at++) {
    if (code[at] === opening) depth++;
    if (code[at] === closing && --depth === 0) return at;
  }
  return code.length;
}

/** Position of the brace that opens the body of a function whose parameters end before `from`, past a return type and an arrow. */
function bodyAfter(code: string, from: number): number | undefined {
  let at = skipSpace(code, from);
  if (code[at] === ':') {
    at = skipType(code, at + 1);
    if (at < 0) return undefined;
  }
  if (code.startsWith('=>', at)) at = skipSpace(code, at + 2);
  return code[at] === '{' ? at : undefined;
}

/** Position after a type: where an arrow or a body begins. -1 if neither follows. */
function skipType(code: string, from: number): number {
  let isOperandDue = true;
  for (let at = skipSpace(code, from); at < code.length; at = skipSpace(code, at)) {
    const char = code[at] ?? '';
    if (char === '{' && !isOperandDue) return at;
    if (code.startsWith('=>', at) && !isOperandDue) {
      // The arrow of a function type, as in `(): () => void {`, follows a parenthesis and is followed by a type.
      if (!isFunctionType(code, at)) return at;
      at += 2;
      isOperandDue = true;
    } else if (char in PAIRS) {
      at = closingOf(code, at) + 1;
      isOperandDue = false;
    } else if (char === '<') {
      at = angleClosingOf(code, at) + 1;
    } else if (char === '|' || char === '&') {
      at++;
      isOperandDue = true;
    } else {
      const [word] = /^[\w$.?]+/.exec(code.slice(at, at + 200)) ?? [];
      if (word === undefined) return -1;
      at += word.length;
      isOperandDue = /^(?:readonly|keyof|typeof|is|asserts|infer|extends)$/.test(word);
    }
  }
  return -1;
}

/** Whether an arrow inside a return type belongs to it: a body, or another arrow, must still follow on that line. */
function isFunctionType(code: string, arrow: number): boolean {
  if (!/\)\s*$/.test(code.slice(Math.max(0, arrow - 20), arrow))) return false;
  const rest = skipSpace(code, arrow + 2);
  if (code[rest] === '{') return false;
  const line = code.slice(rest, code.indexOf('\n', rest) + 1 || code.length);
  return /^[\w<>[\]|&\s.]+(?:\{|=>)\s*$/.test(line);
}

function angleClosingOf(code: string, open: number): number {
  let depth = 0;
  for (let at = open; at < code.length; at++) {
    if (code[at] === '<') depth++;
    if (code[at] === '>' && code[at - 1] !== '=' && --depth === 0) return at;
  }
  return code.length;
}

function skipSpace(code: string, from: number): number {
  let at = from;
  while (/\s/.test(code[at] ?? '')) at++;
  return at;
}

/** How many items a list has, by the commas outside all brackets. */
function countItems(list: string): number {
  let items = 0;
  let hasText = false;
  for (let at = 0; at < list.length; at++) {
    const char = list[at] ?? '';
    if (char in PAIRS) at = closingOf(list, at);
    else if (char === '<') at = angleClosingOf(list, at);
    if (char === ',') {
      items++;
      hasText = false;
    } else if (/\S/.test(char)) hasText = true;
  }
  return items + (hasText ? 1 : 0);
}
