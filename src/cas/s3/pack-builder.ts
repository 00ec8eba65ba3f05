import { hash } from 'node:crypto';
import { invariant } from '../../errors.ts';
import { encodeEntryBody } from './entry-body.ts';
import type { EntryVersion } from './entry-version.ts';
import type { ContainerId } from './object-names.ts';
import {
  CONDEMNATION_BYTES,
  type Condemnation,
  FOOTER_HEADER_BYTES,
  MAX_PACK_BODY_BYTES,
  MAX_PACK_CONDEMNATIONS,
  MAX_PACK_RECORDS,
  PACK_TRAILER_BYTES,
  type PackHeader,
  writeCondemnation,
  writeFooterHeader,
  writeTrailer,
} from './pack-format.ts';
import {
  ENTRY_RECORD_KIND,
  MAX_RECORD_BYTES,
  type NewPackRecord,
  REMOVAL_RECORD_KIND,
  writeRecord,
} from './pack-record.ts';

/** Room for records to begin with; it doubles. */
const FIRST_RECORDS_BYTES = 4096;

/** Where a body is in its pack. */
export interface PackedPlace {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** An entry, or the removal of one, as it is put into a pack. */
export interface NewPackEntry extends EntryVersion {
  readonly key: string;
  /** Empty for a removal. */
  readonly value: Uint8Array;
  /** Wall-clock milliseconds, below 2^48. */
  readonly writtenMs: number;
  readonly isRemoval: boolean;
}

/**
 * Puts a pack together, in memory. Bodies are kept as they are handed over and must not change afterwards. The caller keeps
 * within `MAX_PACK_RECORDS`, `MAX_PACK_CONDEMNATIONS` and `MAX_PACK_BODY_BYTES`: above it throws as for any other misuse, and
 * stays what it was.
 */
export class PackBuilder {
  readonly #header: PackHeader;
  readonly #bodies: Uint8Array[] = [];
  readonly #condemnations: Condemnation[] = [];
  #records = Buffer.allocUnsafe(FIRST_RECORDS_BYTES);
  #recordsBytes = 0;
  #recordCount = 0;
  #bodyBytes = 0;

  /** @param createdSeconds seconds since 1970, below 2^32. */
  constructor(id: ContainerId, createdSeconds: number) {
    this.#header = { id, createdSeconds };
  }

  /** Bytes of all bodies, which is where the next one begins. */
  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /** Bytes of the object as it would be now. */
  get sizeBytes(): number {
    return this.#bodyBytes + this.#footerBytes + PACK_TRAILER_BYTES;
  }

  /**
   * Adds a blob. @param kind number of its digest function.
   * @param blobHash its hash in lower-case hex; of a long one the first 64 characters suffice.
   */
  addBlob(kind: number, blobHash: string, body: Uint8Array): PackedPlace {
    invariant(kind > 0 && kind < ENTRY_RECORD_KIND, 'a blob has a digest function');
    return this.#add({ kind, hash: blobHash, lengthBytes: body.length }, body);
  }

  /** Adds an entry or the removal of one. */
  addEntry(entry: NewPackEntry): PackedPlace {
    invariant(!entry.isRemoval || entry.value.length === 0, 'a removal has no value');
    const kind = entry.isRemoval ? REMOVAL_RECORD_KIND : ENTRY_RECORD_KIND;
    const body = encodeEntryBody(entry.key, entry.value, entry.writtenMs);
    return this.addEntryBody(kind, hash('sha256', entry.key), body, entry);
  }

  /**
   * Copies the body of an entry or removal forward as it is.
   * @param kind `ENTRY_RECORD_KIND` or `REMOVAL_RECORD_KIND`. @param keyHash SHA-256 of its key, in lower-case hex.
   */
  addEntryBody(kind: number, keyHash: string, body: Uint8Array, version: EntryVersion): PackedPlace {
    invariant(kind === ENTRY_RECORD_KIND || kind === REMOVAL_RECORD_KIND, 'an entry has a kind of its own');
    return this.#add({ kind, hash: keyHash, lengthBytes: body.length, version }, body);
  }

  /** Condemns a container. */
  condemn(condemnation: Condemnation): void {
    invariant(this.#condemnations.length < MAX_PACK_CONDEMNATIONS, 'a pack has a limit of condemnations');
    this.#condemnations.push(condemnation);
  }

  /** The whole object: the bodies, then footer and trailer. */
  finish(): readonly Uint8Array[] {
    const footerBytes = this.#footerBytes;
    const end = Buffer.allocUnsafe(footerBytes + PACK_TRAILER_BYTES);
    const footer = end.subarray(0, footerBytes);
    const counts = { condemnations: this.#condemnations.length, records: this.#recordCount };
    writeFooterHeader(footer, this.#header, counts);
    let at = FOOTER_HEADER_BYTES;
    for (const condemnation of this.#condemnations) {
      writeCondemnation(footer, condemnation, at);
      at += CONDEMNATION_BYTES;
    }
    this.#records.copy(footer, at, 0, this.#recordsBytes);
    writeTrailer(end.subarray(footerBytes), footer, this.#bodyBytes);
    return [...this.#bodies, end];
  }

  get #footerBytes(): number {
    return FOOTER_HEADER_BYTES + this.#condemnations.length * CONDEMNATION_BYTES + this.#recordsBytes;
  }

  #add(record: NewPackRecord, body: Uint8Array): PackedPlace {
    const place = { offset: this.#bodyBytes, lengthBytes: body.length };
    invariant(this.#recordCount < MAX_PACK_RECORDS, 'a pack has a limit of records');
    invariant(place.offset + place.lengthBytes <= MAX_PACK_BODY_BYTES, 'a pack has a limit of bytes');
    if (this.#recordsBytes + MAX_RECORD_BYTES > this.#records.length) {
      const grown = Buffer.allocUnsafe(2 * this.#records.length);
      this.#records.copy(grown, 0, 0, this.#recordsBytes);
      this.#records = grown;
    }
    this.#recordsBytes = writeRecord(this.#records, record, this.#recordsBytes);
    this.#recordCount++;
    this.#bodyBytes += body.length;
    if (body.length > 0) this.#bodies.push(body);
    return place;
  }
}
