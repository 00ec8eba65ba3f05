import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import {
  BatchReadBlobsRequest,
  BatchUpdateBlobsRequest,
  ContentAddressableStorageDefinition as Cas,
  Compressor_Value,
  type Digest,
  FindMissingBlobsRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type Blob,
  blobOf,
  bytesOf,
  EMPTY_BLOB,
  expectAbsent,
  expectStored,
  findMissing,
  freshBlob,
  readAll,
  readName,
  storeBlobs,
  writeBlob,
} from '../blobs.ts';
import { type CaseContext, conformanceCase } from '../case.ts';
import { expectBytes, expectFailure, present } from '../expect.ts';
import { getCacheCapabilities } from './capabilities.ts';

async function update(context: CaseContext, blobs: readonly Blob[], compressor: Compressor_Value = 0) {
  const request = BatchUpdateBlobsRequest.fromPartial({
    instanceName: context.profile.instance,
    requests: blobs.map(({ bytes, digest }) => ({ digest, data: bytes, compressor })),
  });
  const answer = await context.endpoint.unary(Cas, Cas.methods.batchUpdateBlobs, request);
  return answer.responses.map((response) => ({ digest: response.digest, code: response.status?.code ?? 0 }));
}

async function read(context: CaseContext, digests: readonly Digest[]) {
  const request = BatchReadBlobsRequest.fromPartial({ instanceName: context.profile.instance, digests: [...digests] });
  return (await context.endpoint.unary(Cas, Cas.methods.batchReadBlobs, request)).responses;
}

const { INVALID_ARGUMENT, NOT_FOUND, OK } = status;

const findMissingCases = [
  conformanceCase(
    {
      id: 'cas.find-missing.subset',
      level: 'MUST',
      requirements: 'R-CAS-02',
      rule: 'The answer is exactly those of the asked digests that are absent.',
    },
    async (context) => {
      const [there, absent] = [freshBlob(), freshBlob()];
      await storeBlobs(context, [there]);
      assert.deepEqual(await findMissing(context, [there.digest, absent.digest]), [absent.digest]);
    },
  ),
  conformanceCase(
    {
      id: 'cas.find-missing.nothing',
      level: 'MUST',
      requirements: 'R-CAS-02',
      rule: 'No question, no answer, no error.',
    },
    async (context) => assert.deepEqual(await findMissing(context, []), []),
  ),
  conformanceCase(
    {
      id: 'cas.find-missing.duplicates',
      level: 'SHOULD',
      requirements: 'R-CAS-02',
      rule: 'A digest that is asked about twice does no harm.',
    },
    async (context) => {
      const { digest } = freshBlob();
      for (const missing of await findMissing(context, [digest, digest])) assert.deepEqual(missing, digest);
    },
  ),
  conformanceCase(
    {
      id: 'cas.find-missing.empty-blob',
      level: 'MUST',
      requirements: 'R-CAS-01',
      rule: 'The blob of no bytes is never missing.',
    },
    (context) => expectStored(context, EMPTY_BLOB.digest),
  ),
  conformanceCase(
    {
      id: 'cas.find-missing.size-is-identity',
      level: 'MUST',
      requirements: 'R-DIG-02',
      rule: 'The hash of a stored blob with another size is another blob, and absent.',
    },
    async (context) => {
      const blob = freshBlob();
      await storeBlobs(context, [blob]);
      await expectAbsent(context, { ...blob.digest, sizeBytes: blob.digest.sizeBytes + 1n });
    },
  ),
  conformanceCase(
    {
      id: 'cas.find-missing.many',
      level: 'SHOULD',
      requirements: 'R-CAS-04',
      rule: 'Ten thousand digests in one request are answered.',
    },
    async (context) => {
      const digests = Array.from({ length: 10_000 }, () => freshBlob(1 + 32).digest);
      assert.equal((await findMissing(context, digests)).length, digests.length);
    },
  ),
  ...(
    [
      ['upper-case', 'upper-case letters', (digest) => ({ ...digest, hash: digest.hash.toUpperCase() })],
      ['short', 'a digit too few', (digest) => ({ ...digest, hash: digest.hash.slice(1) })],
      ['not-hex', 'a letter that is no digit', (digest) => ({ ...digest, hash: `g${digest.hash.slice(1)}` })],
      ['path', 'a path in place of the hash', (digest) => ({ ...digest, hash: '../../../../etc/passwd' })],
      ['negative-size', 'a negative size', (digest) => ({ ...digest, sizeBytes: -1n })],
    ] satisfies readonly (readonly [string, string, (digest: Digest) => Digest])[]
  ).map(([name, what, spoil]) =>
    conformanceCase(
      {
        id: `cas.digest.${name}`,
        level: 'MUST',
        requirements: 'R-DIG-01 R-DIG-02',
        rule: `A digest with ${what} is refused.`,
      },
      async (context) => {
        // A hash of which every digit is a letter, so that upper case differs from lower case.
        const digest = { hash: 'ab'.repeat(32), sizeBytes: 7n };
        const request = FindMissingBlobsRequest.fromPartial({
          instanceName: context.profile.instance,
          blobDigests: [spoil(digest)],
        });
        await expectFailure(context.endpoint.unary(Cas, Cas.methods.findMissingBlobs, request), INVALID_ARGUMENT);
      },
    ),
  ),
];

