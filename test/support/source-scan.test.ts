import assert from 'node:assert/strict';
import { codeOf, functionsOf, importsOf, placesOf, titlesOf, undocumentedExportsOf } from './source-scan.ts';

const EMPTY_EXPRESSION = '$' + '{';

describe('codeOf', () => {
  for (const [what, source, code] of [
    ['line comments', 'a; // b {\nc', 'a;       \nc'],
    ['block comments', 'a /* {\n} */ b', 'a     \n     b'],
    ['strings', `f('{', "\\"}")`, 'f(   ,      )'],
    ['regular expressions', 'x = /[/{]\\//g.test(y)', 'x =          .test(y)'],
    ['templates, but not their expressions', `\`{${EMPTY_EXPRESSION}g({})}}\` + h`, '    g({})    + h'],
    ['templates in templates', `\`a${EMPTY_EXPRESSION}\`b${EMPTY_EXPRESSION}c}\`}d\`;e`, '        c     ;e'],
  ] as const) {
    it(`blanks ${what}`, () => assert.equal(codeOf(source), code));
  }

  it('leaves divisions alone', () => assert.equal(codeOf('a / b / c; (a) / 2'), 'a / b / c; (a) / 2'));

  it('keeps every line where it was', () => {
    const source = 'const a = `1\n2`;\n/* 3\n4 */ b("5");\n';
    assert.equal(codeOf(source).length, source.length);
    assert.equal(codeOf(source).split('\n').length, source.split('\n').length);
  });
});

describe('functionsOf', () => {
  const sizes = (source: string) =>
    functionsOf(codeOf(source)).map(({ line, lines, parameters }) => [line, lines, parameters]);

  for (const [what, source, expected] of [
    ['functions', 'function f(a, b) {\n  return 1;\n}', [[1, 3, 2]]],
    ['methods with a return type', 'class A {\n  b(): Promise<Map<string, number>> {\n  }\n}', [[2, 2, 0]]],
    ['return types that are objects', 'function f(a: A): { readonly b: B } | undefined {\n}', [[1, 2, 1]]],
    ['type predicates', 'function f(a: unknown): a is B {\n}', [[1, 2, 1]]],
    ['functions that return functions', 'function f(a: A): () => void {\n}', [[1, 2, 1]]],
    ['arrow functions with a body', 'const f = async (a: A): Promise<void> => {\n};', [[1, 2, 1]]],
    [
      'functions inside functions',
      'function f() {\n  g((a) => {\n  });\n}',
      [
        [1, 4, 0],
        [2, 2, 1],
      ],
    ],
    ['generic functions', 'function f<T extends (a: A) => B>(a: T, b: Map<A, B>) {\n}', [[1, 2, 2]]],
    ['parameters over several lines', 'function f(\n  a: A,\n  b: () => B,\n  { c, d }: E,\n) {\n}', [[1, 6, 3]]],
    ['computed names and getters', 'class A {\n  get [b]() {\n  }\n}', [[2, 2, 0]]],
  ] as const) {
    it(`finds ${what}`, () => assert.deepEqual(sizes(source), expected));
  }

  for (const source of [
    'if (a) {\n}',
    'for (const a of b(c)) {\n}',
    'while (a) {\n}',
    'switch (a) {\n}',
    'try {\n} catch (e) {\n}',
    'interface A {\n  b(c: C): D;\n}',
    'const a = b ? c(d) : { e };',
    'const f = (a) => a + 1;',
    'f(a);\n{\n}',
  ]) {
    it(`does not take for a function: ${source.split('\n', 1).join()}`, () => {
      assert.deepEqual(sizes(source), []);
    });
  }
});

describe('importsOf', () => {
  it('finds every way to import', () => {
    const source = [
      "import { a } from './a.ts';",
      "import type { B } from './b.ts';",
      'import {\n  c,\n  type D,\n} from "x";'.replaceAll('"', "'"),
      "import './e.ts';",
      "export { f } from './f.ts';",
      "const g = await import('./g.ts');",
      "import h, { i } from 'h';",
      "import * as j from 'j';",
    ].join('\n');
    assert.deepEqual(
      importsOf(source).map(({ line, specifier }) => `${line} ${specifier}`),
      ['1 ./a.ts', '2 ./b.ts', '3 x', '7 ./e.ts', '8 ./f.ts', '9 ./g.ts', '10 h', '11 j'],
    );
  });

  it('says what is imported', () => {
    assert.deepEqual(
      importsOf("import { A, type B } from 'x';").map(({ clause }) => clause),
      ['{ A, type B }'],
    );
  });

  it('is not misled by text and exports', () => {
    assert.deepEqual(importsOf("export const from = 'x';\nconst a = 'import b';\n"), []);
  });
});

describe('placesOf', () => {
  it('finds every occurrence with its line', () => {
    assert.deepEqual(placesOf('a\nb a\n', /a/), [
      { line: 1, text: 'a' },
      { line: 2, text: 'a' },
    ]);
  });
});

describe('undocumentedExportsOf', () => {
  it('finds exports without a comment right above', () => {
    const source = '/** A. */\nexport const a = 1;\n\nexport function b() {}\nexport interface C {}\nconst d = 1;\n';
    assert.deepEqual(
      undocumentedExportsOf(source).map(({ line }) => line),
      [4, 5],
    );
  });
});

describe('titlesOf', () => {
  it('counts titles outside code', () => {
    assert.deepEqual(titlesOf('# One\n## Two\n```sh\n# comment\n```\n#nothing\n'), ['# One']);
  });
});
