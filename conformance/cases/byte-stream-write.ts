import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { ByteStreamDefinition } from '../../src/gen/google/bytestream/bytestream.ts';
import {
  EMPTY_BLOB,
  expectAbsent,
  expectStored,
  freshBlob,
  freshName,
  resource,
  storeBlobs,
  writeAll,
  writeBlob,
  writeMessages,
  writeName,
} from '../blobs.ts';
import { type CaseContext, conformanceCase } from '../case.ts';
import { expectEnd, expectFailure, onlyMessage } from '../expect.ts';

const { INVALID_ARGUMENT } = status;

async function query(context: CaseContext, resourceName: string) {
  const { queryWriteStatus } = ByteStreamDefinition.methods;
  return await context.endpoint.unary(ByteStreamDefinition, queryWriteStatus, { resourceName });
}

const goodCases = [
  conformanceCase(
    {
      id: 'byte-stream.write.whole',
      level: 'MUST',
      requirements: 'R-BS-37 R-BS-35',
      rule: 'A finished upload answers the full size, and the blob is there.',
    },
    async (context) => {
      const blob = freshBlob(3_000_000);
      const answer = onlyMessage(await writeAll(context, writeMessages(writeName(context, blob.digest), blob.bytes)));
      assert.equal(answer.committedSize, blob.digest.sizeBytes);
      await expectStored(context, blob.digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.finish-alone',
      level: 'SHOULD',
      requirements: 'R-BS-35',
      rule: 'The end may be a message of its own without data.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(5000);
      const resourceName = writeName(context, digest);
      const last = { resourceName: '', writeOffset: 5000n, data: new Uint8Array(), finishWrite: true };
      const messages = [{ resourceName, writeOffset: 0n, data: bytes, finishWrite: false }, last];
      assert.equal(onlyMessage(await writeAll(context, messages)).committedSize, 5000n);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.name-once',
      level: 'MUST',
      requirements: 'R-BS-30',
      rule: 'Messages after the first need not repeat the resource name.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(5000);
      const messages = writeMessages(writeName(context, digest), bytes, 1000).map((message, index) =>
        index === 0 ? message : { ...message, resourceName: '' },
      );
      assert.equal(onlyMessage(await writeAll(context, messages)).committedSize, 5000n);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.metadata',
      level: 'MUST',
      requirements: 'R-BS-01',
      rule: 'Segments after the size are the client’s own and ignored.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob();
      const messages = writeMessages(`${writeName(context, digest)}/path/to/blobs/file.o`, bytes);
      assert.equal(onlyMessage(await writeAll(context, messages)).committedSize, digest.sizeBytes);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.leading-slash',
      level: 'SHOULD',
      requirements: 'R-BS-02',
      rule: 'A slash before the name, as moon sends it for the empty instance name, is tolerated.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob();
      const messages = writeMessages(`/${writeName(context, digest)}`, bytes);
      assert.equal(onlyMessage(await writeAll(context, messages)).committedSize, digest.sizeBytes);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.upload-name',
      level: 'SHOULD',
      requirements: 'R-BS-03',
      rule: 'The upload part of the name may be any string, not only a UUID.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob();
      const name = writeName(context, digest, 'not-a-uuid');
      assert.equal(onlyMessage(await writeAll(context, writeMessages(name, bytes))).committedSize, digest.sizeBytes);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.empty-blob',
      level: 'MUST',
      requirements: 'R-CAS-01',
      rule: 'Writing the blob of no bytes succeeds.',
    },
    async (context) => {
      const messages = writeMessages(writeName(context, EMPTY_BLOB.digest), EMPTY_BLOB.bytes);
      assert.equal(onlyMessage(await writeAll(context, messages)).committedSize, 0n);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.exists',
      level: 'MUST',
      requirements: 'R-BS-38 R-BS-41',
      rule: 'Writing a blob that is there ends with OK and its full size, without waiting for all of it.',
    },
    async (context) => {
      const blob = freshBlob(2_000_000);
      await writeBlob(context, blob);
      const call = context.endpoint.open(ByteStreamDefinition, ByteStreamDefinition.methods.write);
      const [first] = writeMessages(writeName(context, blob.digest), blob.bytes, 65_536);
      assert.ok(first !== undefined);
      call.send(first);
      assert.equal(onlyMessage(await call.ended()).committedSize, blob.digest.sizeBytes);
    },
  ),
];

const badCases = [
  conformanceCase(
    {
      id: 'byte-stream.write.hash-mismatch',
      level: 'MUST',
      requirements: 'R-BS-36 R-CAS-09',
      rule: 'Bytes of another hash are refused, and never become visible.',
    },
    async (context) => {
      const { digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), freshBlob(1000).bytes);
      expectEnd(await writeAll(context, messages), INVALID_ARGUMENT);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.too-short',
      level: 'MUST',
      requirements: 'R-BS-36',
      rule: 'An upload that finishes before its size is refused.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), bytes.subarray(0, 999));
      expectEnd(await writeAll(context, messages), INVALID_ARGUMENT);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.too-long',
      level: 'MUST',
      requirements: 'R-BS-36',
      rule: 'An upload of more bytes than its size is refused.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), Buffer.concat([bytes, bytes]), 600);
      expectEnd(await writeAll(context, messages), INVALID_ARGUMENT);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.size-mismatch',
      level: 'MUST',
      requirements: 'R-DIG-02 R-BS-36',
      rule: 'The right bytes under a wrong size are refused.',
    },
    async (context) => {
      const { bytes, digest: right } = freshBlob(1000);
      const digest = { ...right, sizeBytes: 1001n };
      expectEnd(await writeAll(context, writeMessages(writeName(context, digest), bytes)), INVALID_ARGUMENT);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.offset-jump',
      level: 'MUST',
      requirements: 'R-BS-31',
      rule: 'A hole between two messages is refused.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), bytes, 400).filter((_, index) => index !== 1);
      expectEnd(await writeAll(context, messages), INVALID_ARGUMENT);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.first-offset',
      level: 'MUST',
      requirements: 'R-BS-31',
      rule: 'A new upload that does not start at zero is refused.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), bytes, 400).slice(1);
      expectEnd(await writeAll(context, messages), INVALID_ARGUMENT, status.OUT_OF_RANGE, status.ABORTED);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.name-changes',
      level: 'MUST',
      requirements: 'R-BS-30',
      rule: 'A second resource name in the same stream is refused.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), bytes, 400).map((message, index) =>
        index === 0 ? message : { ...message, resourceName: writeName(context, freshBlob().digest) },
      );
      expectEnd(await writeAll(context, messages), INVALID_ARGUMENT);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.no-name',
      level: 'MUST',
      requirements: 'R-BS-30',
      rule: 'A first message without a resource name is refused.',
    },
    async (context) => expectEnd(await writeAll(context, writeMessages('', freshBlob().bytes)), INVALID_ARGUMENT),
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.after-finish',
      level: 'MUST',
      requirements: 'R-BS-34',
      rule: 'A message after the last one is refused, unless the upload is already over.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), bytes);
      const streamed = await writeAll(context, [...messages, ...messages]);
      // The server may have answered before the surplus message arrived: then the upload was complete.
      if (streamed.end.code === status.OK) await expectStored(context, digest);
      else expectEnd(streamed, INVALID_ARGUMENT);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.no-messages',
      level: 'SHOULD',
      requirements: 'R-BS-30',
      rule: 'A stream that ends before its first message is refused, and does not hang.',
    },
    async (context) => expectEnd(await writeAll(context, []), INVALID_ARGUMENT),
  ),
  ...(
    [
      ['read-name', 'the name of a blob to read', (hash) => `blobs/${hash}/100`],
      ['no-upload', 'no upload part', (hash) => `uploads/blobs/${hash}/100`],
      ['short-hash', 'a hash of 63 digits', (hash) => `uploads/${freshName()}/blobs/${hash.slice(1)}/100`],
      ['size-text', 'a size that is no number', (hash) => `uploads/${freshName()}/blobs/${hash}/1e2`],
    ] satisfies readonly (readonly [string, string, (hash: string) => string])[]
  ).map(([name, what, toName]) =>
    conformanceCase(
      {
        id: `byte-stream.write.name.${name}`,
        level: 'MUST',
        requirements: 'R-BS-05',
        rule: `Writing to a resource name with ${what} is refused.`,
      },
      async (context) => {
        const { bytes, digest } = freshBlob();
        const messages = writeMessages(resource(context, toName(digest.hash)), bytes);
        expectEnd(await writeAll(context, messages), INVALID_ARGUMENT);
      },
    ),
  ),
];