const batchUpdateCases = [
  conformanceCase(
    {
      id: 'cas.batch-update.round-trip',
      level: 'MUST',
      requirements: 'R-CAS-07 R-CAS-03',
      rule: 'What was stored in a batch is present and read back byte for byte, in a batch and as a stream.',
    },
    async (context) => {
      const blob = freshBlob(3000);
      assert.deepEqual(await update(context, [blob]), [{ digest: blob.digest, code: OK }]);
      await expectStored(context, blob.digest);
      const [entry] = await read(context, [blob.digest]);
      expectBytes(present(entry, 'the entry').data, blob.bytes);
      expectBytes(bytesOf(await readAll(context, readName(context, blob.digest))), blob.bytes);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.hash-mismatch',
      level: 'MUST',
      requirements: 'R-CAS-06 R-CAS-09',
      rule: 'Bytes of another hash are refused in their entry, and never become visible.',
    },
    async (context) => {
      const { digest } = freshBlob();
      const wrong = { digest, bytes: freshBlob().bytes };
      assert.deepEqual(await update(context, [wrong]), [{ digest, code: INVALID_ARGUMENT }]);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.size-mismatch',
      level: 'MUST',
      requirements: 'R-CAS-06 R-CAS-09',
      rule: 'The right hash with a wrong size is refused in its entry.',
    },
    async (context) => {
      const { bytes, digest: right } = freshBlob();
      const digest = { ...right, sizeBytes: right.sizeBytes - 1n };
      assert.deepEqual(await update(context, [{ bytes, digest }]), [{ digest, code: INVALID_ARGUMENT }]);
      await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.independent',
      level: 'MUST',
      requirements: 'R-CAS-06 R-CAS-07',
      rule: 'One bad entry does not spoil its neighbours.',
    },
    async (context) => {
      const [first, bad, last] = [freshBlob(), { ...freshBlob(), bytes: Buffer.from('other') }, freshBlob()];
      const answers = new Map((await update(context, [first, bad, last])).map((one) => [one.digest?.hash, one.code]));
      assert.equal(answers.get(first.digest.hash), OK);
      assert.equal(answers.get(bad.digest.hash), INVALID_ARGUMENT);
      assert.equal(answers.get(last.digest.hash), OK);
      assert.deepEqual(await findMissing(context, [first.digest, bad.digest, last.digest]), [bad.digest]);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.over-limit',
      level: 'MUST',
      requirements: 'R-CAS-05',
      rule: 'A batch above the announced total is refused as a whole.',
    },
    async (context) => {
      const { maxBatchTotalSizeBytes: limit } = await getCacheCapabilities(context);
      if (limit === 0n || limit > 64n << 20n) return;
      const blobs = [freshBlob(Number(limit / 2n) + 1), freshBlob(Number(limit / 2n) + 1)];
      await expectFailure(update(context, blobs), INVALID_ARGUMENT);
      for (const { digest } of blobs) await expectAbsent(context, digest);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.at-limit',
      level: 'MUST',
      requirements: 'R-CAS-05 R-XC-04',
      rule: 'A batch of exactly the announced total is accepted.',
    },
    async (context) => {
      const { maxBatchTotalSizeBytes: limit } = await getCacheCapabilities(context);
      if (limit === 0n || limit > 64n << 20n) return;
      const blob = freshBlob(Number(limit));
      assert.deepEqual(await update(context, [blob]), [{ digest: blob.digest, code: OK }]);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.empty-blob',
      level: 'MUST',
      requirements: 'R-CAS-01',
      rule: 'Storing the blob of no bytes succeeds.',
    },
    async (context) =>
      assert.deepEqual(
        (await update(context, [EMPTY_BLOB])).map(({ code }) => code),
        [OK],
      ),
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.unknown-compressor',
      level: 'MUST',
      requirements: 'R-CAS-06 R-CAS-08',
      rule: 'A compressor that is not announced for batches is refused in its entry.',
    },
    async (context) => {
      const { supportedBatchUpdateCompressors: announced } = await getCacheCapabilities(context);
      if (announced.includes(Compressor_Value.BROTLI)) return;
      const blob = freshBlob();
      const [answer] = await update(context, [blob], Compressor_Value.BROTLI);
      assert.equal(answer?.code, INVALID_ARGUMENT);
      await expectAbsent(context, blob.digest);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-update.again',
      level: 'MUST',
      requirements: 'R-CAS-20',
      rule: 'Storing a blob that is there succeeds.',
    },
    async (context) => {
      const blob = freshBlob();
      await storeBlobs(context, [blob]);
      assert.deepEqual(
        (await update(context, [blob])).map(({ code }) => code),
        [OK],
      );
    },
  ),
  conformanceCase(
    {
      id: 'cas.upload.concurrent',
      level: 'MUST',
      requirements: 'R-CAS-20',
      rule: 'Uploads of one blob at the same time by both ways all succeed.',
    },
    async (context) => {
      const blob = freshBlob(200_000);
      await Promise.all(
        Array.from({ length: 16 }, (_, index) =>
          index % 2 === 0 ? storeBlobs(context, [blob]) : writeBlob(context, blob),
        ),
      );
      expectBytes(bytesOf(await readAll(context, readName(context, blob.digest))), blob.bytes);
    },
  ),
];

