import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../../test/support/expectations.ts';
import { MAX_LIST_LENGTH, MAX_PAGE_SIZE, pageOf, refuseTooLong } from './page.ts';

const compare = (a: number, b: number): number => a - b;

describe('pageOf', () => {
  it('gives the first entries of a list in any order', () => {
    assert.deepEqual(pageOf([5, 3, 9, 1], { pageSize: 2, compare }), {
      items: [1, 3],
      info: { startIndex: 0, totalEntries: 4 },
    });
  });

  it('goes on after the last entry of the page before', () => {
    assert.deepEqual(pageOf([5, 3, 9, 1], { pageSize: 2, isAfter: (item) => item > 3, compare }), {
      items: [5, 9],
      info: { startIndex: 2, totalEntries: 4 },
    });
  });

  it('gives only the numbers for a page of nothing', () => {
    assert.deepEqual(pageOf([5, 3], { pageSize: 0, compare }), { items: [], info: { startIndex: 0, totalEntries: 2 } });
  });

  it('ends behind entries that the next page could not start between', () => {
    assert.deepEqual(pageOf([2, 1, 2, 2, 3], { pageSize: 2, compare }).items, [1, 2, 2, 2]);
  });

  it('refuses a page that is too large, as a cut one would be taken for the last', () => {
    assert.throws(() => pageOf([], { pageSize: MAX_PAGE_SIZE + 1, compare }), ofKind('invalid-argument'));
    assert.deepEqual(pageOf([], { pageSize: MAX_PAGE_SIZE, compare }).items, []);
  });

  it('law: pages of any size, one after the other, are the sorted list', () => {
    const numbers = fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 1_500 });
    fc.assert(
      fc.property(numbers, fc.integer({ min: 1, max: 300 }), (list, pageSize) => {
        const seen: number[] = [];
        for (;;) {
          const last = seen.at(-1);
          const isAfter = last === undefined ? {} : { isAfter: (item: number) => item > last };
          const { items, info } = pageOf(list, { pageSize, compare, ...isAfter });
          assert.deepEqual(info, { startIndex: seen.length, totalEntries: list.length });
          if (items.length === 0) break;
          seen.push(...items);
        }
        assert.deepEqual(seen, list.toSorted(compare));
      }),
      { numRuns: 50 },
    );
  });

  it('asks little of a long list of equal entries', () => {
    let comparisons = 0;
    const counting = (a: number, b: number): number => {
      comparisons++;
      return a - b;
    };
    const page = pageOf(new Array<number>(20_000).fill(7), { pageSize: 1, compare: counting });
    assert.equal(page.items.length, 20_000);
    assert.ok(comparisons < 20_000 * 20, `${comparisons} comparisons`);
  });
});

describe('refuseTooLong', () => {
  it('refuses a list that cannot be given as a whole', () => {
    refuseTooLong(MAX_LIST_LENGTH, 'queues');
    assert.throws(() => refuseTooLong(MAX_LIST_LENGTH + 1, 'queues'), ofKind('quota-exceeded'));
  });
});
