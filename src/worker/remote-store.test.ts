import assert from 'node:assert/strict';
import { digestFromWire, digestToWire, emptyDigest } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { ReadRequest, ReadResponse, WriteRequest, WriteResponse } from '../gen/google/bytestream/bytestream.ts';
import { Code } from '../gen/google/rpc/code.ts';
import type { CallOptions, ClientMethod, RpcClient, ServiceName } from '../rpc/client.ts';
import { collect, streamOf } from '../system/byte-stream.ts';
import { RemoteStore } from './remote-store.ts';

/** A server that keeps blobs by hash. Answers go over the wire format, so that types are what a peer would send. */
class FakeServer implements RpcClient {
  readonly blobs = new Map<string, Uint8Array>();
  readonly writes: WriteRequest[] = [];
  readonly batchSizes: number[] = [];
  readonly reads: string[] = [];
  /** What it says of every blob of a batch. */
  blobCode: Code = Code.OK;

  unary<Req, Res>(
    _service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
    options: CallOptions,
  ): Promise<Res> {
    assert.ok(options.timeoutMs !== undefined, 'every unary call has a deadline');
    const bytes = method.requestType.encode(request).finish();
    return Promise.resolve(method.responseType.decode(this.#answer(method.name, bytes)));
  }

  async *serverStream<Req, Res>(
    _service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
  ): AsyncIterable<Res> {
    const { resourceName } = ReadRequest.decode(method.requestType.encode(request).finish());
    this.reads.push(resourceName);
    const data = this.blobs.get(resourceName.split('/').at(-2) ?? '');
    if (data === undefined) throw new ReapiError('not-found', 'absent');
    for (const part of [new Uint8Array(0), data.subarray(0, 3), data.subarray(3)]) {
      yield method.responseType.decode(ReadResponse.encode({ data: part }).finish());
    }
  }

  async clientStream<Req, Res>(
    _service: ServiceName,
    method: ClientMethod<Req, Res>,
    requests: AsyncIterable<Req>,
  ): Promise<Res> {
    let committed = 0;
    for await (const request of requests) {
      const write = WriteRequest.decode(method.requestType.encode(request).finish());
      this.writes.push(write);
      committed += write.data.length;
    }
    return method.responseType.decode(WriteResponse.encode({ committedSize: BigInt(committed) }).finish());
  }

  close(): void {
    this.blobs.clear();
  }

  #answer(name: string, bytes: Uint8Array): Uint8Array {
    if (name === 'FindMissingBlobs') {
      const { blobDigests } = FindMissingBlobsRequest.decode(bytes);
      const missingBlobDigests = blobDigests.filter(({ hash }) => !this.blobs.has(hash));
      return FindMissingBlobsResponse.encode({ missingBlobDigests }).finish();
    }
    if (name === 'BatchReadBlobs') {
      const { digests } = BatchReadBlobsRequest.decode(bytes);
      this.batchSizes.push(digests.length);
      const responses = digests.map((digest) => {
        if (this.blobCode !== Code.OK) return { digest, status: { code: this.blobCode, message: 'said the storage' } };
        const data = this.blobs.get(digest.hash);
        return data === undefined ? { digest, status: { code: 5 } } : { digest, data };
      });
      return BatchReadBlobsResponse.encode(BatchReadBlobsResponse.fromPartial({ responses })).finish();
    }
    const { requests } = BatchUpdateBlobsRequest.decode(bytes);
    this.batchSizes.push(requests.length);
    const responses = requests.map(({ digest, data }) => {
      if (this.blobCode !== Code.OK) return { status: { code: this.blobCode, message: 'said the storage' } };
      if (data[0] === 0xff) return { ...(digest && { digest }), status: { code: 8, message: 'full' } };
      this.blobs.set(digest?.hash ?? '', data);
      return { ...(digest && { digest }) };
    });
    return BatchUpdateBlobsResponse.encode(BatchUpdateBlobsResponse.fromPartial({ responses })).finish();
  }
}

// biome-ignore lint/correctness/useYield: it fails before it has anything to yield
async function* failingStream(failure: Error): AsyncGenerator<never> {
  await Promise.reject(failure);
}

describe('RemoteStore', () => {
  const never = new AbortController().signal;
  let server: FakeServer;
  let store: RemoteStore;

  beforeEach(() => {
    server = new FakeServer();
    const random = { fraction: () => 0, uuid: () => 'id', token: () => '' };
    store = new RemoteStore({ reads: server, writes: server }, random, {
      instance: parseInstanceName('a/b'),
      digestFunction: 'sha256',
      maxBatchBytes: 500,
      maxSmallBytes: 100,
      callTimeoutMs: 1000,
    });
  });

  const blob = (text: string) => ({ digest: digestOf('sha256', Buffer.from(text)), bytes: Buffer.from(text) });

  it('writes small blobs in batches below the limit and finds them again', async () => {
    const blobs = ['one', 'two', 'three', 'four'].map(blob);
    await store.writeAll(blobs, never);
    assert.deepEqual(server.batchSizes, [3, 1]);
    const other = blob('other');
    const missing = await store.findMissing([...blobs.map(({ digest }) => digest), other.digest], never);
    assert.deepEqual(missing, [other.digest]);
    const read = await store.readAll([...blobs.map(({ digest }) => digest), other.digest], never);
    assert.deepEqual(
      [...read.values()].map((bytes) => Buffer.from(bytes).toString()),
      ['one', 'two', 'three', 'four'],
    );
  });

  it('never asks for the empty blob (T-19)', async () => {
    const read = await store.readAll([emptyDigest('sha256')], never);
    assert.equal([...read.values()][0]?.length, 0);
    assert.deepEqual(server.batchSizes, []);
  });

  it('reads large blobs by ByteStream, under the whole instance name; absent ones are left out', async () => {
    const large = blob('L'.repeat(200));
    server.blobs.set(large.digest.hash, large.bytes);
    const read = await store.readAll([large.digest, blob('M'.repeat(200)).digest], never);
    assert.equal(read.size, 1);
    assert.equal(server.reads[0], `a/b/blobs/${large.digest.hash}/200`);
  });

  it('refuses bytes that do not match their digest, in batches and in streams', async () => {
    const [small, large] = [blob('small'), blob('L'.repeat(200))];
    server.blobs.set(small.digest.hash, Buffer.from('SMALL'));
    server.blobs.set(large.digest.hash, Buffer.from('X'.repeat(200)));
    await assert.rejects(store.readAll([small.digest], never), (error) => isKind(error, 'internal'));
    await assert.rejects(collect(store.open(large.digest, never), 1000), (error) => isKind(error, 'internal'));
    server.blobs.set(large.digest.hash, Buffer.from('L'.repeat(201)));
    await assert.rejects(collect(store.open(large.digest, never), 1000), (error) => isKind(error, 'internal'));
  });

  it('writes large blobs in pieces, with name, offsets and an end (R-BS-30, R-BS-35)', async () => {
    const bytes = Buffer.alloc(100_000, 'x');
    const digest = digestOf('sha256', bytes);
    await store.write(digest, streamOf(bytes), never);
    assert.deepEqual(
      server.writes.map((write) => [
        write.resourceName !== '',
        Number(write.writeOffset),
        write.data.length,
        write.finishWrite,
      ]),
      [
        [true, 0, 65536, false],
        [false, 65536, 34464, false],
        [false, 100_000, 0, true],
      ],
    );
    assert.equal(server.writes[0]?.resourceName, `a/b/uploads/id/blobs/${digest.hash}/100000`);
  });

  it('fails when one blob of a batch fails, and when the server kept less than all', async () => {
    const refused = { digest: digestOf('sha256', Uint8Array.from([0xff])), bytes: Uint8Array.from([0xff]) };
    await assert.rejects(store.writeAll([blob('ok'), refused], never), (error) => isKind(error, 'quota-exceeded'));
    const digest = digestFromWire('sha256', { ...digestToWire(blob('abc').digest), sizeBytes: 9n }, 'digest');
    await assert.rejects(store.write(digest, streamOf(Buffer.from('abc')), never), (error) =>
      isKind(error, 'unavailable'),
    );
  });

  it('takes a call that the storage finds malformed for a fault of the worker, not of the action', async () => {
    server.unary = () => Promise.reject(new ReapiError('invalid-argument', 'the batch is too large'));
    const blob = { digest: digestOf('sha256', Buffer.from('x')), bytes: Buffer.from('x') };
    for (const call of [
      store.writeAll([blob], new AbortController().signal),
      store.readAll([blob.digest], new AbortController().signal),
      store.findMissing([blob.digest], new AbortController().signal),
    ]) {
      await assert.rejects(call, (error) => isKind(error, 'internal') && /the batch is too large/.test(error.message));
    }
  });

  for (const [kind, becomes] of [
    ['timed-out', 'unavailable'],
    ['cancelled', 'unavailable'],
    ['denied', 'internal'],
    ['unauthenticated', 'internal'],
    ['not-found', 'internal'],
    ['precondition', 'internal'],
    ['out-of-range', 'internal'],
    ['unimplemented', 'internal'],
    ['data-loss', 'internal'],
    ['quota-exceeded', 'quota-exceeded'],
  ] as const) {
    it(`reports ${kind} of the storage as ${becomes}, so that it does not look like the action’s own`, async () => {
      const failure = new ReapiError(kind, 'said the storage');
      server.unary = () => Promise.reject(failure);
      server.clientStream = () => Promise.reject(failure);
      server.serverStream = () => failingStream(failure);
      const { digest, bytes } = blob('x');
      for (const call of [
        store.writeAll([{ digest, bytes }], never),
        store.findMissing([digest], never),
        store.write(digest, streamOf(bytes), never),
        // That a blob is absent is for the caller to judge.
        ...(kind === 'not-found' ? [] : [collect(store.open(digest, never), 1000)]),
      ]) {
        await assert.rejects(call, (error) => isKind(error, becomes) && /said the storage/.test(error.message));
      }
    });
  }

  for (const [code, becomes] of [
    [Code.DEADLINE_EXCEEDED, 'unavailable'],
    [Code.CANCELLED, 'unavailable'],
    [Code.INVALID_ARGUMENT, 'internal'],
    [Code.PERMISSION_DENIED, 'internal'],
    [Code.FAILED_PRECONDITION, 'internal'],
    [Code.DATA_LOSS, 'internal'],
  ] as const) {
    it(`reports code ${code} for one blob of a batch as ${becomes}: a late storage is no action that took too long`, async () => {
      server.blobCode = code;
      const { digest, bytes } = blob('x');
      for (const call of [store.readAll([digest], never), store.writeAll([{ digest, bytes }], never)]) {
        await assert.rejects(call, (error) => isKind(error, becomes) && /said the storage/.test(error.message));
      }
    });
  }

  it('takes a digest that is none for a fault of the storage', async () => {
    server.unary = async (_service, method) =>
      method.responseType.decode(
        FindMissingBlobsResponse.encode({ missingBlobDigests: [{ hash: 'x', sizeBytes: 1n }] }).finish(),
      );
    await assert.rejects(store.findMissing([blob('x').digest], never), (error) => isKind(error, 'internal'));
  });

  it('says that the storage takes no blob as large as an output, which it never will (R-CAS-13)', async () => {
    server.clientStream = () => Promise.reject(new ReapiError('invalid-argument', 'larger than 1000 bytes'));
    const { digest, bytes } = blob('x');
    await assert.rejects(store.write(digest, streamOf(bytes), never), (error) => isKind(error, 'invalid-argument'));
  });

  it('reports a call that was given up here as cancelled', async () => {
    server.unary = () => Promise.reject(new ReapiError('cancelled', 'the call was cancelled'));
    const gone = AbortSignal.abort();
    await assert.rejects(store.findMissing([blob('x').digest], gone), (error) => isKind(error, 'cancelled'));
  });

  it('stops an upload whose source is larger than its digest says', async () => {
    const { digest } = blob('abc');
    await assert.rejects(store.write(digest, streamOf(Buffer.from('abcd')), never), (error) =>
      isKind(error, 'precondition'),
    );
  });
});
