import assert from 'node:assert/strict';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { ReadResponse } from '../gen/google/bytestream/bytestream.ts';
import type { ClientMethod, RpcClient, ServiceName } from '../rpc/client.ts';
import { remotePeers } from './remote-peers.ts';

/** A CAS that counts the bytes of each batch. */
class CountingStorage implements RpcClient {
  readonly batchBytes: number[] = [];
  streams = 0;
  readonly #blobs: ReadonlyMap<string, Uint8Array>;

  constructor(blobs: ReadonlyMap<string, Uint8Array>) {
    this.#blobs = blobs;
  }

  async unary<Req, Res>(_service: ServiceName, method: ClientMethod<Req, Res>, request: Req): Promise<Res> {
    const { digests } = BatchReadBlobsRequest.decode(method.requestType.encode(request).finish());
    this.batchBytes.push(digests.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes), 0));
    const responses = digests.map((digest) => ({ digest, data: this.#bytesOf(digest.hash) }));
    const answer = BatchReadBlobsResponse.encode(BatchReadBlobsResponse.fromPartial({ responses })).finish();
    return method.responseType.decode(answer);
  }

  async *serverStream<Req, Res>(_service: ServiceName, method: ClientMethod<Req, Res>): AsyncIterable<Res> {
    this.streams++;
    for (const data of this.#blobs.values()) yield method.responseType.decode(ReadResponse.encode({ data }).finish());
  }

  clientStream(): Promise<never> {
    return Promise.reject(new Error('nothing is written'));
  }

  close(): void {
    this.batchBytes.length = 0;
  }

  #bytesOf(hash: string): Uint8Array {
    const bytes = this.#blobs.get(hash);
    assert.ok(bytes !== undefined, 'only blobs that exist are asked for');
    return bytes;
  }
}

describe('remotePeers', () => {
  const read = async (count: number, sizeBytes: number, maxBatchBytes: number): Promise<CountingStorage> => {
    const blobs = Array.from({ length: count }, (_, index) => Buffer.alloc(sizeBytes).fill(index + 1, 0, 1));
    const digests = blobs.map((bytes) => digestOf('sha256', bytes));
    const byHash = digests.flatMap((digest, index): [string, Uint8Array][] => {
      const bytes = blobs[index];
      return bytes ? [[digestToWire(digest).hash, bytes]] : [];
    });
    const storage = new CountingStorage(new Map(byHash));
    const random = { fraction: () => 0, uuid: () => 'id', token: () => '' };
    const action = { instance: parseInstanceName('main'), action: digestOf('sha256', Buffer.from('action')) };
    const store = remotePeers(storage, { reads: storage, writes: storage }, random, { maxBatchBytes }).storeFor(action);
    const found = await store.readAll(digests, new AbortController().signal);
    assert.equal(found.size, count);
    return storage;
  };

  it('reads more small blobs than one batch may hold in batches that the storage accepts (R-CAP-06)', async () => {
    const { batchBytes, streams } = await read(10, 30_000, 100_000);
    assert.deepEqual(batchBytes, [90_000, 90_000, 90_000, 30_000]);
    assert.equal(streams, 0);
  });

  it('streams a blob that is larger than a batch', async () => {
    const { batchBytes, streams } = await read(1, 100_001, 100_000);
    assert.deepEqual(batchBytes, []);
    assert.equal(streams, 1);
  });
});
