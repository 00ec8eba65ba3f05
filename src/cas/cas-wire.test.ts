import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ofKind } from '../../test/support/expectations.ts';
import { parseDigest } from '../digest/digest.ts';
import { ReapiError } from '../errors.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  Digest,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetTreeResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Status } from '../gen/google/rpc/status.ts';
import { WireReader } from '../system/protobuf-wire.ts';
import {
  decodeBatchRead,
  decodeBatchUpdate,
  decodeFindMissing,
  encodeBatchRead,
  encodeBatchUpdated,
  encodeTreePage,
  parseWireDigest,
  readDigest,
} from './cas-wire.ts';

const wireDigests = fc.record(
  {
    hash: fc.string({ unit: 'grapheme-ascii', maxLength: 70 }),
    sizeBytes: fc.bigInt({ min: -(2n ** 53n) + 1n, max: 2n ** 53n - 1n }),
  },
  { noNullPrototype: true },
);
const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value));
const functions = fc.constantFrom(0, 1, 9);
const instanceName = fc.string({ maxLength: 10 });

/** Fields no schema of ours has: numbers from 100, every wire type. */
const UNKNOWN = Buffer.from([
  0xa0, 0x06, 0x05, 0xaa, 0x06, 0x01, 0x78, 0xb5, 0x06, 1, 2, 3, 4, 0xb9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8,
]);

/** The same message with its fields in the opposite order, and unknown ones at both ends. Repeated fields keep their order. */
function shuffled(message: Uint8Array): Buffer {
  const whole = Buffer.from(message);
  const byField = new Map<number, Buffer[]>();
  const reader = new WireReader(whole);
  while (reader.next()) {
    const { field, tagStart } = reader;
    reader.skip();
    byField.set(field, [...(byField.get(field) ?? []), whole.subarray(tagStart, reader.at)]);
  }
  return Buffer.concat([UNKNOWN, ...[...byField.values()].reverse().flat(), UNKNOWN]);
}

function digestsOf(request: ReturnType<typeof decodeFindMissing>): Digest[] {
  return Array.from({ length: request.digests.count }, (_, index) => {
    const { hash, sizeBytes } = request.digests.read(index);
    assert.deepEqual(Digest.decode(request.digests.raw(index)), { hash, sizeBytes: BigInt(sizeBytes) });
    return { hash, sizeBytes: BigInt(sizeBytes) };
  });
}

describe('parseWireDigest', () => {
  const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((hash) => Buffer.from(hash).toString('hex'));
  const sizes = fc.oneof(
    fc.constantFrom(0n, 1n, 127n, 128n, 2n ** 28n - 1n, 2n ** 28n, 2n ** 53n - 1n, 2n ** 53n, -1n),
    fc.bigInt({ min: 0n, max: 2n ** 40n }),
  );
  const anyWire = fc.oneof(fc.record({ hash: hex, sizeBytes: sizes }), wireDigests);

  /** What a call gives, or the kind and words of what it throws. */
  function outcome(parse: () => unknown): unknown {
    try {
      return parse();
    } catch (error) {
      if (error instanceof ReapiError) return { kind: error.kind, message: error.message, facts: error.facts };
      throw error;
    }
  }

  function agrees(message: Buffer): void {
    const within = Buffer.concat([Buffer.from([1, 2, 3]), message, Buffer.from([0x10, 0x05, 0xff])]);
    const slow = outcome(() => {
      const { hash, sizeBytes } = readDigest(message);
      return parseDigest('sha256', hash, sizeBytes);
    });
    assert.deepEqual(
      outcome(() => parseWireDigest('sha256', within, 3, 3 + message.length)),
      slow,
    );
  }

  it('law: reads what the general reader reads, and refuses with the same words (R-DIG-01, R-DIG-02)', () => {
    fc.assert(
      fc.property(anyWire, (wire) => {
        const message = Buffer.from(Digest.encode(Digest.fromPartial(wire)).finish());
        agrees(message);
        agrees(shuffled(message));
      }),
      { numRuns: 300 },
    );
  });

  it('law: agrees with the general reader on a message with any one byte changed, and on any part of it', () => {
    const message = Buffer.from(Digest.encode(Digest.fromPartial({ hash: '0a'.repeat(32), sizeBytes: 300n })).finish());
    for (let at = 0; at <= message.length; at++) agrees(message.subarray(0, at));
    fc.assert(
      fc.property(fc.nat(message.length - 1), fc.nat(255), (at, byte) => {
        const changed = Buffer.from(message);
        changed[at] = byte;
        agrees(changed);
      }),
      { numRuns: 500 },
    );
  });

  it('takes the last of repeated fields, and sizes with needless bytes, as any reader does', () => {
    const hash = Buffer.from(Digest.encode(Digest.fromPartial({ hash: 'ab'.repeat(32) })).finish());
    for (const tail of [
      [0x10, 5, 0x10, 6],
      [0x10, 0x85, 0x80, 0],
      [0x10, 0x80, 0x80, 0x80, 0x80, 1],
      [0x10, 0x80],
    ]) {
      agrees(Buffer.concat([hash, Buffer.from(tail)]));
    }
  });
});

