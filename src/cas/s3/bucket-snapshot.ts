import { ReapiError } from '../../errors.ts';
import { decodePage, INDEX_ROW_BYTES, type Place } from '../segment/record-index/digest-table.ts';
import { RowKey } from '../segment/record-index/row-key.ts';
import { BlockWriter, MAX_BLOCK_BYTES, readBlocks } from './block-stream.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { Container } from './containers.ts';
import { parseContainerKey } from './object-names.ts';

/*
 * A snapshot of the bucket's index, in the data folder and in the bucket: a stream of blocks (block-stream.ts).
 *
 *     type 1   JSON: which bucket, and the greatest sequence number
 *     type 2   JSON: containers, each [number in rows, key, bytes, created, keepSince or null, is damaged]
 *     type 3   rows of blobs, 49 bytes each (`DigestTable.encodePage`)
 *     type 4   rows of entries, 64 bytes each: a row as above, sequence (6), writer (8), flags (1: 1 = removal, 2 = has older values)
 *
 * Containers come before the rows in them. The index may change while it is taken; what a snapshot misses, listing the bucket finds.
 */
const FACTS = 1;
const CONTAINERS = 2;
const BLOBS = 3;
const ENTRIES = 4;

const CONTAINERS_PER_BLOCK = 10_000;
const ENTRY_BYTES = INDEX_ROW_BYTES + 15;
const ENTRIES_PER_BLOCK = 50_000;

/** What a snapshot is of. */
export interface SnapshotFacts {
  /** Which bucket: a new one may have the name of an old one. */
  readonly bucket: string;
}

type Line = readonly [number, string, number, number, number | null, boolean];

/** The bytes of a snapshot. Lets others work between its parts. */
export async function* encodeSnapshot(index: BucketIndex, { bucket }: SnapshotFacts): AsyncGenerator<Uint8Array> {
  const writer = new BlockWriter();
  const facts = { bucket, sequence: index.maxSequence };
  yield* writer.block(FACTS, Buffer.from(JSON.stringify(facts)));
  // Rows of containers that come up meanwhile are left out.
  const containers = [...index.containers];
  for (let at = 0; at < containers.length; at += CONTAINERS_PER_BLOCK) {
    const lines = containers.slice(at, at + CONTAINERS_PER_BLOCK).map(lineOf);
    yield* writer.block(CONTAINERS, Buffer.from(JSON.stringify(lines)));
  }
  for (let page = 0; page < index.blobTable.pageCount; page++) {
    const rows = index.blobTable.encodePage(page);
    if (rows.length > 0) yield* writer.block(BLOBS, rows);
  }
  for (const rows of entryBlocks(index)) yield* writer.block(ENTRIES, rows);
  yield* writer.end();
}

/**
 * Fills an empty index. Rows of unknown containers are left out.
 * @throws data-loss if it is damaged: then the index is to be thrown away; what `chunks` throws.
 */
export async function decodeSnapshot(chunks: AsyncIterable<Uint8Array>, index: BucketIndex): Promise<SnapshotFacts> {
  let facts: SnapshotFacts | undefined;
  const containers = new Map<number, Container>();
  for await (const { type, payload } of readBlocks(chunks, { maxBlockBytes: MAX_BLOCK_BYTES })) {
    if (type === FACTS) facts = takeFacts(payload, index);
    else if (type === CONTAINERS) takeContainers(payload, index, containers);
    else if (type === BLOBS) takeBlobs(payload, index, containers);
    else if (type === ENTRIES) takeEntries(payload, index, containers);
    else throw damaged();
  }
  if (facts === undefined) throw damaged();
  return facts;
}

function lineOf({ local, key, sizeBytes, createdSeconds, condemned, remembered, isDamaged }: Container): Line {
  return [local, key, sizeBytes, createdSeconds, condemned?.keepSinceSeconds ?? remembered ?? null, isDamaged];
}

