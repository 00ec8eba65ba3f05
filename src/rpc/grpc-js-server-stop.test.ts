import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deferred, turns, until } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { framed, outcomeOf, RawGrpc } from '../../test/support/raw-grpc.ts';
import { rawMethod, TEST_SERVICE, testServers } from '../../test/support/test-server.ts';
import { SystemClock, sleep } from '../system/clock.ts';
import type { Call } from './call.ts';
import { CONNECT_DEFAULTS, connect } from './client.ts';
import type { Method } from './methods.ts';

const PATH = '/test.Raw/Wait';
const WAIT = rawMethod('Wait');
const X = Buffer.from('x');

/** A unary method that answers when it is told to, or fails when its signal aborts and it heeds it. */
function waiting(isHeeding = true) {
  const started = deferred<Call>();
  const gate = deferred<Uint8Array>();
  const method: Method = {
    kind: 'unary',
    path: PATH,
    handle: (_request, call) => {
      started.resolve(call);
      if (!isHeeding) return gate.promise;
      return Promise.race([gate.promise, once(call.signal, 'abort').then(() => Promise.reject(call.signal.reason))]);
    },
  };
  return { method, started: started.promise, answer: gate.resolve };
}

describe('GrpcJsServer.stop', () => {
  const servers = testServers();

  it('lets a running call end, refuses new ones, and leaves no timer (R-XC-11)', async () => {
    const clock = new FakeClock();
    const { method, started, answer } = waiting();
    const { client, server, connect: another } = await servers.start([method], { clock });
    const running = client.unary(TEST_SERVICE, WAIT, X, { signal: noAbort() });
    await started;
    const stopped = server.stop(10_000);
    await turns(20);
    for (const caller of [client, another()]) {
      await assert.rejects(caller.unary(TEST_SERVICE, WAIT, X, { signal: noAbort() }), ofKind('unavailable'));
    }
    answer(Buffer.from('done'));
    assert.equal(Buffer.from(await running).toString(), 'done');
    await stopped;
    assert.equal(clock.armed, 0);
    assert.equal(server.connections, 0);
  });

  it('ends at once when nothing runs, idle connections or not', async () => {
    const clock = new FakeClock();
    const { server, port } = await servers.start([], { clock });
    const raw = new RawGrpc(port);
    await until(() => server.connections === 1);
    await server.stop(10_000);
    await until(() => raw.session.closed);
    assert.deepEqual([clock.armed, server.connections], [0, 0]);
    assert.deepEqual(new Set(raw.goaways), new Set([0]));
  });

  it('does not take a caller for dead because its connection is closing (R-XC-11)', async () => {
    const keepaliveIntervalMs = 5;
    const { method, started, answer } = waiting();
    const { server, port } = await servers.start([method], { keepaliveIntervalMs });
    const raw = new RawGrpc(port);
    const pinged = once(raw.session, 'ping');
    const running = raw.unary(PATH, X);
    await started;
    await pinged;
    const stopped = server.stop(10_000);
    // Timers of one length fire in the order in which they were set: after two of ours the server's next ping was due.
    const clock = new SystemClock();
    for (let count = 0; count < 2; count++) await sleep(clock, keepaliveIntervalMs, noAbort());
    answer(Buffer.from('done'));
    assert.equal((await running).status, 0);
    await stopped;
  });

  it('aborts what still runs after the grace time, which the caller sees as UNAVAILABLE (R-XC-11)', async () => {
    const clock = new FakeClock();
    const { method, started } = waiting();
    const { client, server } = await servers.start([method], { clock });
    const running = client.unary(TEST_SERVICE, WAIT, X, { signal: noAbort() });
    const { signal } = await started;
    const stopped = server.stop(10_000);
    clock.advance(9_999);
    await turns(20);
    assert.equal(signal.aborted, false);
    clock.advance(1);
    assert.equal(signal.aborted, true);
    await assert.rejects(running, { kind: 'unavailable', message: 'the server is stopping' });
    await stopped;
  });

  it('ends after the grace time even if a handler ignores its signal for ever', async () => {
    const clock = new FakeClock();
    const { method, started } = waiting(false);
    const { client, server } = await servers.start([method], { clock });
    const failed = assert.rejects(client.unary(TEST_SERVICE, WAIT, X, { signal: noAbort() }), ofKind('unavailable'));
    await started;
    const stopped = server.stop(10_000);
    clock.advance(10_000);
    await stopped;
    await failed;
    assert.equal(server.connections, 0);
  });
});