describe('the hand-written codecs of ContentAddressableStorage', () => {
  it('law: FindMissingBlobsRequest reads as ts-proto reads it, in any order and with unknown fields', () => {
    const requests = fc.record({ instanceName, blobDigests: fc.array(wireDigests), digestFunction: functions });
    fc.assert(
      fc.property(requests, (request) => {
        const encoded = FindMissingBlobsRequest.encode(FindMissingBlobsRequest.fromPartial(request)).finish();
        for (const form of [encoded, shuffled(encoded)]) {
          const read = decodeFindMissing(form);
          const { instanceName, digestFunction } = read;
          assert.deepEqual(
            { instanceName, digestFunction, blobDigests: digestsOf(read) },
            FindMissingBlobsRequest.decode(form),
          );
        }
      }),
    );
  });

  it('law: BatchReadBlobsRequest reads as ts-proto reads it, compressors left out', () => {
    const requests = fc.record({
      instanceName,
      digests: fc.array(wireDigests),
      digestFunction: functions,
      acceptableCompressors: fc.array(fc.constantFrom(0, 1)),
    });
    fc.assert(
      fc.property(requests, (request) => {
        const encoded = BatchReadBlobsRequest.encode(BatchReadBlobsRequest.fromPartial(request)).finish();
        for (const form of [encoded, shuffled(encoded)]) {
          const read = decodeBatchRead(form);
          const { acceptableCompressors: _, ...expected } = BatchReadBlobsRequest.decode(form);
          const { instanceName, digestFunction } = read;
          assert.deepEqual({ instanceName, digestFunction, digests: digestsOf(read) }, expected);
        }
      }),
    );
  });

  it('law: BatchUpdateBlobsRequest reads as ts-proto reads it, in any order and with unknown fields', () => {
    const entries = fc.record({
      digest: fc.option(wireDigests, { nil: undefined }),
      data: bytes,
      compressor: fc.constantFrom(0, 1, 2),
    });
    const requests = fc.record({ instanceName, requests: fc.array(entries), digestFunction: functions });
    fc.assert(
      fc.property(requests, (request) => {
        const encoded = BatchUpdateBlobsRequest.encode(BatchUpdateBlobsRequest.fromPartial(request)).finish();
        for (const form of [encoded, shuffled(encoded)]) {
          const expected = BatchUpdateBlobsRequest.decode(form);
          const read = decodeBatchUpdate(form);
          assert.equal(read.instanceName, expected.instanceName);
          assert.equal(read.digestFunction, expected.digestFunction);
          assert.deepEqual(
            read.entries.map(({ rawDigest, digest, data, compressor }) => ({
              digest: rawDigest && { hash: digest.hash, sizeBytes: BigInt(digest.sizeBytes) },
              data: Buffer.from(data),
              compressor,
            })),
            expected.requests.map((entry) => ({ ...entry, data: Buffer.from(entry.data) })),
          );
        }
      }),
    );
  });

  it('takes the last of a singular field that occurs twice', () => {
    const twice = Buffer.concat([
      FindMissingBlobsRequest.encode(
        FindMissingBlobsRequest.fromPartial({ instanceName: 'a', digestFunction: 1 }),
      ).finish(),
      FindMissingBlobsRequest.encode(
        FindMissingBlobsRequest.fromPartial({ instanceName: 'b', digestFunction: 9 }),
      ).finish(),
    ]);
    const { instanceName, digestFunction } = decodeFindMissing(twice);
    assert.deepEqual({ instanceName, digestFunction }, { instanceName: 'b', digestFunction: 9 });
  });

  it('law: FindMissingBlobsResponse is any part of the digests of the request, in its order', () => {
    const blobDigests = fc.array(fc.tuple(wireDigests, fc.boolean()));
    fc.assert(
      fc.property(blobDigests, instanceName, (marked, name) => {
        const request = FindMissingBlobsRequest.fromPartial({
          instanceName: name,
          blobDigests: marked.map(([digest]) => digest),
          digestFunction: 1,
        });
        const encoded = FindMissingBlobsRequest.encode(request).finish();
        const indexes = marked.flatMap(([, isMissing], index) => (isMissing ? [index] : []));
        for (const form of [encoded, shuffled(encoded)]) {
          const answer = decodeFindMissing(form).digests.encodeMissing(indexes);
          assert.deepEqual(
            FindMissingBlobsResponse.decode(answer).missingBlobDigests,
            marked.flatMap(([digest, isMissing]) => (isMissing ? [digest] : [])),
          );
        }
      }),
    );
  });

  it('copies digests of the answer also when other fields stand between them', () => {
    const fields = [1n, 2n, 3n].map((sizeBytes) =>
      Buffer.from(
        FindMissingBlobsRequest.encode(
          FindMissingBlobsRequest.fromPartial({ blobDigests: [{ hash: 'a', sizeBytes }] }),
        ).finish(),
      ),
    );
    const { digests } = decodeFindMissing(Buffer.concat(fields.flatMap((field) => [UNKNOWN, field])));
    assert.deepEqual(digests.encodeMissing([0, 1, 2]), Buffer.concat(fields));
    assert.deepEqual(digests.encodeMissing([1]), fields[1]);
    assert.deepEqual(digests.encodeMissing([]), Buffer.alloc(0));
  });

  it('law: a request cut inside a field is refused as undecodable (R-XC-13)', () => {
    const request = BatchUpdateBlobsRequest.fromPartial({
      requests: [{ digest: { hash: 'abc', sizeBytes: 3n }, data: Buffer.from('abc') }],
    });
    const encoded = Buffer.from(BatchUpdateBlobsRequest.encode(request).finish());
    for (let length = 1; length < encoded.length; length++) {
      assert.throws(() => decodeBatchUpdate(encoded.subarray(0, length)), ofKind('undecodable'), `cut at ${length}`);
    }
  });

  it('law: answers read by ts-proto are what was written', () => {
    const statuses = fc.record({ code: fc.nat({ max: 16 }), message: fc.string({ maxLength: 5 }) });
    const outcomes = fc.array(fc.record({ digest: wireDigests, status: statuses, data: bytes }));
    fc.assert(
      fc.property(outcomes, (list) => {
        const raw = list.map(({ digest, status, data }) => ({
          rawDigest: Digest.encode(digest).finish(),
          status: Status.encode(Status.fromPartial(status)).finish(),
          data,
        }));
        const read = BatchReadBlobsResponse.decode(encodeBatchRead(raw));
        const updated = BatchUpdateBlobsResponse.decode(
          encodeBatchUpdated(raw.map((one) => ({ ...one, data: Buffer.alloc(0) }))),
        );
        list.forEach(({ digest, status, data }, index) => {
          const expected = { digest, status: Status.fromPartial(status) };
          assert.deepEqual(updated.responses[index], expected);
          const { data: readData, ...rest } = read.responses[index] ?? { data: Buffer.alloc(0) };
          assert.deepEqual(rest, { ...expected, compressor: 0 });
          assert.deepEqual(Buffer.from(readData), data);
        });
      }),
    );
  });

  it('writes pages that ts-proto reads, the empty directory and the last page without token included', () => {
    const page = GetTreeResponse.decode(encodeTreePage([Buffer.alloc(0), Buffer.alloc(0)], 'next'));
    assert.deepEqual([page.directories.length, page.nextPageToken], [2, 'next']);
    assert.equal(GetTreeResponse.decode(encodeTreePage([Buffer.alloc(0)], '')).nextPageToken, '');
  });
});