function* entryBlocks({ entryTable, versions }: BucketIndex): Generator<Uint8Array> {
  const rows: number[] = [];
  entryTable.forEachRow((row) => rows.push(row));
  const key = new RowKey();
  for (let from = 0; from < rows.length; from += ENTRIES_PER_BLOCK) {
    const part = rows.slice(from, from + ENTRIES_PER_BLOCK).filter((row) => entryTable.kind(row) !== 0);
    const bytes = Buffer.alloc(part.length * ENTRY_BYTES);
    for (const [number, row] of part.entries()) {
      let at = number * ENTRY_BYTES;
      const { kind, words } = entryTable.readKey(row, key);
      at = bytes.writeUInt8(kind, at);
      for (const word of words) at = bytes.writeUInt32BE(word, at);
      at = bytes.writeUInt32LE(entryTable.segment(row), at);
      at = bytes.writeUInt32LE(entryTable.offset(row), at);
      at = bytes.writeUInt32LE(entryTable.payloadBytes(row), at);
      at = bytes.writeUInt32LE(entryTable.touched(row), at);
      const { version, isRemoval, hasPredecessor } = versions.get(row);
      at = bytes.writeUIntLE(version.sequence, at, 6);
      at += bytes.write(version.writer, at, 8, 'hex');
      bytes.writeUInt8((isRemoval ? 1 : 0) | (hasPredecessor ? 2 : 0), at);
    }
    yield bytes;
  }
}

function takeFacts(payload: Uint8Array, index: BucketIndex): SnapshotFacts {
  const value = jsonOf(payload);
  if (typeof value !== 'object' || value === null || !('bucket' in value) || !('sequence' in value)) throw damaged();
  const { bucket, sequence } = value;
  if (typeof bucket !== 'string' || typeof sequence !== 'number' || !Number.isSafeInteger(sequence)) throw damaged();
  index.sawSequence(sequence);
  return { bucket };
}

function takeContainers(payload: Uint8Array, index: BucketIndex, into: Map<number, Container>): void {
  const lines = jsonOf(payload);
  if (!Array.isArray(lines) || !lines.every(isLine)) throw damaged();
  for (const [local, key, sizeBytes, createdSeconds, keepSince, isDamaged] of lines) {
    const name = parseContainerKey(key);
    if (name === undefined) throw damaged();
    const container = index.containers.add(name, sizeBytes, createdSeconds);
    container.isDamaged = isDamaged;
    if (keepSince !== null) container.remembered = keepSince;
    into.set(local, container);
  }
}

function takeBlobs(payload: Uint8Array, index: BucketIndex, containers: ReadonlyMap<number, Container>): void {
  const isPage = decodePage(payload, (key, place) => {
    const container = containers.get(place.segment);
    if (container !== undefined) index.putBlob(key, placeIn(container, place), place.touched);
  });
  if (!isPage) throw damaged();
}

function takeEntries(payload: Uint8Array, index: BucketIndex, containers: ReadonlyMap<number, Container>): void {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.length % ENTRY_BYTES !== 0) throw damaged();
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
    const versionAt = at + INDEX_ROW_BYTES;
    const version = {
      sequence: bytes.readUIntLE(versionAt, 6),
      writer: bytes.toString('hex', versionAt + 6, versionAt + 14),
    };
    const flags = bytes.readUInt8(versionAt + 14);
    const isPage = decodePage(bytes.subarray(at, versionAt), (key, place) => {
      const container = containers.get(place.segment);
      if (container === undefined) return;
      const entry = { version, isRemoval: (flags & 1) !== 0, hasPredecessor: (flags & 2) !== 0 };
      index.putEntry(key, placeIn(container, place), entry, place.touched);
    });
    if (!isPage) throw damaged();
  }
}

function placeIn(container: Container, { offset, payloadBytes }: Place) {
  return { container, offset, lengthBytes: container.digest?.sizeBytes ?? payloadBytes };
}

function isLine(value: unknown): value is Line {
  if (!Array.isArray(value) || value.length !== 6) return false;
  const [local, key, sizeBytes, createdSeconds, keepSince, isDamaged] = value as readonly unknown[];
  const areNumbers = [local, sizeBytes, createdSeconds, keepSince ?? 0].every((number) => Number.isSafeInteger(number));
  return areNumbers && typeof key === 'string' && typeof isDamaged === 'boolean';
}

function jsonOf(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString());
  } catch (error) {
    if (error instanceof SyntaxError) throw damaged();
    throw error;
  }
}

function damaged(): ReapiError {
  return new ReapiError('data-loss', 'the snapshot of the bucket index is damaged');
}