const batchReadCases = [
  conformanceCase(
    {
      id: 'cas.batch-read.absent',
      level: 'MUST',
      requirements: 'R-CAS-10',
      rule: 'An absent blob is NOT_FOUND in its entry, and the others are answered.',
    },
    async (context) => {
      const [there, absent] = [freshBlob(), freshBlob()];
      await storeBlobs(context, [there]);
      const answers = new Map(
        (await read(context, [absent.digest, there.digest])).map((one) => [one.digest?.hash, one]),
      );
      assert.equal(answers.get(absent.digest.hash)?.status?.code, NOT_FOUND);
      expectBytes(present(answers.get(there.digest.hash), 'entry').data, there.bytes);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-read.repeats',
      level: 'MUST',
      requirements: 'R-CAS-10',
      rule: 'There is one answer for each digest asked, repeats included.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob();
      await storeBlobs(context, [{ bytes, digest }]);
      const answers = await read(context, [digest, digest]);
      assert.equal(answers.length, 2);
      for (const { data } of answers) expectBytes(data, bytes);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-read.over-limit',
      level: 'MUST',
      requirements: 'R-CAS-10 R-CAS-12',
      rule: 'Asking for more bytes than the announced total is refused as a whole.',
    },
    async (context) => {
      const { maxBatchTotalSizeBytes: limit } = await getCacheCapabilities(context);
      if (limit === 0n || limit > 64n << 20n) return;
      const blobs = [freshBlob(Number(limit / 2n) + 1), freshBlob(Number(limit / 2n) + 1)];
      for (const blob of blobs) await writeBlob(context, blob);
      await expectFailure(
        read(
          context,
          blobs.map(({ digest }) => digest),
        ),
        INVALID_ARGUMENT,
      );
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-read.empty-blob',
      level: 'MUST',
      requirements: 'R-CAS-01',
      rule: 'The blob of no bytes can be read.',
    },
    async (context) => {
      const [entry] = await read(context, [EMPTY_BLOB.digest]);
      assert.equal(entry?.status?.code ?? OK, OK);
      assert.equal(entry?.data.length, 0);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-read.size-is-identity',
      level: 'MUST',
      requirements: 'R-DIG-02',
      rule: 'A stored hash with another size is NOT_FOUND.',
    },
    async (context) => {
      const blob = freshBlob();
      await storeBlobs(context, [blob]);
      const [entry] = await read(context, [{ ...blob.digest, sizeBytes: 7n }]);
      assert.equal(entry?.status?.code, NOT_FOUND);
    },
  ),
  conformanceCase(
    {
      id: 'cas.batch-read.identity',
      level: 'MUST',
      requirements: 'R-CAS-11',
      rule: 'A client that names no compressor gets plain bytes.',
    },
    async (context) => {
      const blob = blobOf(Buffer.alloc(50_000, freshBlob(8).bytes));
      await storeBlobs(context, [blob]);
      const [entry] = await read(context, [blob.digest]);
      assert.equal(entry?.compressor, Compressor_Value.IDENTITY);
      expectBytes(entry.data, blob.bytes);
    },
  ),
];

/** FindMissingBlobs and the batch calls. */
export const casCases = [...findMissingCases, ...batchUpdateCases, ...batchReadCases];
