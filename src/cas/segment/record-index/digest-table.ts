import { invariant } from '../../../errors.ts';
import { HashBuckets } from './hash-buckets.ts';
import { KEY_BYTES, RowKey } from './row-key.ts';

/*
 * The index of the local store: which record holds a digest or an entry. All of it is in typed arrays, so that a million rows
 * are no work for the garbage collector, and take 60 bytes each and 13 to 27 for buckets.
 *
 * Rows live in pages of 65,536, allocated when needed and never moved: a row keeps its number until it is removed. Cells of a row:
 *
 *     0–7   first 32 bytes of the hash, see RowKey        in a free row cell 0 links to the next free one of the page
 *     8     kind; 0 = the row is free
 *     9–12  touched, segment, offset, payload bytes
 *     13–14 next and previous row of the same segment, plus 1; 0 = none
 *
 * Buckets are found by the first 8 bytes of the hash, whatever the kind; their links are rows + 1.
 *
 * Nothing here limits the number of rows: each stands for a record of at least 64 bytes under the store's limit.
 */

const PAGE_ROWS = 65_536;
const PAGE_BITS = 16;

const ROW_CELLS = 15;
const FREE_LINK = 0;
const KIND = 8;
const TOUCHED = 9;
const SEGMENT = 10;
const OFFSET = 11;
const PAYLOAD = 12;
const NEXT = 13;
const PREVIOUS = 14;

/** Bytes of a row in an encoded page, and so in the index file: kind, hash, and four numbers. */
export const INDEX_ROW_BYTES = 1 + KEY_BYTES + 16;

/** Bytes of the largest encoded page. */
export const MAX_PAGE_BYTES = PAGE_ROWS * INDEX_ROW_BYTES;

/** Most keys of one `warm`: more of them would push each other out of the cache. */
export const MAX_WARMED = 1024;

/** Where a record is, and when it was last used. All are whole numbers below 2^32. */
export interface Place {
  readonly segment: number;
  readonly offset: number;
  /** Bytes of the record's key and data. */
  readonly payloadBytes: number;
  /** Store seconds of the last use, as exact as leases need it. */
  readonly touched: number;
}

interface Page {
  readonly cells: Uint32Array;
  liveRows: number;
  /** Rows from here on have never been used. */
  firstUnused: number;
  /** First of the chain of freed rows, plus 1; 0 = none. */
  freeLink: number;
}

/** Rows by kind and hash. Row numbers are valid until the row is removed; a wrong one gives zeros or another's facts. */
export class DigestTable {
  readonly #buckets: HashBuckets;
  /** Cells of each page once more: a lookup needs only these. */
  readonly #cells: Uint32Array[] = [];
  readonly #pages: Page[] = [];
  /** No page before it has room: low pages fill up first, which keeps rows of a segment together. */
  #firstOpenPage = 0;
  /** Newest row of each segment that has any, plus 1. */
  readonly #segments = new Map<number, number>();
  #size = 0;
  /** What `warm` loaded, kept so that it is loaded. */
  readonly #warmed = new Int32Array(MAX_WARMED);

  /** @param options seed: 32 bits nobody can guess, else uploads could be chosen so that they all fall into one bucket. */
  constructor(options: { readonly seed: number; readonly expectedRows: number }) {
    this.#buckets = new HashBuckets({ seed: options.seed, expectedLinks: options.expectedRows });
  }

  get size(): number {
    return this.#size;
  }

  get bucketCount(): number {
    return this.#buckets.count;
  }

  /** Of rows and buckets. */
  get memoryBytes(): number {
    return this.#buckets.memoryBytes + this.#pages.length * PAGE_ROWS * ROW_CELLS * 4;
  }

  get pageCount(): number {
    return this.#pages.length;
  }

