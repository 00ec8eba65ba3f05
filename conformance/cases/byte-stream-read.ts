import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { ByteStreamDefinition } from '../../src/gen/google/bytestream/bytestream.ts';
import { bytesOf, EMPTY_BLOB, freshBlob, readAll, readName, resource, storeBlobs, writeBlob } from '../blobs.ts';
import { type CaseContext, conformanceCase } from '../case.ts';
import { expectEnd } from '../expect.ts';

const { INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE } = status;

async function storedBlob(context: CaseContext, sizeBytes = 1000) {
  const blob = freshBlob(sizeBytes);
  await storeBlobs(context, [blob]);
  return { ...blob, name: readName(context, blob.digest) };
}

const HASH = 'ab'.repeat(32);

/** Names that are not the name of a blob to read: [case, what is wrong, name]. */
const MALFORMED: readonly (readonly [string, string, string])[] = [
  ['no-blob', 'nothing after blobs', 'blobs'],
  ['no-size', 'no size', `blobs/${HASH}`],
  ['short-hash', 'a hash of 63 digits', `blobs/${HASH.slice(1)}/7`],
  ['upper-case', 'an upper-case hash', `blobs/${HASH.toUpperCase()}/7`],
  ['size-text', 'a size that is no number', `blobs/${HASH}/seven`],
  ['size-negative', 'a negative size', `blobs/${HASH}/-7`],
  ['extra-segment', 'something after the size', `blobs/${HASH}/7/more`],
  ['unknown-compressor', 'a compressor nobody knows', `compressed-blobs/gzip9/${HASH}/7`],
  ['path', 'a path in place of the hash', 'blobs/../../../../etc/passwd/7'],
  ['empty', 'no characters at all', ''],
];

const malformedCases = MALFORMED.map(([name, what, rest]) =>
  conformanceCase(
    {
      id: `byte-stream.read.name.${name}`,
      level: name === 'unknown-compressor' || name === 'empty' ? 'SHOULD' : 'MUST',
      requirements: 'R-BS-04 R-BS-05',
      rule: `A resource name with ${what} is refused.`,
    },
    async (context) => expectEnd(await readAll(context, rest === '' ? '' : resource(context, rest)), INVALID_ARGUMENT),
  ),
);

const rangeCases = [
  conformanceCase(
    {
      id: 'byte-stream.read.offset',
      level: 'MUST',
      requirements: 'R-BS-10',
      rule: 'A read may start anywhere in the blob.',
    },
    async (context) => {
      const { bytes, name } = await storedBlob(context);
      assert.deepEqual(bytesOf(await readAll(context, name, { offset: 400n })), Buffer.from(bytes.subarray(400)));
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.limit',
      level: 'MUST',
      requirements: 'R-BS-13',
      rule: 'A limit ends the data early, with OK.',
    },
    async (context) => {
      const { bytes, name } = await storedBlob(context);
      const part = bytesOf(await readAll(context, name, { offset: 100n, limit: 50n }));
      assert.deepEqual(part, Buffer.from(bytes.subarray(100, 150)));
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.limit-past-end',
      level: 'MUST',
      requirements: 'R-BS-13',
      rule: 'A limit above what is left does no harm.',
    },
    async (context) => {
      const { bytes, name } = await storedBlob(context);
      const part = bytesOf(await readAll(context, name, { offset: 900n, limit: 5000n }));
      assert.deepEqual(part, Buffer.from(bytes.subarray(900)));
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.offset-at-end',
      level: 'MUST',
      requirements: 'R-BS-12',
      rule: 'A read from the very end is OK and empty.',
    },
    async (context) => {
      const { name } = await storedBlob(context);
      assert.equal(bytesOf(await readAll(context, name, { offset: 1000n })).length, 0);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.offset-past-end',
      level: 'MUST',
      requirements: 'R-BS-11',
      rule: 'A read from behind the end is out of range.',
    },
    async (context) => {
      const { name } = await storedBlob(context);
      expectEnd(await readAll(context, name, { offset: 1001n }), OUT_OF_RANGE);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.offset-negative',
      level: 'MUST',
      requirements: 'R-BS-11',
      rule: 'A read from before the start is out of range.',
    },
    async (context) => {
      const { name } = await storedBlob(context);
      expectEnd(await readAll(context, name, { offset: -1n }), OUT_OF_RANGE);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.limit-negative',
      level: 'SHOULD',
      requirements: 'R-BS-13',
      rule: 'A negative limit is refused.',
    },
    async (context) => {
      const { name } = await storedBlob(context);
      expectEnd(await readAll(context, name, { limit: -1n }), INVALID_ARGUMENT, OUT_OF_RANGE);
    },
  ),
];

const wholeCases = [
  conformanceCase(
    {
      id: 'byte-stream.read.absent',
      level: 'MUST',
      requirements: 'R-BS-10',
      rule: 'A blob that is not there is NOT_FOUND, before any data.',
    },
    async (context) => {
      const streamed = await readAll(context, readName(context, freshBlob().digest));
      expectEnd(streamed, NOT_FOUND);
      assert.equal(streamed.messages.length, 0);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.size-is-identity',
      level: 'MUST',
      requirements: 'R-DIG-02',
      rule: 'A stored hash with another size is NOT_FOUND.',
    },
    async (context) => {
      const { digest } = await storedBlob(context);
      expectEnd(await readAll(context, readName(context, { ...digest, sizeBytes: 999n })), NOT_FOUND);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.empty-blob',
      level: 'MUST',
      requirements: 'R-CAS-01 R-BS-15',
      rule: 'The blob of no bytes can be read.',
    },
    async (context) => assert.equal(bytesOf(await readAll(context, readName(context, EMPTY_BLOB.digest))).length, 0),
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.large',
      level: 'MUST',
      requirements: 'R-BS-17 R-XC-05',
      rule: 'A blob above the size of one message arrives whole, in messages far below 4 MiB.',
    },
    async (context) => {
      const blob = freshBlob(9_000_001);
      await writeBlob(context, blob);
      const streamed = await readAll(context, readName(context, blob.digest));
      assert.ok(bytesOf(streamed).equals(blob.bytes), 'other bytes came back');
      for (const { data } of streamed.messages) assert.ok(data.length <= 2 << 20, `a message of ${data.length} bytes`);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.client-vanishes',
      level: 'MUST',
      requirements: 'R-BS-20',
      rule: 'A client that stops reading half-way harms nobody: the next read is whole.',
    },
    async (context) => {
      const blob = freshBlob(6_000_000);
      await writeBlob(context, blob);
      const request = { resourceName: readName(context, blob.digest), readOffset: 0n, readLimit: 0n };
      const { read } = ByteStreamDefinition.methods;
      const cut = await context.endpoint.stream(ByteStreamDefinition, read, request, { takeMessages: 1 });
      expectEnd(cut, status.CANCELLED);
      assert.ok(bytesOf(await readAll(context, request.resourceName)).equals(blob.bytes), 'other bytes came back');
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.read.leading-slash',
      level: 'SHOULD',
      requirements: 'R-BS-02',
      rule: 'A slash before the name, as moon sends it for the empty instance name, is tolerated.',
    },
    async (context) => {
      const { bytes, name } = await storedBlob(context);
      assert.deepEqual(bytesOf(await readAll(context, `/${name}`)), bytes);
    },
  ),
];

/** ByteStream.Read. */
export const byteStreamReadCases = [...wholeCases, ...rangeCases, ...malformedCases];
