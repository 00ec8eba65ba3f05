import { type Digest, isLowerHex, parseDigest } from '../digest/digest.ts';
import { type DigestFunction, hexLength } from '../digest/digest-function.ts';
import { asBuffer, delimitedSize, WireReader, WireType, WireWriter } from '../system/protobuf-wire.ts';

// The hot messages of ContentAddressableStorage by hand (performance: a unary call costs as much as decoding it would).
// Digests are kept as positions in the request, so that an answer copies them as they came.

/** A digest that has not been checked yet. */
export interface RawDigest {
  readonly hash: string;
  readonly sizeBytes: number;
}

/** Positions of encoded `Digest` messages in a request. */
export class DigestSpans {
  readonly #bytes: Buffer;
  /** Of each field: its tag, its value, and the byte after it. */
  readonly #bounds: number[] = [];

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get count(): number {
    return this.#bounds.length / 3;
  }

  /** @param tagStart where the field begins that holds the digest. */
  add(tagStart: number, start: number, end: number): void {
    this.#bounds.push(tagStart, start, end);
  }

  /** Hash and size as they are written. @throws internal if the bytes are not a message. */
  read(index: number): RawDigest {
    return readDigest(this.#bytes, this.#bounds[index * 3 + 1], this.#bounds[index * 3 + 2]);
  }

  /** The digest, checked. @throws as `parseWireDigest`. */
  parse(fn: DigestFunction, index: number): Digest {
    return parseWireDigest(fn, this.#bytes, this.#bounds[index * 3 + 1] ?? 0, this.#bounds[index * 3 + 2] ?? 0);
  }

  /** The encoded digest as a view. */
  raw(index: number): Buffer {
    return this.#bytes.subarray(this.#bounds[index * 3 + 1], this.#bounds[index * 3 + 2]);
  }

  /**
   * FindMissingBlobsResponse for digests of a FindMissingBlobsRequest. Both messages have digests in field 2, so the fields
   * are copied as they came, tags included, and neighbours together.
   * @param missing indexes, ascending.
   */
  encodeMissing(missing: readonly number[]): Buffer {
    let sizeBytes = 0;
    for (const index of missing) sizeBytes += this.#endOf(index) - this.#tagOf(index);
    const copy = Buffer.allocUnsafe(sizeBytes);
    let at = 0;
    for (let next = 0; next < missing.length; ) {
      const first = missing[next++] ?? 0;
      let end = this.#endOf(first);
      while (next < missing.length && this.#tagOf(missing[next] ?? 0) === end) end = this.#endOf(missing[next++] ?? 0);
      at += this.#bytes.copy(copy, at, this.#tagOf(first), end);
    }
    return copy;
  }

  #tagOf(index: number): number {
    return this.#bounds[index * 3] ?? 0;
  }

  #endOf(index: number): number {
    return this.#bounds[index * 3 + 2] ?? 0;
  }
}

/**
 * The checked digest in the `Digest` message at a position. What serializers write, the hash and then a size, is read
 * without a reader, and the hash is checked while it is bytes, at half of what it costs as text.
 * @throws internal if the bytes are not a message; invalid-argument as `parseDigest`.
 */
export function parseWireDigest(fn: DigestFunction, bytes: Buffer, start: number, end: number): Digest {
  const length = hexLength(fn);
  const hashStart = start + 2;
  const hashEnd = hashStart + length;
  if (hashEnd <= end && bytes[start] === HASH_TAG && bytes[start + 1] === length) {
    const sizeBytes = plainSize(bytes, hashEnd, end);
    if (sizeBytes >= 0 && isLowerHex(bytes, hashStart, hashEnd)) {
      return { function: fn, hash: bytes.toString('latin1', hashStart, hashEnd), sizeBytes };
    }
  }
  const { hash, sizeBytes } = readDigest(bytes, start, end);
  return parseDigest(fn, hash, sizeBytes);
}

/** `Digest.hash` with a length in one byte, and `Digest.size_bytes`. */
const HASH_TAG = 0x0a;
const SIZE_TAG = 0x10;

/** The size, if nothing or one size of at most four bytes is left; else −1, which says nothing but "read it properly". */
function plainSize(bytes: Buffer, start: number, end: number): number {
  if (start === end) return 0;
  if (bytes[start] !== SIZE_TAG || end - start > 5) return -1;
  let size = 0;
  for (let at = start + 1, shift = 0; at < end; at++, shift += 7) {
    const byte = bytes[at] ?? 0;
    size |= (byte & 0x7f) << shift;
    if (byte < 0x80) return at + 1 === end ? size : -1;
  }
  return -1;
}

/** Reads the `Digest` message at a position. @throws internal. */
export function readDigest(bytes: Buffer, start?: number, end?: number): RawDigest {
  const reader = new WireReader(bytes, start, end);
  let hash = '';
  let sizeBytes = 0;
  while (reader.next()) {
    if (reader.is(1, WireType.delimited)) {
      const from = reader.delimited();
      hash = bytes.toString('latin1', from, reader.at);
    } else if (reader.is(2, WireType.varint)) sizeBytes = reader.int64();
  }
  return { hash, sizeBytes };
}

/** What FindMissingBlobsRequest and BatchReadBlobsRequest have in common. */
export interface DigestsRequest {
  readonly instanceName: string;
  /** Value of the `DigestFunction.Value` enum. */
  readonly digestFunction: number;
  readonly digests: DigestSpans;
}

/** @throws internal. */
export function decodeFindMissing(request: Uint8Array): DigestsRequest {
  return decodeDigests(request, 3);
}

/** `acceptable_compressors` is left out: identity is always acceptable (R-CAS-11). @throws internal. */
export function decodeBatchRead(request: Uint8Array): DigestsRequest {
  return decodeDigests(request, 4);
}

function decodeDigests(request: Uint8Array, functionField: number): DigestsRequest {
  const bytes = asBuffer(request);
  const reader = new WireReader(bytes);
  const digests = new DigestSpans(bytes);
  let instanceName = '';
  let digestFunction = 0;
  while (reader.next()) {
    if (reader.is(2, WireType.delimited)) {
      const { tagStart } = reader;
      const start = reader.delimited();
      digests.add(tagStart, start, reader.at);
    } else if (reader.is(1, WireType.delimited)) instanceName = reader.text();
    else if (reader.is(functionField, WireType.varint)) digestFunction = reader.int32();
  }
  return { instanceName, digestFunction, digests };
}

/** One blob of a BatchUpdateBlobsRequest. */
export interface UpdateEntry {
  /** Encoded; undefined if absent. */
  readonly rawDigest: Buffer | undefined;
  readonly digest: RawDigest;
  /** A view of the request. */
  readonly data: Buffer;
  /** Value of the `Compressor.Value` enum. */
  readonly compressor: number;
}

/** BatchUpdateBlobsRequest. */
export interface BatchUpdate {
  readonly instanceName: string;
  readonly digestFunction: number;
  readonly entries: readonly UpdateEntry[];
}

const NO_BYTES: Buffer = Buffer.alloc(0);

/** @throws internal. */
export function decodeBatchUpdate(request: Uint8Array): BatchUpdate {
  const reader = new WireReader(asBuffer(request));
  const entries: UpdateEntry[] = [];
  let instanceName = '';
  let digestFunction = 0;
  while (reader.next()) {
    if (reader.is(2, WireType.delimited)) entries.push(decodeUpdateEntry(reader.bytes()));
    else if (reader.is(1, WireType.delimited)) instanceName = reader.text();
    else if (reader.is(5, WireType.varint)) digestFunction = reader.int32();
  }
  return { instanceName, digestFunction, entries };
}

function decodeUpdateEntry(bytes: Buffer): UpdateEntry {
  const reader = new WireReader(bytes);
  let rawDigest: Buffer | undefined;
  let data = NO_BYTES;
  let compressor = 0;
  while (reader.next()) {
    if (reader.is(1, WireType.delimited)) rawDigest = reader.bytes();
    else if (reader.is(2, WireType.delimited)) data = reader.bytes();
    else if (reader.is(3, WireType.varint)) compressor = reader.int32();
  }
  return { rawDigest, digest: readDigest(rawDigest ?? NO_BYTES), data, compressor };
}

/** The outcome for one blob of a batch. `status` is an encoded google.rpc.Status; empty means OK. */
export interface BatchOutcome {
  readonly rawDigest: Uint8Array | undefined;
  readonly status: Uint8Array;
  /** Bytes read; empty for updates and failures. */
  readonly data: Uint8Array;
}

/** BatchUpdateBlobsResponse. The status is always present: some clients take an absent one for a failure. */
export function encodeBatchUpdated(outcomes: readonly BatchOutcome[]): Buffer {
  return encodeOutcomes(outcomes, { statusField: 2 });
}

/** BatchReadBlobsResponse, all identity. */
export function encodeBatchRead(outcomes: readonly BatchOutcome[]): Buffer {
  return encodeOutcomes(outcomes, { statusField: 3 });
}

function encodeOutcomes(outcomes: readonly BatchOutcome[], fields: { readonly statusField: number }): Buffer {
  const { statusField } = fields;
  const sizes = outcomes.map(({ rawDigest, status, data }) => {
    const digestBytes = rawDigest === undefined ? 0 : delimitedSize(1, rawDigest.length);
    const dataBytes = data.length === 0 ? 0 : delimitedSize(2, data.length);
    return digestBytes + dataBytes + delimitedSize(statusField, status.length);
  });
  const writer = new WireWriter(sizes.reduce((total, size) => total + delimitedSize(1, size), 0));
  outcomes.forEach(({ rawDigest, status, data }, index) => {
    writer.header(1, sizes[index] ?? 0);
    if (rawDigest !== undefined) writeField(writer, 1, rawDigest);
    if (data.length > 0) writeField(writer, 2, data);
    writeField(writer, statusField, status);
  });
  return writer.finish();
}

/** GetTreeResponse over Directory messages as they are stored. An empty token is left out: the last page (R-CAS-15). */
export function encodeTreePage(directories: readonly Uint8Array[], nextPageToken: string): Buffer {
  const token = Buffer.from(nextPageToken);
  let sizeBytes = token.length === 0 ? 0 : delimitedSize(2, token.length);
  for (const directory of directories) sizeBytes += delimitedSize(1, directory.length);
  const writer = new WireWriter(sizeBytes);
  for (const directory of directories) writeField(writer, 1, directory);
  if (token.length > 0) writeField(writer, 2, token);
  return writer.finish();
}

function writeField(writer: WireWriter, field: number, value: Uint8Array): void {
  writer.header(field, value.length);
  writer.raw(value);
}
