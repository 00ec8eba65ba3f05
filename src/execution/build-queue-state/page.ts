import { ReapiError } from '../../errors.ts';
import type { PaginationInfo } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';

/** Most entries in one page. More are refused rather than cut: callers take a page that is not full for the last one. */
export const MAX_PAGE_SIZE = 10_000;

/** Most entries of a list that has no pages. */
export const MAX_LIST_LENGTH = 10_000;

/** Which part of a list is asked for. */
export interface PageRequest<T> {
  /** 0: only the numbers. Buildbarn's browser counts operations so. */
  readonly pageSize: number;
  /** Whether an entry comes after the last one of the page before; absent for the first page. */
  readonly isAfter?: (item: T) => boolean;
  readonly compare: (a: T, b: T) => number;
}

/** Some entries in order, and where they lie. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly info: PaginationInfo;
}

/**
 * The page of a list that comes in any order. O(n) for a small page of a long list: the whole is never sorted. A page is longer than
 * asked for if its last entries are equal in `compare`: the next page could not start between them.
 * @throws invalid-argument: the page is too large.
 */
export function pageOf<T>(all: Iterable<T>, { pageSize, isAfter, compare }: PageRequest<T>): Page<T> {
  if (pageSize > MAX_PAGE_SIZE) {
    throw new ReapiError('invalid-argument', `page_size is at most ${MAX_PAGE_SIZE}`, { field: 'page_size' });
  }
  let totalEntries = 0;
  let startIndex = 0;
  let items: T[] = [];
  let worst: T | undefined;
  let maxItems = 2 * pageSize + MIN_BATCH;
  for (const item of all) {
    totalEntries++;
    if (isAfter !== undefined && !isAfter(item)) {
      startIndex++;
      continue;
    }
    if (pageSize === 0 || (worst !== undefined && compare(item, worst) > 0)) continue;
    items.push(item);
    if (items.length < maxItems) continue;
    items = firstOf(items, pageSize, compare);
    worst = items.at(-1);
    // Equal ones may have to stay by the thousand, and are not to be sorted for each.
    maxItems = Math.max(maxItems, 2 * items.length);
  }
  return { items: firstOf(items, pageSize, compare), info: { startIndex, totalEntries } };
}

/** Entries that are taken beyond twice a page before they are sorted: small pages would be sorted over and over. */
const MIN_BATCH = 256;

function firstOf<T>(items: T[], count: number, compare: (a: T, b: T) => number): T[] {
  items.sort(compare);
  const last = items[count - 1];
  if (last === undefined) return items;
  const end = items.findIndex((item, index) => index >= count && compare(item, last) !== 0);
  return end === -1 ? items : items.slice(0, end);
}

/** @throws quota-exceeded: the list is too long to be given as a whole. */
export function refuseTooLong(length: number, what: string): void {
  if (length <= MAX_LIST_LENGTH) return;
  throw new ReapiError('quota-exceeded', `there are ${length} ${what}; at most ${MAX_LIST_LENGTH} can be listed`);
}
