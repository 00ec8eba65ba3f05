import assert from 'node:assert/strict';
import { zstdDecompressSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import {
  type CacheCapabilities,
  CapabilitiesDefinition,
  ContentAddressableStorageDefinition as Cas,
  Compressor_Value,
  DigestFunction_Value,
  FindMissingBlobsRequest,
  GetCapabilitiesRequest,
  type ServerCapabilities,
  SplitBlobRequest,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { bytesOf, freshBlob, readAll, resource, storeBlobs, writeBlob } from '../blobs.ts';
import { type CaseContext, conformanceCase } from '../case.ts';
import { CallFailed } from '../endpoint.ts';
import { expectBytes, expectFailure, present } from '../expect.ts';

/** What the server says about itself under the instance name of the profile. */
export async function getCapabilities(context: CaseContext): Promise<ServerCapabilities> {
  const request = GetCapabilitiesRequest.fromPartial({ instanceName: context.profile.instance });
  return await context.endpoint.unary(CapabilitiesDefinition, CapabilitiesDefinition.methods.getCapabilities, request);
}

/** The part of {@link getCapabilities} about the cache, which must be there. */
export async function getCacheCapabilities(context: CaseContext): Promise<CacheCapabilities> {
  return present((await getCapabilities(context)).cacheCapabilities, 'cache_capabilities');
}

/** Capabilities, and whether what is announced is true. */
export const capabilitiesCases = [
  conformanceCase(
    {
      id: 'capabilities.cache.digest-functions',
      level: 'MUST',
      requirements: 'R-CAP-01 R-CAP-04 R-CAP-05',
      rule: 'A server with a cache describes it and lists the digest functions it takes, none of them UNKNOWN.',
    },
    async (context) => {
      const cache = await getCacheCapabilities(context);
      assert.ok(cache.digestFunctions.includes(DigestFunction_Value.SHA256), 'this suite needs SHA256');
      assert.ok(!cache.digestFunctions.includes(DigestFunction_Value.UNKNOWN), 'UNKNOWN is announced');
    },
  ),
  conformanceCase(
    {
      id: 'capabilities.versions.ordered',
      level: 'MUST',
      requirements: 'R-CAP-02',
      rule: 'The lowest and the highest API version are both set and in order.',
    },
    async (context) => {
      const answer = await getCapabilities(context);
      const low = present(answer.lowApiVersion, 'low_api_version');
      const high = present(answer.highApiVersion, 'high_api_version');
      assert.ok(low.major < high.major || (low.major === high.major && low.minor <= high.minor), 'low is above high');
    },
  ),
  conformanceCase(
    {
      id: 'capabilities.batch-limit.room',
      level: 'SHOULD',
      requirements: 'R-CAP-06',
      rule: 'The batch limit is announced and leaves room for the envelope below the 4 MiB that clients receive.',
    },
    async (context) => {
      const { maxBatchTotalSizeBytes: limit } = await getCacheCapabilities(context);
      assert.ok(limit > 0n && limit < 4n * 1024n * 1024n, `the limit is ${limit}`);
    },
  ),
  conformanceCase(
    {
      id: 'capabilities.priorities.ranges',
      level: 'SHOULD',
      requirements: 'R-CAP-10',
      rule: 'Priority ranges are announced and in order, without which Bazel refuses its priority flags.',
      needs: ['execution'],
    },
    async (context) => {
      const { executionCapabilities } = await getCapabilities(context);
      const ranges = executionCapabilities?.executionPriorityCapabilities?.priorities ?? [];
      assert.ok(ranges.length > 0, 'no range');
      for (const { minPriority, maxPriority } of ranges) assert.ok(minPriority <= maxPriority, 'a range is reversed');
    },
  ),
  conformanceCase(
    {
      id: 'capabilities.execution.present',
      level: 'MUST',
      requirements: 'R-CAP-01 R-CAP-05',
      rule: 'A server that executes says so, and its single digest function is in the list of functions.',
      needs: ['execution'],
    },
    async (context) => {
      const { executionCapabilities } = await getCapabilities(context);
      const execution = present(executionCapabilities, 'execution_capabilities');
      assert.equal(execution.execEnabled, true);
      assert.notEqual(execution.digestFunction, DigestFunction_Value.UNKNOWN);
      assert.ok(
        execution.digestFunctions.length === 0 || execution.digestFunctions.includes(execution.digestFunction),
        'digest_function is not in digest_functions',
      );
    },
  ),
  conformanceCase(
    {
      id: 'capabilities.function.unannounced',
      level: 'MUST',
      requirements: 'R-DIG-03',
      rule: 'A request under a digest function that is not announced is refused.',
    },
    async (context) => {
      const { digestFunctions } = await getCacheCapabilities(context);
      const other = [DigestFunction_Value.VSO, DigestFunction_Value.MURMUR3, DigestFunction_Value.BLAKE3].find(
        (candidate) => !digestFunctions.includes(candidate),
      );
      if (other === undefined) return;
      const request = FindMissingBlobsRequest.fromPartial({
        instanceName: context.profile.instance,
        blobDigests: [freshBlob().digest],
        digestFunction: other,
      });
      const call = context.endpoint.unary(Cas, Cas.methods.findMissingBlobs, request);
      await expectFailure(call, status.INVALID_ARGUMENT);
    },
  ),
  conformanceCase(
    {
      id: 'capabilities.zstd.true',
      level: 'MUST',
      requirements: 'R-CAP-08 R-CAS-03',
      rule: 'If zstd is announced, a blob stored plainly can be read as a zstd stream.',
    },
    async (context) => {
      const { supportedCompressors } = await getCacheCapabilities(context);
      if (!supportedCompressors.includes(Compressor_Value.ZSTD)) return;
      const blob = freshBlob(5000);
      await writeBlob(context, blob);
      const name = resource(context, `compressed-blobs/zstd/${blob.digest.hash}/${blob.digest.sizeBytes}`);
      expectBytes(zstdDecompressSync(bytesOf(await readAll(context, name))), blob.bytes);
    },
  ),
  conformanceCase(
    {
      id: 'capabilities.split.true',
      level: 'MUST',
      requirements: 'R-CAS-22 R-CAS-23 R-CAP-09',
      rule: 'SplitBlob is there if it is announced, and not there if it is not.',
    },
    async (context) => {
      const { splitBlobSupport } = await getCacheCapabilities(context);
      const { bytes, digest } = freshBlob();
      await storeBlobs(context, [{ bytes, digest }]);
      const request = SplitBlobRequest.fromPartial({ instanceName: context.profile.instance, blobDigest: digest });
      const works = await context.endpoint.unary(Cas, Cas.methods.splitBlob, request).then(
        () => true,
        (cause: unknown) => !(cause instanceof CallFailed && cause.end.code === status.UNIMPLEMENTED),
      );
      assert.equal(works, splitBlobSupport);
    },
  ),
];
