import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:http2';
import { deferred, until } from '../../test/support/deferred.ts';
import { framed, outcomeOf, RawGrpc } from '../../test/support/raw-grpc.ts';
import { testServers } from '../../test/support/test-server.ts';
import type { Method } from './methods.ts';

const PATH = '/test.Raw/Put';
const KIB = 1024;

describe('openWindows', () => {
  const servers = testServers();

  it('shows the stream window and the stream limit in the settings the peer gets (R-XC-06, R-XC-07)', async () => {
    const { port } = await servers.start([], { streamWindowBytes: 300 * KIB, maxConcurrentStreams: 321 });
    const raw = new RawGrpc(port);
    const [settings] = await once(raw.session, 'remoteSettings');
    assert.equal(settings.initialWindowSize, 300 * KIB);
    assert.equal(settings.maxConcurrentStreams, 321);
    raw.close();
  });

  it('leaves a connection open on which thousands of calls are cancelled: other calls go on', async () => {
    const silent: Method = {
      kind: 'server-streaming',
      path: PATH,
      async *handle(request, { signal }) {
        yield request;
        await once(signal, 'abort');
      },
    };
    const { port } = await servers.start([silent], {});
    const raw = new RawGrpc(port);
    const answered = async () => {
      const call = raw.call(PATH);
      call.end(framed(Buffer.from('x')));
      await once(call, 'data');
      return call;
    };
    const other = await answered();
    for (let round = 0; round < 30; round++) {
      const calls = await Promise.all(Array.from({ length: 50 }, answered));
      for (const call of calls) call.close(constants.NGHTTP2_CANCEL);
    }
    assert.equal((await answered()).closed, false);
    assert.deepEqual([raw.session.closed, other.closed], [false, false]);
    raw.close();
  });

  it('opens the connection window too: two streams nobody reads take more than 64 KiB together (R-XC-07)', async () => {
    const gate = deferred();
    const readLate: Method = {
      kind: 'client-streaming',
      path: PATH,
      handle: async (requests) => {
        await gate.promise;
        let received = 0;
        for await (const request of requests) received += request.length;
        return Buffer.from(String(received));
      },
    };
    const windows = { streamWindowBytes: 400 * KIB, connectionWindowBytes: 900 * KIB };
    const { port } = await servers.start([readLate], windows);
    const raw = new RawGrpc(port);
    await once(raw.session, 'remoteSettings');
    await until(() => (raw.session.state.remoteWindowSize ?? 0) >= 900 * KIB);
    const message = framed(Buffer.alloc(390 * KIB));
    const streams = [raw.call(PATH), raw.call(PATH)];
    // A write is called back when all of it was sent, which the window must allow before anyone reads.
    await Promise.all(streams.map((stream) => new Promise((resolve) => stream.write(message, resolve))));
    gate.resolve();
    for (const stream of streams) {
      const outcome = outcomeOf(stream);
      stream.end();
      assert.deepEqual((await outcome).body, framed(Buffer.from(String(390 * KIB))));
    }
    raw.close();
  });
});
