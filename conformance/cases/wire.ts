import assert from 'node:assert/strict';
import { Metadata, status } from '@grpc/grpc-js';
import {
  CapabilitiesDefinition,
  ContentAddressableStorageDefinition as Cas,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetCapabilitiesRequest,
  RequestMetadata,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { bytesOf, freshBlob, readAll, readName, resource, storeBlobs, writeAll, writeMessages } from '../blobs.ts';
import { type CaseContext, conformanceCase } from '../case.ts';
import { expectEnd, expectFailure } from '../expect.ts';

const REQUEST_METADATA = 'build.bazel.remote.execution.v2.requestmetadata-bin';

/** Sends bytes as they are, and reads an answer as usual. */
function rawMethod(name: string) {
  return {
    name,
    requestType: { encode: (message: Uint8Array) => ({ finish: () => message }), decode: (bytes: Uint8Array) => bytes },
    responseType: FindMissingBlobsResponse,
  };
}

async function findMissingWith(context: CaseContext, instanceName: string, headers?: Metadata) {
  const request = FindMissingBlobsRequest.fromPartial({ instanceName, blobDigests: [freshBlob().digest] });
  const options = headers === undefined ? {} : { headers };
  return await context.endpoint.unary(Cas, Cas.methods.findMissingBlobs, request, options);
}

const headerCases = [
  conformanceCase(
    {
      id: 'wire.metadata.garbage',
      level: 'MUST',
      requirements: 'R-XC-01',
      rule: 'A request metadata header that cannot be decoded is ignored.',
    },
    async (context) => {
      const headers = new Metadata();
      headers.set(REQUEST_METADATA, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0x03]));
      assert.equal((await findMissingWith(context, context.profile.instance, headers)).missingBlobDigests.length, 1);
    },
  ),
  conformanceCase(
    {
      id: 'wire.metadata.accepted',
      level: 'MUST',
      requirements: 'R-XC-01 R-XC-02',
      rule: 'Well-formed request metadata does no harm.',
    },
    async (context) => {
      const metadata = RequestMetadata.fromPartial({
        toolDetails: { toolName: 'conformance', toolVersion: '1' },
        toolInvocationId: 'invocation',
      });
      const headers = new Metadata();
      headers.set(REQUEST_METADATA, Buffer.from(RequestMetadata.encode(metadata).finish()));
      assert.equal((await findMissingWith(context, context.profile.instance, headers)).missingBlobDigests.length, 1);
    },
  ),
];

const messageCases = [
  conformanceCase(
    {
      id: 'wire.method.unknown',
      level: 'MUST',
      requirements: 'R-XC-13',
      rule: 'A method that does not exist is UNIMPLEMENTED.',
    },
    async (context) => {
      const call = context.endpoint.unary(Cas, rawMethod('NoSuchMethod'), new Uint8Array());
      await expectFailure(call, status.UNIMPLEMENTED);
    },
  ),
  conformanceCase(
    {
      id: 'wire.message.garbage',
      level: 'MUST',
      requirements: 'R-XC-13',
      rule: 'A request that does not decode is an error of the call, and the server lives on.',
    },
    async (context) => {
      const call = context.endpoint.unary(Cas, rawMethod('FindMissingBlobs'), Buffer.from([0x12, 0xff, 0xff, 0x03, 1]));
      await expectFailure(call, status.INTERNAL, status.INVALID_ARGUMENT);
      assert.equal((await findMissingWith(context, context.profile.instance)).missingBlobDigests.length, 1);
    },
  ),
  conformanceCase(
    {
      id: 'wire.message.unknown-fields',
      level: 'MUST',
      requirements: 'R-DIG-07',
      rule: 'Fields of a newer schema are passed over.',
    },
    async (context) => {
      const known = FindMissingBlobsRequest.fromPartial({
        instanceName: context.profile.instance,
        blobDigests: [freshBlob().digest],
      });
      // Field 1000, a string of three bytes.
      const bytes = Buffer.concat([FindMissingBlobsRequest.encode(known).finish(), Buffer.from('c23e03616263', 'hex')]);
      const answer = await context.endpoint.unary(Cas, rawMethod('FindMissingBlobs'), bytes);
      assert.equal(answer.missingBlobDigests.length, 1);
    },
  ),
  conformanceCase(
    {
      id: 'wire.message.oversized',
      level: 'SHOULD',
      requirements: 'R-XC-04 R-XC-13',
      rule: 'A message of 100 MiB is RESOURCE_EXHAUSTED, and the server lives on.',
    },
    async (context) => {
      const call = context.endpoint.unary(Cas, rawMethod('BatchUpdateBlobs'), Buffer.alloc(100 << 20));
      await expectFailure(call, status.RESOURCE_EXHAUSTED);
      assert.equal((await findMissingWith(context, context.profile.instance)).missingBlobDigests.length, 1);
    },
  ),
  conformanceCase(
    {
      id: 'wire.message.four-mebibytes',
      level: 'SHOULD',
      requirements: 'R-XC-04',
      rule: 'A write message of 4 MiB of data and its envelope is accepted.',
    },
    async (context) => {
      const { bytes, digest } = freshBlob(4 << 20);
      const name = resource(context, `uploads/wire/blobs/${digest.hash}/${digest.sizeBytes}`);
      expectEnd(await writeAll(context, writeMessages(name, bytes, bytes.length)), status.OK);
    },
  ),
  conformanceCase(
    {
      id: 'wire.streams.many',
      level: 'SHOULD',
      requirements: 'R-XC-06',
      rule: 'Two hundred reads at once on one connection are all answered.',
    },
    async (context) => {
      const blob = freshBlob(20_000);
      await storeBlobs(context, [blob]);
      const name = readName(context, blob.digest);
      const reads = await Promise.all(Array.from({ length: 200 }, () => readAll(context, name)));
      for (const read of reads) assert.ok(bytesOf(read).equals(blob.bytes), 'other bytes came back');
    },
  ),
];

const instanceCases = [
  ...(
    [
      ['double-slash', 'an empty segment', 'a//b'],
      ['reserved', 'a reserved segment', 'a/blobs/b'],
      ['trailing-slash', 'a slash at its end', 'a/'],
    ] as const
  ).map(([name, what, instance]) =>
    conformanceCase(
      {
        id: `wire.instance.${name}`,
        level: 'MUST',
        requirements: 'R-XC-03',
        rule: `An instance name with ${what} is refused.`,
      },
      async (context) => {
        await expectFailure(findMissingWith(context, instance), status.INVALID_ARGUMENT);
      },
    ),
  ),
  conformanceCase(
    {
      id: 'wire.instance.unknown',
      level: 'SHOULD',
      requirements: 'R-CAP-13',
      rule: 'Where instance names are restricted, another one is refused by every service with the same code.',
      needs: ['restrictedInstances'],
    },
    async (context) => {
      const instanceName = context.profile.unknownInstance;
      await expectFailure(findMissingWith(context, instanceName), status.INVALID_ARGUMENT);
      const request = GetCapabilitiesRequest.fromPartial({ instanceName });
      const { getCapabilities } = CapabilitiesDefinition.methods;
      const call = context.endpoint.unary(CapabilitiesDefinition, getCapabilities, request);
      await expectFailure(call, status.INVALID_ARGUMENT);
      const { digest } = freshBlob();
      const name = `${instanceName}/blobs/${digest.hash}/${digest.sizeBytes}`;
      expectEnd(await readAll(context, name), status.INVALID_ARGUMENT);
    },
  ),
];

/** What no honest client sends, and the frame around every call. */
export const wireCases = [...headerCases, ...messageCases, ...instanceCases];
