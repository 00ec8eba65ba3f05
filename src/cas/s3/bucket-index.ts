import { type Digest, isEmptyBlob } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { invariant } from '../../errors.ts';
import { ENTRY_KIND } from '../segment/log/format.ts';
import { DigestTable } from '../segment/record-index/digest-table.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import type { Container, Containers } from './containers.ts';
import { compareVersions, type EntryVersion } from './entry-version.ts';
import { compareContainers } from './object-names.ts';
import { type EntryFacts, VersionColumn } from './version-column.ts';

/** Where bytes are in the bucket. */
export interface BucketPlace {
  readonly container: Container;
  readonly offset: number;
  readonly lengthBytes: number;
}

/** An entry as a footer or a snapshot tells of it. */
export interface NewEntry {
  readonly version: EntryVersion;
  readonly isRemoval: boolean;
  /** Known from a snapshot; else found out by what is in the index. */
  readonly hasPredecessor?: boolean;
}

/** What the index knows of an entry. */
export interface IndexedEntry extends BucketPlace {
  readonly version: EntryVersion;
  readonly isRemoval: boolean;
}

/** A row as it was when it was listed. */
export interface IndexedRow {
  readonly kind: number;
  /** First 32 bytes of the blob's hash, or the SHA-256 of the entry's key, in hex. */
  readonly hash: string;
  readonly place: BucketPlace;
  readonly touched: number;
  /** Of an entry. */
  readonly entry?: EntryFacts;
}

const LENGTH_MODULUS = 2 ** 32;

/**
 * What the bucket holds, exactly: every blob and the newest value of every entry, with container, place and time of last use. It is the
 * only thing that answers whether something is there; S3 is never asked (ADR 8).
 *
 * A blob that several containers hold has one row; the other copies are garbage.
 */
export class BucketIndex {
  readonly containers: Containers;
  readonly blobTable: DigestTable;
  readonly entryTable: DigestTable;
  readonly versions = new VersionColumn();
  readonly #key = new RowKey();
  #maxSequence = 0;

  /** @param seed 32 bits that nobody can guess. */
  constructor(containers: Containers, seed: number) {
    this.containers = containers;
    this.blobTable = new DigestTable({ seed, expectedRows: 0 });
    this.entryTable = new DigestTable({ seed, expectedRows: 0 });
  }

  /** The greatest sequence number that was ever seen. */
  get maxSequence(): number {
    return this.#maxSequence;
  }

  /** A writer said that it had come this far. */
  sawSequence(sequence: number): void {
    this.#maxSequence = Math.max(this.#maxSequence, sequence);
  }

  get memoryBytes(): number {
    return this.blobTable.memoryBytes + this.entryTable.memoryBytes + this.versions.memoryBytes;
  }

