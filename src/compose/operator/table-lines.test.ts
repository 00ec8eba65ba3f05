import assert from 'node:assert/strict';
import fc from 'fast-check';
import { tableLines } from './table-lines.ts';
import { textWidth } from './text-width.ts';

const COLUMNS = [
  { title: 'POOL', isFlexible: true },
  { title: 'SLOTS', align: 'right' },
  { title: 'WHY', isFlexible: true },
] as const;
const ROWS = [
  ['linux-x86-64-large', '200', 'all of them are busy'],
  ['日本', '5', ''],
];

describe('tableLines', () => {
  it('gives every column what it needs', () => {
    assert.deepEqual(tableLines(COLUMNS, ROWS, 80), [
      'POOL                SLOTS  WHY',
      'linux-x86-64-large    200  all of them are busy',
      '日本                    5',
    ]);
  });

  it('narrows the widest flexible columns first', () => {
    assert.deepEqual(tableLines(COLUMNS, ROWS, 36), [
      'POOL           SLOTS  WHY',
      'linux-x86-64…    200  all of them a…',
      '日本               5',
    ]);
  });

  it('cuts what does not fit even so', () => {
    assert.deepEqual(tableLines(COLUMNS, ROWS, 12), ['POOL      S…', 'linux-x…   …', '日本       …']);
  });

  it('has a line for titles without rows', () => {
    assert.deepEqual(tableLines(COLUMNS, [], 80), ['POOL  SLOTS  WHY']);
  });

  it('law: no line is wider than it may be', () => {
    const cell = fc.string({ unit: 'grapheme', maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 3, maxLength: 3 })),
        fc.integer({ min: 1, max: 120 }),
        (rows, width) => {
          for (const line of tableLines(COLUMNS, rows, width)) assert.ok(textWidth(line) <= width);
        },
      ),
    );
  });
});
