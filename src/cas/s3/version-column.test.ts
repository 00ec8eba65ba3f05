import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type EntryFacts, VersionColumn } from './version-column.ts';

const PAGE_BYTES = 65_536 * 13;

function facts(sequence: number, writer: string): EntryFacts {
  return { version: { sequence, writer }, isRemoval: false, hasPredecessor: false };
}

function writerOf(number: number): string {
  return number.toString(16).padStart(16, '0');
}

describe('VersionColumn', () => {
  it('takes memory page by page', () => {
    const column = new VersionColumn();
    assert.equal(column.memoryBytes, 0);
    column.set(0, facts(1, writerOf(1)));
    assert.equal(column.memoryBytes, PAGE_BYTES);
    column.set(65_535, facts(2, writerOf(1)));
    assert.equal(column.memoryBytes, PAGE_BYTES);
    column.set(2 * 65_536, facts(3, writerOf(2)));
    assert.equal(column.memoryBytes, 3 * PAGE_BYTES);
    assert.deepEqual(column.get(65_535), facts(2, writerOf(1)));
    assert.deepEqual(column.get(2 * 65_536), facts(3, writerOf(2)));
  });

  it('tells apart more writers than 16 bits can count: data folders come and go', () => {
    const column = new VersionColumn();
    const count = 70_000;
    for (let row = 0; row < count; row++) column.set(row, facts(row, writerOf(row)));
    for (const row of [0, 4463, 4464, 65_535, 65_536, count - 1])
      assert.deepEqual(column.get(row), facts(row, writerOf(row)));
  });

  it('law: what is set last is what it gives, whatever is set of other rows', () => {
    const set = fc.record({
      row: fc.constantFrom(0, 1, 65_535, 65_536),
      sequence: fc.nat({ max: 2 ** 48 - 1 }),
      writer: fc.nat({ max: 5 }),
      isRemoval: fc.boolean(),
      hasPredecessor: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(set), (sets) => {
        const column = new VersionColumn();
        const model = new Map<number, EntryFacts>();
        for (const { row, sequence, writer, isRemoval, hasPredecessor } of sets) {
          const given = { version: { sequence, writer: writerOf(writer) }, isRemoval, hasPredecessor };
          column.set(row, given);
          model.set(row, given);
        }
        for (const [row, given] of model) assert.deepEqual(column.get(row), given);
      }),
    );
  });
});
