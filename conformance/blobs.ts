import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import {
  BatchUpdateBlobsRequest,
  ContentAddressableStorageDefinition as Cas,
  type Digest,
  FindMissingBlobsRequest,
} from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { ByteStreamDefinition, type ReadResponse, type WriteRequest } from '../src/gen/google/bytestream/bytestream.ts';
import type { CaseContext } from './case.ts';
import type { Streamed } from './endpoint.ts';
import { expectEnd } from './expect.ts';

/** Bytes and their SHA-256 digest. */
export interface Blob {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
}

/** A blob of exactly these bytes. */
export function blobOf(bytes: Uint8Array | string): Blob {
  const content = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  const hash = createHash('sha256').update(content).digest('hex');
  return { bytes: content, digest: { hash, sizeBytes: BigInt(content.length) } };
}

/** A blob nobody has stored before: random, so that runs against one server do not disturb each other. */
export function freshBlob(sizeBytes = 100): Blob {
  return blobOf(randomBytes(sizeBytes));
}

/** The empty blob, which every server has. */
export const EMPTY_BLOB = blobOf('');

/** A name that occurs once, for uploads and file contents. */
export function freshName(): string {
  const hex = randomBytes(16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** The digests of `digests` that the server says it lacks. */
export async function findMissing(context: CaseContext, digests: readonly Digest[]): Promise<readonly Digest[]> {
  const request = FindMissingBlobsRequest.fromPartial({
    instanceName: context.profile.instance,
    blobDigests: [...digests],
  });
  const answer = await context.endpoint.unary(Cas, Cas.methods.findMissingBlobs, request);
  return answer.missingBlobDigests;
}

/** Passes if the server says that it lacks the blob. */
export async function expectAbsent(context: CaseContext, digest: Digest): Promise<void> {
  assert.deepEqual(await findMissing(context, [digest]), [digest], 'the blob must not be there');
}

/** Passes if the server says that it has the blob. */
export async function expectStored(context: CaseContext, digest: Digest): Promise<void> {
  assert.deepEqual(await findMissing(context, [digest]), [], 'the blob must be there');
}

/** Stores small blobs with one BatchUpdateBlobs. @throws AssertionError unless every one was accepted. */
export async function storeBlobs(context: CaseContext, blobs: readonly Blob[]): Promise<void> {
  const request = BatchUpdateBlobsRequest.fromPartial({
    instanceName: context.profile.instance,
    requests: blobs.map(({ bytes, digest }) => ({ digest, data: bytes })),
  });
  const answer = await context.endpoint.unary(Cas, Cas.methods.batchUpdateBlobs, request);
  for (const response of answer.responses) {
    assert.equal(response.status?.code ?? 0, status.OK, `storing a blob: ${response.status?.message}`);
  }
}

/** `prefix/rest`, or `rest` for the empty instance name. */
export function resource(context: CaseContext, rest: string): string {
  return context.profile.instance === '' ? rest : `${context.profile.instance}/${rest}`;
}

/** The name under which a blob is read. */
export function readName(context: CaseContext, digest: Digest): string {
  return resource(context, `blobs/${digest.hash}/${digest.sizeBytes}`);
}

/** A name under which a blob is written. */
export function writeName(context: CaseContext, digest: Digest, upload = freshName()): string {
  return resource(context, `uploads/${upload}/blobs/${digest.hash}/${digest.sizeBytes}`);
}

/** Messages that write `bytes` in pieces, the last of which finishes. */
export function writeMessages(name: string, bytes: Uint8Array, pieceBytes = 1 << 20): readonly WriteRequest[] {
  const messages: WriteRequest[] = [];
  let offset = 0;
  do {
    const data = bytes.subarray(offset, offset + pieceBytes);
    const next = offset + data.length;
    messages.push({ resourceName: name, writeOffset: BigInt(offset), data, finishWrite: next === bytes.length });
    offset = next;
  } while (offset < bytes.length);
  return messages;
}

/** Sends these messages, half-closes, and returns what came back. */
export async function writeAll(context: CaseContext, messages: readonly WriteRequest[]) {
  const call = context.endpoint.open(ByteStreamDefinition, ByteStreamDefinition.methods.write);
  for (const message of messages) call.send(message);
  return await call.finish();
}

/** Stores a blob of any size with ByteStream.Write. */
export async function writeBlob(context: CaseContext, blob: Blob): Promise<void> {
  expectEnd(await writeAll(context, writeMessages(writeName(context, blob.digest), blob.bytes)), status.OK);
}

/** Reads by resource name; `range` in bytes of the blob. */
export async function readAll(
  context: CaseContext,
  resourceName: string,
  range: { readonly offset?: bigint; readonly limit?: bigint } = {},
): Promise<Streamed<ReadResponse>> {
  const request = { resourceName, readOffset: range.offset ?? 0n, readLimit: range.limit ?? 0n };
  return await context.endpoint.stream(ByteStreamDefinition, ByteStreamDefinition.methods.read, request);
}

/** The bytes of a read that ended with OK. */
export function bytesOf(streamed: Streamed<ReadResponse>): Buffer {
  expectEnd(streamed, status.OK);
  return Buffer.concat(streamed.messages.map(({ data }) => data));
}
