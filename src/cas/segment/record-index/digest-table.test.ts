import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { BugError } from '../../../errors.ts';
import { DigestTable, decodePage, MAX_PAGE_BYTES, MAX_WARMED, type Place } from './digest-table.ts';
import { RowKey } from './row-key.ts';

const scratch = new RowKey();

function hashOf(id: number): Buffer {
  return createHash('sha256').update(String(id)).digest();
}

/** A key that is one of few: every fourth shares its first 8 bytes with three others. */
function keyOf(id: number, kind = 1): RowKey {
  const hash = hashOf(id);
  hashOf(id >> 2).copy(hash, 0, 0, 8);
  return scratch.setBytes(kind, hash);
}

function placeOf(number: number): Place {
  return { segment: number % 5, offset: 0xffffffff - number, payloadBytes: number * 3, touched: number * 7 };
}

function readPlace(table: DigestTable, row: number): Place {
  return {
    segment: table.segment(row),
    offset: table.offset(row),
    payloadBytes: table.payloadBytes(row),
    touched: table.touched(row),
  };
}

function rowsIn(table: DigestTable): number[] {
  const rows: number[] = [];
  table.forEachRow((row) => rows.push(row));
  return rows;
}

/** All facts of all rows, in an order of their own. */
function contentOf(table: DigestTable): string[] {
  const describe = (row: number): string => {
    const { kind } = table.readKey(row, scratch);
    return JSON.stringify([kind, scratch.hex(), readPlace(table, row)]);
  };
  return rowsIn(table).map(describe).sort();
}

function decoded(bytes: Uint8Array): string[] {
  const found: string[] = [];
  assert.ok(decodePage(bytes, (key, place) => found.push(JSON.stringify([key.kind, key.hex(), place]))));
  return found.sort();
}

interface Step {
  readonly act: 'put' | 'remove' | 'touch';
  readonly id: number;
  readonly fact: number;
}

/** One operation on the table and its model. */
function apply(table: DigestTable, model: Map<number, Place>, { act, id, fact }: Step): void {
  const row = table.find(keyOf(id));
  const known = model.get(id);
  assert.equal(row === -1, known === undefined);
  if (act === 'put') {
    if (row === -1) table.add(keyOf(id), placeOf(fact));
    else table.replace(row, placeOf(fact));
    model.set(id, placeOf(fact));
  } else if (known !== undefined) {
    if (act === 'remove') table.remove(row);
    else table.setTouched(row, fact);
    if (act === 'remove') model.delete(id);
    else model.set(id, { ...known, touched: fact });
  }
}

function assertSame(table: DigestTable, model: ReadonlyMap<number, Place>): void {
  assert.equal(table.size, model.size);
  const expected = [...model].map(([id, place]) => JSON.stringify([1, keyOf(id).hex(), place])).sort();
  assert.deepEqual(contentOf(table), expected);
  assert.deepEqual(decoded(table.encodePage(0)), expected);
  for (let segment = 0; segment < 5; segment++) {
    const offsets = [...model.values()].filter((place) => place.segment === segment).map(({ offset }) => offset);
    assert.deepEqual(
      table.rowsOf(segment).map((row) => table.offset(row)),
      offsets.sort((a, b) => a - b),
    );
  }
  for (const id of model.keys()) {
    const row = table.find(keyOf(id));
    const [word0, word1] = keyOf(id).words;
    assert.ok(table.findPrefix(word0 ?? 0, word1 ?? 0).includes(row));
  }
}

