import { asBuffer, delimitedSize, WireReader, WireType, WireWriter } from '../system/protobuf-wire.ts';

/** WriteRequest; `data` and `name` are views of the encoded message. */
export interface WireWriteRequest {
  /** UTF-8; empty if left out. */
  readonly name: Buffer;
  readonly writeOffset: number;
  readonly finishWrite: boolean;
  readonly data: Buffer;
}

const NO_BYTES: Buffer = Buffer.alloc(0);

/** @throws internal. */
export function decodeWriteRequest(message: Uint8Array): WireWriteRequest {
  const reader = new WireReader(asBuffer(message));
  let name = NO_BYTES;
  let writeOffset = 0;
  let finishWrite = false;
  let data = NO_BYTES;
  while (reader.next()) {
    if (reader.is(10, WireType.delimited)) data = reader.bytes();
    else if (reader.is(2, WireType.varint)) writeOffset = reader.int64();
    else if (reader.is(3, WireType.varint)) finishWrite = reader.int64() !== 0;
    else if (reader.is(1, WireType.delimited)) name = reader.bytes();
  }
  return { name, writeOffset, finishWrite, data };
}

/** ReadResponse. */
export function encodeReadResponse(data: Uint8Array): Buffer {
  const writer = new WireWriter(data.length === 0 ? 0 : delimitedSize(10, data.length));
  if (data.length > 0) {
    writer.header(10, data.length);
    writer.raw(data);
  }
  return writer.finish();
}