const unfinishedCases = [
  conformanceCase(
    {
      id: 'byte-stream.write.half-closed',
      level: 'MUST',
      requirements: 'R-BS-33',
      rule: 'A stream that ends without finish leaves no blob; the answer is the bytes so far, or a refusal.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const messages = writeMessages(writeName(context, digest), bytes, 400).slice(0, 2);
      const streamed = await writeAll(context, messages);
      if (streamed.end.code === status.OK) assert.equal(onlyMessage(streamed).committedSize, 800n);
      else expectEnd(streamed, INVALID_ARGUMENT);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.vanish-then-restart',
      level: 'MUST',
      requirements: 'R-BS-45',
      rule: 'After a client vanished in the middle, an upload from the start under the same name succeeds.',
    },
    async (context) => {
      const blob = freshBlob(3_000_000);
      const name = writeName(context, blob.digest);
      const call = context.endpoint.open(ByteStreamDefinition, ByteStreamDefinition.methods.write);
      for (const message of writeMessages(name, blob.bytes).slice(0, 2)) call.send(message);
      await call.vanish();
      await expectAbsent(context, blob.digest);
      const answer = onlyMessage(await writeAll(context, writeMessages(name, blob.bytes)));
      assert.equal(answer.committedSize, blob.digest.sizeBytes);
      await expectStored(context, blob.digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.write.resume',
      level: 'MUST',
      requirements: 'R-BS-31 R-BS-33 R-BS-51',
      rule: 'An unfinished upload goes on where QueryWriteStatus says.',
      needs: ['queryWriteStatus'],
    },
    async (context) => {
      const { bytes, digest } = freshBlob(1000);
      const name = writeName(context, digest);
      await writeAll(context, writeMessages(name, bytes, 400).slice(0, 2));
      const { committedSize, complete } = await query(context, name);
      assert.equal(complete, false);
      assert.ok(committedSize >= 0n && committedSize <= 800n, `committed_size is ${committedSize}`);
      const data = bytes.subarray(Number(committedSize));
      const rest = [{ resourceName: name, writeOffset: committedSize, data, finishWrite: true }];
      assert.equal(onlyMessage(await writeAll(context, rest)).committedSize, 1000n);
      await expectStored(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.query.complete',
      level: 'MUST',
      requirements: 'R-BS-50',
      rule: 'For a blob that is there, an upload never seen before is complete.',
      needs: ['queryWriteStatus'],
    },
    async (context) => {
      const blob = freshBlob();
      await storeBlobs(context, [blob]);
      const answer = await query(context, writeName(context, blob.digest));
      assert.deepEqual(answer, { committedSize: blob.digest.sizeBytes, complete: true });
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.query.unknown',
      level: 'SHOULD',
      requirements: 'R-BS-52',
      rule: 'An upload nobody began has no bytes; NOT_FOUND, which the schema allows, breaks Bazel’s retries.',
      needs: ['queryWriteStatus'],
    },
    async (context) => {
      const answer = await query(context, writeName(context, freshBlob().digest));
      assert.deepEqual(answer, { committedSize: 0n, complete: false });
    },
  ),
  conformanceCase(
    {
      id: 'byte-stream.query.read-name',
      level: 'SHOULD',
      requirements: 'R-BS-54',
      rule: 'Asking about a name that cannot be written is refused.',
      needs: ['queryWriteStatus'],
    },
    async (context) => {
      const call = query(context, resource(context, `blobs/${freshBlob().digest.hash}/100`));
      await expectFailure(call, INVALID_ARGUMENT);
    },
  ),
];

/** ByteStream.Write and QueryWriteStatus. */
export const byteStreamWriteCases = [...goodCases, ...badCases, ...unfinishedCases];
