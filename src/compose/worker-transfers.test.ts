import assert from 'node:assert/strict';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { OpenAuthorizer } from '../auth/authorizer.ts';
import { ANONYMOUS } from '../auth/principal.ts';
import { BlobBytes } from '../cas/blob-bytes.ts';
import { casMethods } from '../cas/cas-service.ts';
import { MemoryBlobStore } from '../cas/memory-blob-store.ts';
import { Uploads } from '../cas/uploads.ts';
import { digestOf } from '../digest/hasher.ts';
import { InstanceNames, parseInstanceName } from '../digest/instance-name.ts';
import { BoundedClient } from '../rpc/bounded-client.ts';
import { byteStreamMethods } from '../rpc/byte-stream-service.ts';
import { connect } from '../rpc/client.ts';
import { GrpcJsServer } from '../rpc/grpc-js-server.ts';
import { streamOf } from '../system/byte-stream.ts';
import { SystemClock } from '../system/clock.ts';
import { NO_LOG } from '../system/log.ts';
import { SystemRandom } from '../system/random.ts';
import { RemoteStore } from '../worker/remote-store.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

async function startStorage(address: string): Promise<GrpcJsServer> {
  const clock = new SystemClock();
  const store = new MemoryBlobStore({ maxBytes: 512 * MIB });
  const access = { authorizer: new OpenAuthorizer(), instances: new InstanceNames() };
  const limits = {
    maxBatchTotalSizeBytes: 3 * MIB,
    maxBlobSizeBytes: 0,
    maxDigestsPerRequest: 50_000,
    maxMessageBytes: 4 * MIB,
    maxTreeDirectories: 1_000,
    maxTreeDepth: 100,
    maxDirectoriesPerPage: 1_000,
  };
  const uploads = new Uploads(store, clock, { suspendedTtlMs: 1_000, maxSuspended: 0 });
  const methods = [
    ...casMethods(store, access, limits),
    ...byteStreamMethods([new BlobBytes(store, uploads, { ...access, maxBlobSizeBytes: 0 })]),
  ];
  const server = new GrpcJsServer(methods, {
    clock,
    log: NO_LOG,
    principal: ANONYMOUS,
    onCallEnd: () => undefined,
    maxReceiveMessageBytes: 16 * MIB,
    streamWindowBytes: 4 * MIB,
    connectionWindowBytes: 32 * MIB,
    maxConcurrentStreams: 1_000,
    maxConnections: 10,
    keepaliveIntervalMs: 60_000,
    keepaliveTimeoutMs: 20_000,
    logRequests: false,
  });
  await server.listen(address);
  return server;
}

describe('transfers of a worker over a unix socket', () => {
  it('go on both ways at once, though no socket buffer holds them', async () => {
    const address = `unix:${join(temporaryFolder(), 'storage.sock')}`;
    const server = await startStorage(address);
    const clients = { reads: new BoundedClient(connect(address)), writes: new BoundedClient(connect(address)) };
    const store = new RemoteStore(clients, new SystemRandom(), {
      instance: parseInstanceName(''),
      digestFunction: 'sha256',
      maxBatchBytes: 3 * MIB,
      maxSmallBytes: MIB,
      callTimeoutMs: 60_000,
    });
    const blob = (seed: number, sizeBytes: number) => {
      const bytes = Buffer.alloc(sizeBytes, seed);
      return { digest: digestOf('sha256', bytes), bytes };
    };
    const write = async (seed: number): Promise<void> => {
      const { digest, bytes } = blob(seed, 8 * MIB);
      await store.write(digest, streamOf(bytes), never);
    };
    const read = async (seed: number): Promise<void> => {
      let sizeBytes = 0;
      for await (const chunk of store.open(blob(seed, 8 * MIB).digest, never)) sizeBytes += chunk.length;
      assert.equal(sizeBytes, 8 * MIB);
    };
    const small = Array.from({ length: 2_000 }, (_, index) => blob(index, 3_000 + index));
    try {
      await write(1);
      await write(2);
      await store.writeAll(small, never);
      const digests = small.map(({ digest }) => digest);
      const results = await Promise.all([
        store.readAll(digests, never),
        ...[3, 4, 5].map(write),
        ...[1, 2, 1, 2].map(read),
        store.findMissing(digests, never),
      ]);
      assert.equal(Object(results[0]).size, small.length);
    } finally {
      clients.reads.close();
      clients.writes.close();
      server.force();
    }
  });
});
