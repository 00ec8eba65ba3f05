import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../test/support/expectations.ts';
import { ReadResponse, WriteRequest } from '../gen/google/bytestream/bytestream.ts';
import { decodeWriteRequest, encodeReadResponse } from './byte-stream-wire.ts';

describe('the hand-written codecs of ByteStream', () => {
  const requests = fc.record({
    resourceName: fc.string({ unit: 'binary', maxLength: 10 }),
    writeOffset: fc.bigInt({ min: -(2n ** 53n) + 1n, max: 2n ** 53n - 1n }),
    finishWrite: fc.boolean(),
    data: fc.uint8Array({ maxLength: 300 }),
  });

  it('law: WriteRequest reads as ts-proto reads it, also behind an unknown field', () => {
    fc.assert(
      fc.property(requests, (request) => {
        const encoded = WriteRequest.encode(request).finish();
        for (const form of [encoded, Buffer.concat([Buffer.of(0x78, 0x01), encoded])]) {
          const read = decodeWriteRequest(form);
          assert.equal(read.name.toString(), request.resourceName);
          assert.equal(BigInt(read.writeOffset), request.writeOffset);
          assert.equal(read.finishWrite, request.finishWrite);
          assert.deepEqual(Buffer.from(read.data), Buffer.from(request.data));
        }
      }),
    );
  });

  it('law: ReadResponse is written as ts-proto writes it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
        assert.deepEqual(Buffer.from(ReadResponse.encode({ data }).finish()), encodeReadResponse(data));
      }),
    );
  });

  it('refuses a message that is cut as undecodable (R-XC-13)', () => {
    const encoded = WriteRequest.encode(WriteRequest.fromPartial({ data: Buffer.from('abc') })).finish();
    assert.throws(() => decodeWriteRequest(encoded.subarray(0, 3)), ofKind('undecodable'));
  });
});