describe('GrpcJsServer.force', () => {
  const servers = testServers();

  it('aborts the signals of all calls with unavailable, and closes', async () => {
    const { method, started } = waiting();
    const { client, server } = await servers.start([method]);
    const running = client.unary(TEST_SERVICE, WAIT, X, { signal: noAbort() });
    const { signal } = await started;
    server.force();
    assert.equal(ofKind('unavailable')(signal.reason), true);
    await assert.rejects(running, ofKind('unavailable'));
    await until(() => server.connections === 0);
  });

  it('tells the reader of a stream that the server is stopping, after what was sent before', async () => {
    const method: Method = {
      kind: 'server-streaming',
      path: PATH,
      handle: async function* (_request, call) {
        yield Buffer.from('first');
        await once(call.signal, 'abort');
        throw call.signal.reason;
      },
    };
    const { port, server } = await servers.start([method]);
    const raw = new RawGrpc(port);
    const stream = raw.call(PATH);
    const outcome = outcomeOf(stream);
    stream.end(framed(X));
    await once(stream, 'data');
    server.force();
    const { status, body } = await outcome;
    assert.deepEqual([status, body], [14, framed(Buffer.from('first'))]);
  });

  it('may be called twice, and after stop', async () => {
    const { server } = await servers.start([]);
    await server.stop(0);
    server.force();
    server.force();
  });
});

describe('GrpcJsServer: connections', () => {
  const servers = testServers();
  const echo: Method = { kind: 'unary', path: PATH, handle: async (request) => request };

  it('closes a connection above the limit at once, and admits one again when another has gone', async () => {
    const { server, port, logLines } = await servers.start([echo], { maxConnections: 1 });
    const first = new RawGrpc(port);
    assert.equal((await first.unary(PATH, X)).status, 0);
    const second = new RawGrpc(port);
    await once(second.session, 'close');
    assert.equal(server.connections, 1);
    assert.deepEqual(
      logLines.map(({ level }) => level),
      ['warn'],
    );
    assert.equal((await first.unary(PATH, X)).status, 0);
    first.close();
    await until(() => server.connections === 0);
    const third = new RawGrpc(port);
    assert.equal((await third.unary(PATH, X)).status, 0);
    third.close();
  });

  it('tolerates a client that pings a thousand times without a call (R-XC-10)', async () => {
    const { port } = await servers.start([echo]);
    const raw = new RawGrpc(port);
    await once(raw.session, 'connect');
    for (let count = 0; count < 1000; count++) {
      await new Promise<void>((resolve, reject) => {
        raw.session.ping((error) => (error === null ? resolve() : reject(error)));
      });
    }
    assert.deepEqual(raw.goaways, []);
    assert.equal((await raw.unary(PATH, X)).status, 0);
    raw.close();
  });

  it('listens on a unix socket, and our client finds it there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gantry-rpc-'));
    const { server } = await servers.start([echo]);
    const target = `unix:${join(folder, 'socket')}`;
    await server.listen(target);
    const client = connect(target, CONNECT_DEFAULTS);
    assert.equal(Buffer.compare(await client.unary(TEST_SERVICE, WAIT, X, { signal: noAbort() }), X), 0);
    client.close();
    rmSync(folder, { recursive: true });
  });
});
