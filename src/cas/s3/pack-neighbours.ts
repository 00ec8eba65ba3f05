import { LRUCache } from 'lru-cache';
import { digestOf } from '../../digest/hasher.ts';
import type { Log } from '../../system/log.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { digestOfKey, RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex, IndexedRow } from './bucket-index.ts';
import type { LocalTier } from './local-tier.ts';
import { parseContainerKey } from './object-names.ts';
import type { ReadAhead, ReadAheadItem } from './read-ahead.ts';

/** Rows that are kept in the order of their places, of packs that are being read through: some 200 bytes each. */
const MAX_ROWS = 200_000;

/** What finding neighbours stands on. */
export interface PackNeighboursParts {
  readonly index: BucketIndex;
  readonly local: LocalTier;
  readonly log: Log;
  /** Aborts when the tier closes. */
  readonly closing: AbortSignal;
}

/** Blobs that stand behind each other in a pack came together and are wanted together: read ahead, they go to the local tier. */
export class PackNeighbours implements ReadAhead {
  readonly #parts: PackNeighboursParts;
  readonly #rows = new LRUCache<number, readonly IndexedRow[]>({
    maxSize: MAX_ROWS,
    sizeCalculation: (rows) => rows.length + 1,
  });
  readonly #key = new RowKey();
  readonly #keeping = new Set<Promise<void>>();

  constructor(parts: PackNeighboursParts) {
    this.#parts = parts;
  }

  after(objectKey: string, endOffset: number, maxBytes: number): readonly ReadAheadItem[] {
    const name = parseContainerKey(objectKey);
    const container = name === undefined ? undefined : this.#parts.index.containers.find(name.id);
    if (container === undefined) return [];
    let rows = this.#rows.get(container.local);
    if (rows === undefined) {
      rows = this.#parts.index.rowsOf(container).filter(({ kind }) => kind !== ENTRY_KIND);
      this.#rows.set(container.local, rows);
    }
    const items: ReadAheadItem[] = [];
    for (let at = firstFrom(rows, endOffset); at < rows.length; at++) {
      const row = rows[at];
      if (row === undefined || row.place.offset + row.place.lengthBytes > endOffset + maxBytes) break;
      const { offset, lengthBytes } = row.place;
      if (this.#isWanted(row)) items.push({ offset, lengthBytes, take: (bytes) => this.#take(row, bytes) });
    }
    return items;
  }

  /** Waits for what is being kept. */
  async settled(): Promise<void> {
    await Promise.all(this.#keeping);
  }

  #isWanted(row: IndexedRow): boolean {
    return this.#parts.index.isCurrent(row) && !this.#parts.local.has(this.#digestOf(row));
  }

  #take(row: IndexedRow, bytes: Uint8Array): void {
    const { local, log, closing } = this.#parts;
    const digest = this.#digestOf(row);
    // Whoever reads it by name finds out that it is damaged, and reports it.
    if (closing.aborted || digestOf(digest.function, bytes).hash !== digest.hash) return;
    const keeping = local.blobs
      .putBytes(digest, bytes, closing)
      .catch((error: unknown) => log.debug({ err: error }, 'the local tier does not keep what was read ahead'))
      .finally(() => this.#keeping.delete(keeping));
    this.#keeping.add(keeping);
  }

  #digestOf({ kind, hash, place }: IndexedRow) {
    return digestOfKey(this.#key.setHex(kind, hash), place.lengthBytes);
  }
}

/** Index of the first row that begins at `offset` or behind it. */
function firstFrom(rows: readonly IndexedRow[], offset: number): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((rows[middle]?.place.offset ?? 0) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
