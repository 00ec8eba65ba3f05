import { LRUCache } from 'lru-cache';
import type { Digest } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import type { Log } from '../../system/log.ts';
import { digestOfKey, RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { Container } from './containers.ts';
import type { LocalTier } from './local-tier.ts';
import { parseContainerKey } from './object-names.ts';
import type { ReadAhead, ReadAheadItem } from './read-ahead.ts';

/** Rows that are kept in the order of their places, of packs that are being read through: 8 bytes each. */
const MAX_ROWS = 4_000_000;

/** Rows of a pack in the order of their places. */
interface PackRows {
  readonly numbers: Uint32Array;
  readonly offsets: Uint32Array;
}

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
  readonly #rows = new LRUCache<number, PackRows>({
    maxSize: MAX_ROWS,
    sizeCalculation: ({ numbers }) => numbers.length + 1,
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
    const rows = this.#rowsOf(container);
    const { blobTable } = this.#parts.index;
    const items: ReadAheadItem[] = [];
    for (let at = firstFrom(rows.offsets, endOffset); at < rows.numbers.length; at++) {
      const row = rows.numbers[at] ?? 0;
      const offset = rows.offsets[at] ?? 0;
      // Rows are used again: this one may be another blob's by now.
      const isCurrent = blobTable.segment(row) === container.local && blobTable.offset(row) === offset;
      if (!isCurrent || blobTable.kind(row) === 0) continue;
      const lengthBytes = blobTable.payloadBytes(row);
      if (offset + lengthBytes > endOffset + maxBytes) break;
      const digest = digestOfKey(blobTable.readKey(row, this.#key), lengthBytes);
      if (this.#parts.local.has(digest)) continue;
      items.push({ offset, lengthBytes, take: (bytes) => this.#take(digest, bytes) });
    }
    return items;
  }

  /** Waits for what is being kept. */
  async settled(): Promise<void> {
    await Promise.all(this.#keeping);
  }

  /** Numbers and offsets alone: with their hashes in hex the rows of one pack would take megabytes, and a tenth of a second to list. */
  #rowsOf({ local }: Container): PackRows {
    const known = this.#rows.get(local);
    if (known !== undefined) return known;
    const { blobTable } = this.#parts.index;
    const numbers = Uint32Array.from(blobTable.rowsOf(local));
    const rows = { numbers, offsets: numbers.map((row) => blobTable.offset(row)) };
    this.#rows.set(local, rows);
    return rows;
  }

  #take(digest: Digest, bytes: Uint8Array): void {
    const { local, log, closing } = this.#parts;
    // Whoever reads it by name finds out that it is damaged, and reports it.
    if (closing.aborted || digestOf(digest.function, bytes).hash !== digest.hash) return;
    const keeping = local.blobs
      .putBytes(digest, bytes, closing)
      .catch((error: unknown) => log.debug({ err: error }, 'the local tier does not keep what was read ahead'))
      .finally(() => this.#keeping.delete(keeping));
    this.#keeping.add(keeping);
  }
}

/** Index of the first offset that is `offset` or behind it. */
function firstFrom(offsets: Uint32Array, offset: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle] ?? 0) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
