import { invariant, ReapiError } from '../errors.ts';

// The wire format of protobuf by hand, for the calls that are too frequent to pay for a message object per field.
// Readers never copy payloads: they give positions in, or views of, the bytes they were made from.

/** Numbers of the wire types we read ourselves. */
export const WireType = { varint: 0, fixed64: 1, delimited: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const;

/** The same bytes as a Buffer, without copying. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Walks over the fields of one message; values that nobody reads are passed over. Every method fails with `undecodable` at a byte that is
 * not protobuf (R-XC-13).
 */
export class WireReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;
  #field = 0;
  #wireType = 0;
  #tagStart = 0;
  /** Whether `at` is behind the value of the current field. */
  #isBehind = true;

  /** @param start first byte of the message in `bytes`; `end` is the byte after its last. */
  constructor(bytes: Buffer, start = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Number of the current field. */
  get field(): number {
    return this.#field;
  }

  /** Wire type of the current field. */
  get wireType(): number {
    return this.#wireType;
  }

  /** Position of the next byte to read. */
  get at(): number {
    return this.#at;
  }

  /** Position of the tag of the current field. */
  get tagStart(): number {
    return this.#tagStart;
  }

  /** Moves to the next field, whether or not the value of this one was read, and reads its tag; false at the end of the message. */
  next(): boolean {
    if (!this.#isBehind) this.skip();
    if (this.#at >= this.#end) return false;
    this.#tagStart = this.#at;
    this.#readTag();
    return true;
  }

  /** Whether the current field is this one; a known number with another wire type is an unknown field. */
  is(field: number, wireType: number): boolean {
    return this.#field === field && this.#wireType === wireType;
  }

  /** A varint as a signed number, exact up to 2^53. */
  int64(): number {
    this.#isBehind = true;
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return low;
    }
    const middle = this.#byte();
    low |= (middle & 0x0f) << 28;
    let high = (middle & 0x7f) >> 4;
    if (middle < 0x80) return high * 2 ** 32 + (low >>> 0);
    for (let shift = 3; shift <= 31; shift += 7) {
      const byte = this.#byte();
      high |= (byte & 0x7f) << shift;
      if (byte < 0x80) return high * 2 ** 32 + (low >>> 0);
    }
    throw malformed();
  }

  /** A varint as an enum or int32. */
  int32(): number {
    return this.int64() | 0;
  }

  /** Moves behind a length-delimited value; returns where it starts, and `at` is where it ends. */
  delimited(): number {
    const length = this.int64();
    const start = this.#at;
    if (length < 0 || length > this.#end - start) throw malformed();
    this.#at = start + length;
    return start;
  }

  /** A length-delimited value as a view. */
  bytes(): Buffer {
    const start = this.delimited();
    return this.#bytes.subarray(start, this.#at);
  }

  /** A length-delimited value as text. */
  text(): string {
    const start = this.delimited();
    return this.#bytes.toString('utf8', start, this.#at);
  }

  /** Moves behind the current field, whatever it is. `next` does so, too: this is for whoever wants to know where it ends. */
  skip(): void {
    let depth = 0;
    for (;;) {
      if (this.#wireType === WireType.startGroup) depth++;
      else if (this.#wireType === WireType.endGroup) depth--;
      else this.#skipValue();
      if (depth < 0) throw malformed();
      if (depth === 0) break;
      this.#readTag();
    }
    this.#isBehind = true;
  }

  #readTag(): void {
    const tag = this.int64();
    if (tag < 8 || tag > 0xffffffff) throw malformed();
    this.#field = tag >>> 3;
    this.#wireType = tag & 7;
    this.#isBehind = false;
  }

  #skipValue(): void {
    switch (this.#wireType) {
      case WireType.varint:
        this.int64();
        return;
      case WireType.fixed64:
        this.#advance(8);
        return;
      case WireType.fixed32:
        this.#advance(4);
        return;
      case WireType.delimited:
        this.delimited();
        return;
      default:
        throw malformed();
    }
  }

  #advance(count: number): void {
    if (this.#at + count > this.#end) throw malformed();
    this.#at += count;
  }

  #byte(): number {
    const byte = this.#at < this.#end ? this.#bytes[this.#at] : undefined;
    if (byte === undefined) throw malformed();
    this.#at++;
    return byte;
  }
}

/** Bytes that `value` takes as a varint; `value` is a whole number from 0 to 2^53 − 1. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** Bytes of a length-delimited field with its tag and length. */
export function delimitedSize(field: number, length: number): number {
  return varintSize(field << 3) + varintSize(length) + length;
}

/** Writes fields into a buffer whose size was computed before. */
export class WireWriter {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(sizeBytes: number) {
    this.#bytes = Buffer.allocUnsafe(sizeBytes);
  }

  /** Tag and length of a length-delimited field; its `length` bytes follow. */
  header(field: number, length: number): void {
    this.#varint((field << 3) | WireType.delimited);
    this.#varint(length);
  }

  /** Bytes as they are, or a part of them. */
  raw(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    const source = start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);
    this.#bytes.set(source, this.#at);
    this.#at += source.length;
  }

  /** The buffer, which must be full. */
  finish(): Buffer {
    invariant(this.#at === this.#bytes.length, 'a message is as long as was computed');
    return this.#bytes;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }
}

/** One length-delimited field, encoded. */
export function delimitedField(field: number, value: Uint8Array): Buffer {
  const writer = new WireWriter(delimitedSize(field, value.length));
  writer.header(field, value.length);
  writer.raw(value);
  return writer.finish();
}

/**
 * The message with its length-delimited fields replaced: `map` gives the new value, the same one to keep it, or undefined
 * to leave the field out. All else stays byte for byte, unknown fields too.
 */
export function mapFields(bytes: Buffer, map: (field: number, value: Buffer) => Uint8Array | undefined): Buffer {
  const parts: Uint8Array[] = [];
  const reader = new WireReader(bytes);
  while (reader.next()) {
    const start = reader.tagStart;
    if (reader.wireType !== WireType.delimited) {
      reader.skip();
      parts.push(bytes.subarray(start, reader.at));
      continue;
    }
    const { field } = reader;
    const value = reader.bytes();
    const mapped = map(field, value);
    if (mapped === value) parts.push(bytes.subarray(start, reader.at));
    else if (mapped !== undefined) parts.push(delimitedField(field, mapped));
  }
  return Buffer.concat(parts);
}

function malformed(): ReapiError {
  return new ReapiError('undecodable', 'the bytes are not a protobuf message');
}