describe('DigestTable', () => {
  let table: DigestTable;
  beforeEach(() => {
    table = new DigestTable({ seed: 0xdeadbeef, expectedRows: 0 });
  });

  it('finds what was added, by kind and whole hash', () => {
    const row = table.add(keyOf(1), placeOf(9));
    assert.equal(table.find(keyOf(1)), row);
    assert.deepEqual(readPlace(table, row), placeOf(9));
    assert.equal(table.word(row, 7), keyOf(1).words[7]);
    assert.equal(table.find(keyOf(1, 2)), -1);
    assert.equal(table.find(keyOf(2)), -1);
    const key = keyOf(1);
    for (let index = 0; index < 8; index++) {
      key.words[index] = (key.words[index] ?? 0) ^ 1;
      assert.equal(table.find(key), -1, `word ${index} counts`);
      key.words[index] = (key.words[index] ?? 0) ^ 1;
    }
    assert.equal(table.find(key), row);
  });

  it('keeps a row in its place when the record moves or is touched', () => {
    const row = table.add(keyOf(1), placeOf(9));
    table.replace(row, placeOf(3));
    table.setTouched(row, 0xffffffff);
    assert.deepEqual(readPlace(table, table.find(keyOf(1))), { ...placeOf(3), touched: 0xffffffff });
    assert.deepEqual(table.rowsOf(placeOf(9).segment), []);
    assert.deepEqual(table.rowsOf(placeOf(3).segment), [row]);
    assert.equal(table.find(keyOf(1)), row);
  });

  it('lists the rows of a segment by offset, however they came', () => {
    const offsets = [5, 1, 0xfffffff8, 3, 2];
    for (const [id, offset] of offsets.entries()) {
      table.add(keyOf(id), { segment: 7, offset, payloadBytes: 0, touched: 0 });
      table.add(keyOf(id, 128), { segment: 8, offset, payloadBytes: 0, touched: 0 });
    }
    table.remove(table.find(keyOf(3)));
    assert.deepEqual(
      table.rowsOf(7).map((row) => table.offset(row)),
      [1, 2, 5, 0xfffffff8],
    );
    assert.equal(table.rowsOf(8).length, 5);
    assert.deepEqual(table.rowsOf(9), []);
  });

  it('finds rows of all kinds by their first 8 bytes', () => {
    const rows = [table.add(keyOf(4), placeOf(0)), table.add(keyOf(5), placeOf(0)), table.add(keyOf(4, 9), placeOf(0))];
    table.add(keyOf(8), placeOf(0));
    const [word0, word1] = keyOf(4).words;
    assert.deepEqual(table.findPrefix(word0 ?? 0, word1 ?? 0).sort(), rows);
    assert.deepEqual(table.findPrefix(word0 ?? 0, (word1 ?? 0) ^ 1), []);
  });

  it('refuses to have two rows for a key, a row without kind, and to remove a row twice', () => {
    const row = table.add(keyOf(1), placeOf(0));
    assert.throws(() => table.add(keyOf(1), placeOf(1)), BugError);
    assert.throws(() => table.add(keyOf(1, 0), placeOf(1)), BugError);
    table.remove(row);
    assert.throws(() => table.remove(row), BugError);
    assert.throws(() => table.replace(row, placeOf(0)), BugError);
    assert.equal(table.size, 0);
  });

  it('finds the same after any number of keys were warmed', () => {
    for (let id = 0; id < 100; id++) table.add(keyOf(id), placeOf(id));
    const prefixes = new Uint32Array(2 * MAX_WARMED + 200);
    for (let index = 0; index < 200; index++) prefixes.set(keyOf(index).words.subarray(0, 2), index * 2);
    const content = contentOf(table);
    for (const count of [0, 1, 200, MAX_WARMED + 100]) table.warm(prefixes, count);
    assert.deepEqual(contentOf(table), content);
    for (let id = 0; id < 200; id++) assert.equal(table.find(keyOf(id)) >= 0, id < 100);
  });

  it('lets a visit to every row remove them', () => {
    for (let id = 0; id < 100; id++) table.add(keyOf(id), placeOf(id));
    table.forEachRow((row) => {
      if (table.touched(row) % 2 === 0) table.remove(row);
    });
    assert.equal(table.size, 50);
    for (let id = 0; id < 100; id++) assert.equal(table.find(keyOf(id)) === -1, id % 2 === 0);
  });

  it('has buckets for the expected rows from the start, and doubles them later', () => {
    assert.equal(new DigestTable({ seed: 1, expectedRows: 1_000_000 }).bucketCount, 2 ** 21);
    const before = table.bucketCount;
    for (let id = 0; id <= before * 0.6; id++) table.add(keyOf(id), placeOf(id));
    assert.equal(table.bucketCount, before * 2);
  });

  it('spreads rows over pages, reuses free rows of low pages first, and takes less than 110 bytes for each', () => {
    const count = 140_000;
    const key = new RowKey();
    const keyFor = (id: number): RowKey => {
      key.kind = 1;
      key.words.fill(Math.imul(id, 0x9e3779b1));
      key.words[7] = id;
      return key;
    };
    for (let id = 0; id < count; id++) table.add(keyFor(id), placeOf(id));
    assert.equal(table.pageCount, 3);
    assert.ok(table.memoryBytes / (table.pageCount * 65_536) < 110);
    const memoryBytes = table.memoryBytes;
    const freed = [70_000, 3, 4].map((id) => {
      const row = table.find(keyFor(id));
      table.remove(row);
      return row;
    });
    const again = [count, count + 1, count + 2].map((id) => table.add(keyFor(id), placeOf(id)));
    assert.deepEqual(again, [freed[2], freed[1], freed[0]]);
    assert.equal(table.memoryBytes, memoryBytes);
    assert.equal(table.size, count);
    let decodedRows = 0;
    for (const page of [0, 1, 2]) {
      decodePage(table.encodePage(page), (each, place) => {
        const row = table.find(each);
        if (row >>> 16 === page && table.touched(row) === place.touched) decodedRows++;
      });
    }
    assert.equal(decodedRows, count);
  });

  it('encodes no rows for a page that is not there', () => {
    assert.equal(table.encodePage(0).length, 0);
    assert.equal(table.encodePage(7).length, 0);
  });

  it('law: does what a map does, through growth, removal and reuse', () => {
    const id = fc.nat(2000);
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ act: fc.constant('put' as const), id, count: fc.nat(200), fact: fc.nat(1e6) }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ act: fc.constant('remove' as const), id, count: fc.nat(200), fact: fc.nat(0) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ act: fc.constant('touch' as const), id, count: fc.nat(50), fact: fc.nat(1e6) }),
      },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer(), (steps, seed) => {
        const real = new DigestTable({ seed, expectedRows: 0 });
        const model = new Map<number, Place>();
        for (const { act, id: first, count, fact } of steps) {
          for (let each = first; each < first + count; each++) apply(real, model, { act, id: each, fact });
        }
        assertSame(real, model);
      }),
    );
  });
});

