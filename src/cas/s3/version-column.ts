import { invariant } from '../../errors.ts';
import type { EntryVersion } from './entry-version.ts';

/** Rows of one page of columns. */
const PAGE_ROWS = 65_536;

/** Most writers that one index tells apart: a new data folder every minute for two years. Some 150 bytes each. */
const MAX_WRITERS = 1_000_000;

/** Bytes of a row in all columns. */
const ROW_BYTES = 8 + 4 + 1;

/** The value is that the entry was removed. */
const REMOVAL = 1;

/** There were older values of the entry, so it must not just be forgotten: they would come back at a recovery. */
const HAS_PREDECESSOR = 2;

/** What is known of an entry's value beside its place. */
export interface EntryFacts {
  readonly version: EntryVersion;
  readonly isRemoval: boolean;
  readonly hasPredecessor: boolean;
}

interface Page {
  readonly sequences: Float64Array;
  readonly writers: Uint32Array;
  readonly flags: Uint8Array;
}

/** Columns next to the rows of a `DigestTable`, by row number. */
export class VersionColumn {
  readonly #pages: Page[] = [];
  readonly #writers: string[] = [];
  readonly #numbers = new Map<string, number>();

  /** Sets what is known of a row. */
  set(row: number, { version, isRemoval, hasPredecessor }: EntryFacts): void {
    const page = this.#pageOf(row);
    const at = row % PAGE_ROWS;
    page.sequences[at] = version.sequence;
    page.writers[at] = this.#numberOf(version.writer);
    page.flags[at] = (isRemoval ? REMOVAL : 0) | (hasPredecessor ? HAS_PREDECESSOR : 0);
  }

  /** What `set` was given last. */
  get(row: number): EntryFacts {
    const page = this.#pageOf(row);
    const at = row % PAGE_ROWS;
    const flags = page.flags[at] ?? 0;
    return {
      version: { sequence: page.sequences[at] ?? 0, writer: this.#writers[page.writers[at] ?? 0] ?? '' },
      isRemoval: (flags & REMOVAL) !== 0,
      hasPredecessor: (flags & HAS_PREDECESSOR) !== 0,
    };
  }

  get memoryBytes(): number {
    return this.#pages.length * PAGE_ROWS * ROW_BYTES;
  }

  #pageOf(row: number): Page {
    const number = Math.floor(row / PAGE_ROWS);
    while (this.#pages.length <= number) {
      this.#pages.push({
        sequences: new Float64Array(PAGE_ROWS),
        writers: new Uint32Array(PAGE_ROWS),
        flags: new Uint8Array(PAGE_ROWS),
      });
    }
    const page = this.#pages[number];
    invariant(page !== undefined, 'pages up to the row were made');
    return page;
  }

  #numberOf(writer: string): number {
    let number = this.#numbers.get(writer);
    if (number === undefined) {
      number = this.#writers.length;
      invariant(number < MAX_WRITERS, 'a bucket has few writers');
      this.#writers.push(writer);
      this.#numbers.set(writer, number);
    }
    return number;
  }
}