  /** The row of a key, or −1. */
  find(key: RowKey): number {
    const { words } = key;
    const buckets = this.#buckets;
    const hash = buckets.hash(words[0] ?? 0, words[1] ?? 0);
    for (let at = buckets.start(hash); ; at = buckets.next(at)) {
      const link = buckets.link(at);
      if (link === 0) return -1;
      if (buckets.hashAt(at) === hash && this.#hasKey(link - 1, key)) return link - 1;
    }
  }

  /**
   * Brings what looking up these keys needs into the processor's caches. Each lookup waits for memory twice, for bucket and row,
   * about 200 ns each with a million rows; here the waits of all keys overlap. Worth it from some ten keys on. Of more than
   * `MAX_WARMED` keys only the first ones are brought.
   * @param prefixes words 0 and 1 of each key in turn.
   */
  warm(prefixes: Uint32Array, count: number): void {
    const buckets = this.#buckets;
    const warmed = this.#warmed;
    const keys = Math.min(count, MAX_WARMED);
    for (let index = 0; index < keys; index++) {
      const hash = buckets.hash(prefixes[index * 2] ?? 0, prefixes[index * 2 + 1] ?? 0);
      warmed[index] = buckets.link(buckets.start(hash));
    }
    for (let index = 0; index < keys; index++) {
      const row = (warmed[index] ?? 0) - 1;
      // A row may begin in one line of the cache and end in the next.
      warmed[index] = this.#cell(row, 0) ^ this.touched(row);
    }
  }

  /** Rows of any kind whose hash begins with these words, both unsigned. A chance match is one in 2^64: seldom more than one. */
  findPrefix(word0: number, word1: number): number[] {
    const buckets = this.#buckets;
    const hash = buckets.hash(word0, word1);
    const found: number[] = [];
    for (let at = buckets.start(hash); buckets.link(at) !== 0; at = buckets.next(at)) {
      const row = buckets.link(at) - 1;
      if (buckets.hashAt(at) !== hash) continue;
      if (this.#cell(row, 0) === word0 && this.#cell(row, 1) === word1) found.push(row);
    }
    return found;
  }

  /** A new row. The key has none yet. */
  add(key: RowKey, place: Place): number {
    invariant(key.kind !== 0, 'a row has a kind');
    invariant(this.find(key) === -1, 'a key has one row');
    const row = this.#takeRow();
    const cells = this.#cellsOf(row);
    const at = cellOf(row);
    cells.set(key.words, at);
    cells[at + KIND] = key.kind;
    setPlace(cells, at, place);
    this.#link(row, place.segment);
    this.#buckets.insert(row + 1, this.#hashOf(row));
    this.#size++;
    return row;
  }

  /** The record is somewhere else now. */
  replace(row: number, place: Place): void {
    this.#unlink(row);
    setPlace(this.#cellsOf(row), cellOf(row), place);
    this.#link(row, place.segment);
  }

  /** Its number may be given to another key at once. */
  remove(row: number): void {
    this.#unlink(row);
    this.#buckets.remove(row + 1, this.#hashOf(row));
    this.#freeRow(row);
    this.#size--;
  }

  kind(row: number): number {
    return this.#cell(row, KIND);
  }

  segment(row: number): number {
    return this.#cell(row, SEGMENT);
  }

  offset(row: number): number {
    return this.#cell(row, OFFSET);
  }

  payloadBytes(row: number): number {
    return this.#cell(row, PAYLOAD);
  }

  touched(row: number): number {
    return this.#cell(row, TOUCHED);
  }

  setTouched(row: number, seconds: number): void {
    this.#cellsOf(row)[cellOf(row) + TOUCHED] = seconds;
  }

  /** Word 0 to 7 of the row's hash. */
  word(row: number, index: number): number {
    return this.#cell(row, index);
  }

  /** Sets `into` to the row's key and returns it. */
  readKey(row: number, into: RowKey): RowKey {
    const at = cellOf(row);
    into.words.set(this.#cellsOf(row).subarray(at, at + KIND));
    into.kind = this.kind(row);
    return into;
  }

  /** Rows whose record is in the segment, by offset. Takes time for these rows only. */
  rowsOf(segment: number): number[] {
    const rows: number[] = [];
    for (let link = this.#segments.get(segment) ?? 0; link !== 0; link = this.#cell(link - 1, NEXT))
      rows.push(link - 1);
    // Newest first, so that most often this is one falling run, which a merge sort turns round in one pass.
    return rows.sort((a, b) => this.offset(a) - this.offset(b));
  }

  /** Visits all rows, in no particular order. `visit` may remove the row it is given, and may not add any. */
  forEachRow(visit: (row: number) => void): void {
    for (const [number, page] of this.#pages.entries()) {
      for (let index = 0; index < page.firstUnused; index++) {
        if ((page.cells[index * ROW_CELLS + KIND] ?? 0) !== 0) visit(number * PAGE_ROWS + index);
      }
    }
  }

  /**
   * The rows of a page as bytes, for `decodePage`; none for a page that is not there. For each row 49 bytes, numbers
   * little-endian: kind (1), hash (32), segment (4), offset (4), payload bytes (4), touched (4).
   */
  encodePage(page: number): Buffer {
    const { cells, liveRows, firstUnused } = this.#pages[page] ?? { cells: NO_CELLS, liveRows: 0, firstUnused: 0 };
    const bytes = Buffer.allocUnsafeSlow(liveRows * INDEX_ROW_BYTES);
    const view = new DataView(bytes.buffer);
    let out = 0;
    for (let from = 0; from < firstUnused * ROW_CELLS; from += ROW_CELLS) {
      const kind = cells[from + KIND] ?? 0;
      if (kind === 0) continue;
      view.setUint8(out, kind);
      out++;
      for (let cell = from; cell < from + KIND; cell++, out += 4) view.setUint32(out, cells[cell] ?? 0);
      view.setUint32(out, cells[from + SEGMENT] ?? 0, true);
      view.setUint32(out + 4, cells[from + OFFSET] ?? 0, true);
      view.setUint32(out + 8, cells[from + PAYLOAD] ?? 0, true);
      view.setUint32(out + 12, cells[from + TOUCHED] ?? 0, true);
      out += 16;
    }
    return bytes;
  }

  #hashOf(row: number): number {
    return this.#buckets.hash(this.#cell(row, 0), this.#cell(row, 1));
  }

  #hasKey(row: number, key: RowKey): boolean {
    const cells = this.#cellsOf(row);
    const at = cellOf(row);
    if (cells[at + KIND] !== key.kind) return false;
    for (let index = 0; index < KIND; index++) {
      if (cells[at + index] !== key.words[index]) return false;
    }
    return true;
  }

  #cellsOf(row: number): Uint32Array {
    return this.#cells[row >>> PAGE_BITS] ?? NO_CELLS;
  }

  #cell(row: number, column: number): number {
    return this.#cellsOf(row)[cellOf(row) + column] ?? 0;
  }

  #takeRow(): number {
    while (this.#pages[this.#firstOpenPage]?.liveRows === PAGE_ROWS) this.#firstOpenPage++;
    const page = this.#pages[this.#firstOpenPage] ?? this.#addPage();
    page.liveRows++;
    let index = page.freeLink - 1;
    if (index >= 0) page.freeLink = page.cells[index * ROW_CELLS + FREE_LINK] ?? 0;
    else index = page.firstUnused++;
    return this.#firstOpenPage * PAGE_ROWS + index;
  }

  #addPage(): Page {
    const page = { cells: new Uint32Array(PAGE_ROWS * ROW_CELLS), liveRows: 0, firstUnused: 0, freeLink: 0 };
    this.#pages.push(page);
    this.#cells.push(page.cells);
    return page;
  }