  /** The row of a blob, or −1. Right hash and wrong size is another, absent blob (R-DIG-02). */
  blobRow(digest: Digest): number {
    const { blobTable } = this;
    const row = blobTable.find(this.#key.setHex(digestFunctionToWire(digest.function), digest.hash));
    if (row < 0) return -1;
    const large = this.#containerAt(blobTable, row).digest;
    const isSame =
      large === undefined ? blobTable.payloadBytes(row) === digest.sizeBytes : large.sizeBytes === digest.sizeBytes;
    return isSame ? row : -1;
  }

  /** Whether a blob is in the bucket to stay, not in a condemned container. */
  keepsBlob(key: RowKey): boolean {
    const row = this.blobTable.find(key);
    return row >= 0 && isStaying(this.containerOf(row));
  }

  /** Whether a blob is in the bucket to stay. */
  keeps(digest: Digest): boolean {
    const row = this.blobRow(digest);
    return row >= 0 && isStaying(this.containerOf(row));
  }

  /** Where a blob is, or undefined. The empty blob is nowhere. */
  findBlob(digest: Digest): BucketPlace | undefined {
    const row = isEmptyBlob(digest) ? -1 : this.blobRow(digest);
    return row < 0 ? undefined : this.#placeAt(this.blobTable, row);
  }

  /** The newest value of an entry, which may be that it was removed. @param hash SHA-256 of its key in hex. */
  findEntry(hash: string): IndexedEntry | undefined {
    const row = this.entryTable.find(this.#key.setHex(ENTRY_KIND, hash));
    if (row < 0) return undefined;
    const { version, isRemoval } = this.versions.get(row);
    return { ...this.#placeAt(this.entryTable, row), version, isRemoval };
  }

  /** The container of a blob's row. */
  containerOf(row: number): Container {
    return this.#containerAt(this.blobTable, row);
  }

  /** Notes a use, in seconds since 1970. */
  touchEntry(hash: string, now: number): void {
    const row = this.entryTable.find(this.#key.setHex(ENTRY_KIND, hash));
    if (row >= 0) this.entryTable.setTouched(row, now);
  }

  /**
   * A blob is in a container. Of several that hold it, it is looked for in the last (`compareContainers`) that is not condemned: the copy, and
   * the same on all servers, so that none of them leaves its own for that of another which does likewise.
   */
  putBlob(key: RowKey, place: BucketPlace, touched: number): void {
    if (place.container.condemned !== undefined) return;
    const { blobTable } = this;
    const row = blobTable.find(key);
    let lastUse = touched;
    if (row >= 0) {
      lastUse = Math.max(lastUse, blobTable.touched(row));
      if (!isPreferred(place.container, this.#containerAt(blobTable, row))) {
        blobTable.setTouched(row, lastUse);
        return;
      }
      this.#remove(blobTable, row);
    }
    this.#add(blobTable, key, place, lastUse);
  }

  /**
   * A value of an entry is in a container. Of an older value than the known one only its existence is remembered; for the same value it
   * is as with blobs.
   */
  putEntry(key: RowKey, place: BucketPlace, entry: NewEntry, touched: number): void {
    const { entryTable, versions } = this;
    this.sawSequence(entry.version.sequence);
    if (place.container.condemned !== undefined) return;
    let hasPredecessor = entry.hasPredecessor ?? false;
    let lastUse = touched;
    const row = entryTable.find(key);
    if (row >= 0) {
      const known = versions.get(row);
      const order = compareVersions(entry.version, known.version);
      if (order < 0) {
        versions.set(row, { ...known, hasPredecessor: true });
        return;
      }
      // Somebody forgot the value and hides older ones; where it is still used it stays.
      if (order === 0 && entry.isRemoval && !known.isRemoval) return;
      const isSame = order === 0 && entry.isRemoval === known.isRemoval;
      lastUse = Math.max(lastUse, entryTable.touched(row));
      if (isSame && !isPreferred(place.container, this.#containerAt(entryTable, row))) {
        entryTable.setTouched(row, lastUse);
        return;
      }
      hasPredecessor ||= known.hasPredecessor || order > 0;
      this.#remove(entryTable, row);
    }
    const added = this.#add(entryTable, key, place, lastUse);
    versions.set(added, { version: entry.version, isRemoval: entry.isRemoval, hasPredecessor });
  }

  /**
   * No use is later than `now`, in seconds since 1970. To be called when an index was loaded: had the clock been ahead when it was written, its
   * rows would count as used just now for as long as that.
   */
  capTouched(now: number): void {
    for (const table of [this.blobTable, this.entryTable]) {
      table.forEachRow((row) => {
        if (table.touched(row) > now) table.setTouched(row, now);
      });
    }
  }

  /** The rows of a container, in the order of their places. */
  rowsOf(container: Container): readonly IndexedRow[] {
    return [...this.#rows(this.blobTable, container), ...this.#rows(this.entryTable, container)];
  }

  /** Whether the row that was listed is still as it was. */
  isCurrent({ kind, hash, place }: IndexedRow): boolean {
    const table = kind === ENTRY_KIND ? this.entryTable : this.blobTable;
    const row = table.find(this.#key.setHex(kind, hash));
    return row >= 0 && table.segment(row) === place.container.local && table.offset(row) === place.offset;
  }

  /** Time of last use of a row that `isCurrent`. */
  touchedOf({ kind, hash }: IndexedRow): number {
    const table = kind === ENTRY_KIND ? this.entryTable : this.blobTable;
    const row = table.find(this.#key.setHex(kind, hash));
    return row < 0 ? 0 : table.touched(row);
  }

  /** Forgets a row, if it is still as it was listed. */
  drop(row: IndexedRow): void {
    if (!this.isCurrent(row)) return;
    const table = row.kind === ENTRY_KIND ? this.entryTable : this.blobTable;
    this.#remove(table, table.find(this.#key.setHex(row.kind, row.hash)));
  }

  /** A blob turned out to be damaged, or its container to be gone. */
  dropBlob(digest: Digest, container: Container): void {
    const row = this.blobRow(digest);
    if (row >= 0 && this.#containerAt(this.blobTable, row) === container) this.#remove(this.blobTable, row);
  }

  /** The object is gone: forgets the container and what it held. @returns number of rows that were lost with it. */
  forget(container: Container): number {
    const rows = this.rowsOf(container);
    for (const row of rows) this.drop(row);
    this.containers.remove(container);
    return rows.length;
  }

  #rows(table: DigestTable, container: Container): IndexedRow[] {
    return table.rowsOf(container.local).map((row) => {
      const kind = table.kind(row);
      const listed = {
        kind,
        hash: table.readKey(row, this.#key).hex(),
        place: this.#placeAt(table, row),
        touched: table.touched(row),
      };
      return kind === ENTRY_KIND ? { ...listed, entry: this.versions.get(row) } : listed;
    });
  }

  #containerAt(table: DigestTable, row: number): Container {
    const container = this.containers.at(table.segment(row));
    invariant(container !== undefined, 'a row is in a container that is known');
    return container;
  }

  #placeAt(table: DigestTable, row: number): BucketPlace {
    const container = this.#containerAt(table, row);
    const lengthBytes = container.digest?.sizeBytes ?? table.payloadBytes(row);
    return { container, offset: table.offset(row), lengthBytes };
  }

  #add(table: DigestTable, key: RowKey, { container, offset, lengthBytes }: BucketPlace, touched: number): number {
    container.liveBytes += lengthBytes;
    container.liveRows++;
    const payloadBytes = lengthBytes % LENGTH_MODULUS;
    return table.add(key, { segment: container.local, offset, payloadBytes, touched });
  }

  #remove(table: DigestTable, row: number): void {
    const { container, lengthBytes } = this.#placeAt(table, row);
    container.liveBytes -= lengthBytes;
    container.liveRows--;
    table.remove(row);
  }
}

/** Whether what the container holds is there to stay, as far as is known. */
function isStaying({ condemned, remembered }: Container): boolean {
  return condemned === undefined && remembered === undefined;
}

/** Whether of two containers that hold the same, the first is the one to look in. The same one again is: its place may be another. */
function isPreferred(container: Container, other: Container): boolean {
  return !isStaying(other) || compareContainers(container.id, other.id) >= 0;
}