describe('decodePage', () => {
  it('refuses bytes that are no page, before visiting any row', () => {
    const table = new DigestTable({ seed: 1, expectedRows: 0 });
    for (let id = 0; id < 3; id++) table.add(keyOf(id), placeOf(id));
    const good = table.encodePage(0);
    const withFreeRow = Buffer.from(good);
    withFreeRow[2 * 49] = 0;
    const bad = [good.subarray(0, -1), good.subarray(1), withFreeRow, new Uint8Array(MAX_PAGE_BYTES + 49)];
    const visit = (): never => assert.fail('no row of it may be believed');
    for (const bytes of bad) assert.equal(decodePage(bytes, visit), false);
    assert.equal(decodePage(new Uint8Array(0), visit), true);
  });

  it('reads the layout that is documented, wherever the bytes are in memory', () => {
    const table = new DigestTable({ seed: 1, expectedRows: 0 });
    table.add(scratch.setHex(128, '0123456789abcdef'.repeat(4)), {
      segment: 1,
      offset: 0x02030405,
      payloadBytes: 6,
      touched: 0xffffffff,
    });
    const bytes = table.encodePage(0);
    const hex = `80${'0123456789abcdef'.repeat(4)}010000000504030206000000ffffffff`;
    assert.equal(bytes.toString('hex'), hex);
    const shifted = Buffer.concat([Buffer.from('x'), bytes]).subarray(1);
    assert.deepEqual(decoded(shifted), contentOf(table));
  });
});