  #freeRow(row: number): void {
    const number = row >>> PAGE_BITS;
    const page = this.#pages[number];
    invariant(page !== undefined && this.kind(row) !== 0, 'a row is removed once');
    const at = cellOf(row);
    page.cells[at + KIND] = 0;
    page.cells[at + FREE_LINK] = page.freeLink;
    page.freeLink = (row & (PAGE_ROWS - 1)) + 1;
    page.liveRows--;
    this.#firstOpenPage = Math.min(this.#firstOpenPage, number);
  }

  /** Puts the row in front of its segment's others. */
  #link(row: number, segment: number): void {
    const next = this.#segments.get(segment) ?? 0;
    const cells = this.#cellsOf(row);
    cells[cellOf(row) + NEXT] = next;
    cells[cellOf(row) + PREVIOUS] = 0;
    if (next !== 0) this.#cellsOf(next - 1)[cellOf(next - 1) + PREVIOUS] = row + 1;
    this.#segments.set(segment, row + 1);
  }

  #unlink(row: number): void {
    invariant(this.kind(row) !== 0, 'a free row is in no segment');
    const next = this.#cell(row, NEXT);
    const previous = this.#cell(row, PREVIOUS);
    if (next !== 0) this.#cellsOf(next - 1)[cellOf(next - 1) + PREVIOUS] = previous;
    if (previous !== 0) this.#cellsOf(previous - 1)[cellOf(previous - 1) + NEXT] = next;
    else if (next !== 0) this.#segments.set(this.segment(row), next);
    else this.#segments.delete(this.segment(row));
  }
}

/** Whether these are the bytes of a page: whole rows, none of them free. */
export function isPage(bytes: Uint8Array): boolean {
  if (bytes.length % INDEX_ROW_BYTES !== 0 || bytes.length > MAX_PAGE_BYTES) return false;
  for (let at = 0; at < bytes.length; at += INDEX_ROW_BYTES) {
    if (bytes[at] === 0) return false;
  }
  return true;
}

/**
 * Visits the rows of an encoded page. Key and place are reused: they are valid during the visit only.
 * @returns false if these are not the bytes of a page; then nothing has been visited.
 */
export function decodePage(bytes: Uint8Array, visit: (key: RowKey, place: Place) => void): boolean {
  if (!isPage(bytes)) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const key = new RowKey();
  const place = { segment: 0, offset: 0, payloadBytes: 0, touched: 0 };
  for (let at = 0; at < bytes.length; at += INDEX_ROW_BYTES) {
    key.setBytes(view.getUint8(at), bytes, at + 1);
    const numbers = at + 1 + KEY_BYTES;
    place.segment = view.getUint32(numbers, true);
    place.offset = view.getUint32(numbers + 4, true);
    place.payloadBytes = view.getUint32(numbers + 8, true);
    place.touched = view.getUint32(numbers + 12, true);
    visit(key, place);
  }
  return true;
}

const NO_CELLS = new Uint32Array(0);

/** Position of a row's first cell in its page. */
function cellOf(row: number): number {
  return (row & (PAGE_ROWS - 1)) * ROW_CELLS;
}

function setPlace(cells: Uint32Array, at: number, place: Place): void {
  cells[at + SEGMENT] = place.segment;
  cells[at + OFFSET] = place.offset;
  cells[at + PAYLOAD] = place.payloadBytes;
  cells[at + TOUCHED] = place.touched;
}
