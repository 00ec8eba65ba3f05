import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Stream } from 'node:http2';
import { deferred, turns, until } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { framed, outcomeOf, RawGrpc } from '../../test/support/raw-grpc.ts';
import { rawMethod, TEST_SERVICE, testServers } from '../../test/support/test-server.ts';
import { isKind } from '../errors.ts';
import type { Call } from './call.ts';
import type { Messages, Method } from './methods.ts';

const PATH = '/test.Raw/Flow';
const FLOW = rawMethod('Flow');
const KIB = 1024;
const CHUNK = new Uint8Array(16 * KIB);
const WINDOWS = { streamWindowBytes: 128 * KIB, connectionWindowBytes: 256 * KIB };

/** Enough turns of the event loop for many windows to pass over a socket, if anything lets them pass. */
const SETTLING_TURNS = 300;

/** A server-streaming method without end, and what becomes of it. */
function endless() {
  const seen = { yielded: 0, isEnded: false, aborted: undefined as unknown };
  const started = deferred<Call>();
  const method: Method = {
    kind: 'server-streaming',
    path: PATH,
    handle: async function* (_request, call): Messages {
      call.signal.addEventListener('abort', () => {
        seen.aborted = call.signal.reason;
      });
      started.resolve(call);
      try {
        for (;;) {
          seen.yielded++;
          yield CHUNK;
        }
      } finally {
        seen.isEnded = true;
      }
    },
  };
  return { method, seen, started: started.promise };
}

/** A handler that waits for nothing but its signal. */
function hanging(kind: 'unary' | 'client-streaming') {
  const started = deferred<Call>();
  const handle = async (_request: unknown, call: Call): Promise<Uint8Array> => {
    started.resolve(call);
    await once(call.signal, 'abort');
    throw call.signal.reason;
  };
  const method: Method = kind === 'unary' ? { kind, path: PATH, handle } : { kind, path: PATH, handle };
  return { method, started: started.promise };
}

describe('GrpcJsServer: cancelling', () => {
  const servers = testServers();

  for (const kind of ['unary', 'client-streaming'] as const) {
    it(`aborts the signal of a ${kind} call when the caller cancels (R-XC-09)`, async () => {
      const { method, started } = hanging(kind);
      const { port, records } = await servers.start([method]);
      const raw = new RawGrpc(port);
      const stream = raw.call(PATH);
      if (kind === 'unary') stream.end(framed(Buffer.from('x')));
      const { signal } = await started;
      stream.close(8);
      await until(() => signal.aborted && records.length === 1);
      assert.equal(isKind(signal.reason, 'cancelled'), true);
      assert.equal(records[0]?.code, 1);
      raw.close();
    });

    it(`aborts the signal of a ${kind} call at its deadline, and says so (R-XC-09)`, async () => {
      const { method, started } = hanging(kind);
      const { port, records } = await servers.start([method]);
      const raw = new RawGrpc(port);
      const stream = raw.call(PATH, { 'grpc-timeout': '20m' });
      const outcome = outcomeOf(stream);
      if (kind === 'unary') stream.end(framed(Buffer.from('x')));
      assert.equal((await outcome).status, 4);
      const { signal } = await started;
      await until(() => signal.aborted && records.length === 1);
      assert.equal(isKind(signal.reason, 'timed-out'), true);
      assert.equal(records[0]?.code, 4);
      raw.close();
    });
  }

  for (const [what, leave] of [
    ['cancels', (_raw: RawGrpc, stream: ClientHttp2Stream) => stream.close(8)],
    ['vanishes', (raw: RawGrpc) => raw.session.destroy()],
  ] as const) {
    it(`ends a stream that waits for its reader when the reader ${what}`, async () => {
      const { method, seen } = endless();
      const { port } = await servers.start([method], WINDOWS);
      const raw = new RawGrpc(port);
      const stream = raw.call(PATH);
      stream.on('error', (error) => assert.equal(error.name, 'Error'));
      stream.end(framed(Buffer.from('x')));
      await once(stream, 'response');
      await turns(SETTLING_TURNS);
      leave(raw, stream);
      await until(() => seen.isEnded);
      assert.equal(isKind(seen.aborted, 'cancelled'), true);
      raw.close();
    });
  }

  it('ends a stream that waits for its reader at the deadline, though the status cannot reach the reader', async () => {
    const { method, seen } = endless();
    const { port } = await servers.start([method], WINDOWS);
    const raw = new RawGrpc(port);
    const stream = raw.call(PATH, { 'grpc-timeout': '20m' });
    stream.end(framed(Buffer.from('x')));
    await until(() => seen.isEnded);
    assert.equal(isKind(seen.aborted, 'timed-out'), true);
    raw.close();
  });

  for (const [what, leave] of [
    ['vanishes', (raw: RawGrpc) => raw.session.socket.destroy()],
    ['closes its session', (raw: RawGrpc) => raw.session.destroy()],
    ['resets the stream without an error', (_raw: RawGrpc, stream: ClientHttp2Stream) => stream.close(0)],
    ['resets the stream with CANCEL', (_raw: RawGrpc, stream: ClientHttp2Stream) => stream.close(8)],
  ] as const) {
    it(`fails the requests of a sender that ${what}: half an upload must not look like a whole one`, async () => {
      const got = deferred();
      const end = deferred<unknown>();
      const method: Method = {
        kind: 'client-streaming',
        path: PATH,
        handle: async (requests) => {
          try {
            for await (const _ of requests) got.resolve();
          } catch (error) {
            end.resolve(error);
            throw error;
          }
          end.resolve('the requests ended well');
          return Buffer.from('complete');
        },
      };
      const { port, server } = await servers.start([method]);
      const raw = new RawGrpc(port);
      const stream = raw.call(PATH);
      stream.on('error', (error) => assert.equal(error.name, 'Error'));
      stream.write(framed(CHUNK));
      await got.promise;
      leave(raw, stream);
      assert.equal(isKind(await end.promise, 'cancelled'), true, String(await end.promise));
      raw.close();
      await until(() => server.connections === 0);
    });
  }

  it('does not abort the signal of a call that ended well', async () => {
    const calls: Call[] = [];
    const handle = async (request: Uint8Array, call: Call): Promise<Uint8Array> => {
      calls.push(call);
      return request;
    };
    const method: Method = { kind: 'unary', path: PATH, handle };
    const { client } = await servers.start([method]);
    await client.unary(TEST_SERVICE, FLOW, CHUNK, { signal: noAbort(), timeoutMs: 60_000 });
    client.close();
    await turns(20);
    assert.deepEqual(
      calls.map((call) => call.signal.aborted),
      [false],
    );
  });
});

describe('GrpcJsServer: answering before the last request (R-BS-38)', () => {
  const servers = testServers();
  const answerFirst = (isReading: boolean): Method => ({
    kind: 'client-streaming',
    path: PATH,
    handle: async (requests) => {
      if (isReading) for await (const _ of requests) break;
      return Buffer.from('have it');
    },
  });

  for (const isReading of [true, false]) {
    const how = isReading ? 'after one request' : 'without reading any';
    it(`gives our client the response, and lets go of its source, ${how}`, async () => {
      const { client } = await servers.start([answerFirst(isReading)], WINDOWS);
      let isEnded = false;
      async function* source(): Messages {
        try {
          for (;;) yield CHUNK;
        } finally {
          isEnded = true;
        }
      }
      const response = await client.clientStream(TEST_SERVICE, FLOW, source(), { signal: noAbort() });
      assert.equal(Buffer.from(response).toString(), 'have it');
      await until(() => isEnded);
    });

    it(`gives any client response and trailers, and takes megabytes that still come, ${how} (R-BS-39)`, async () => {
      const { port } = await servers.start([answerFirst(isReading)], WINDOWS);
      const raw = new RawGrpc(port);
      const stream = raw.call(PATH);
      const outcome = outcomeOf(stream);
      stream.write(framed(CHUNK));
      const { status, body } = await outcome;
      assert.deepEqual([status, body], [0, framed(Buffer.from('have it'))]);
      const isClosed = once(stream, 'close');
      for (let sent = 0; sent < 4096 * KIB; sent += CHUNK.length) {
        await new Promise((resolve) => stream.write(framed(CHUNK), resolve));
      }
      stream.end();
      await isClosed;
      assert.equal(stream.rstCode, 0);
      raw.close();
    });
  }

  it('gives the client an error too while it is still sending', async () => {
    const full: Method = { kind: 'client-streaming', path: PATH, handle: () => Promise.reject(new Error('bug')) };
    const { client } = await servers.start([full], WINDOWS);
    async function* source(): Messages {
      for (;;) yield CHUNK;
    }
    await assert.rejects(client.clientStream(TEST_SERVICE, FLOW, source(), { signal: noAbort() }), ofKind('internal'));
  });
});

describe('GrpcJsServer: back-pressure', () => {
  const servers = testServers();

  it('holds a sender back when the handler does not read, and goes on when it does', async () => {
    const gate = deferred();
    const total = 400;
    const method: Method = {
      kind: 'client-streaming',
      path: PATH,
      handle: async (requests) => {
        await gate.promise;
        let count = 0;
        for await (const _ of requests) count++;
        return Buffer.from(String(count));
      },
    };
    const { client } = await servers.start([method], WINDOWS);
    let pulled = 0;
    async function* source(): Messages {
      for (; pulled < total; pulled++) yield CHUNK;
    }
    const response = client.clientStream(TEST_SERVICE, FLOW, source(), { signal: noAbort() });
    await until(() => pulled > 4);
    await turns(SETTLING_TURNS);
    const windowMessages = WINDOWS.streamWindowBytes / CHUNK.length;
    // A client of grpc-js also keeps up to 1 MiB in case it has to send the call again.
    const retryMessages = (1024 * KIB) / CHUNK.length;
    assert.ok(pulled <= windowMessages + retryMessages + 8, `${pulled} messages were taken from the source`);
    gate.resolve();
    assert.equal(Buffer.from(await response).toString(), String(total));
  });

  it('holds a reading handler that pauses back too, after the window and a few messages', async () => {
    const gate = deferred();
    const method: Method = {
      kind: 'bidi-streaming',
      path: PATH,
      handle: async function* (requests) {
        let count = 0;
        for await (const _ of requests) {
          if (++count === 3) await gate.promise;
        }
        yield Buffer.from(String(count));
      },
    };
    const { port } = await servers.start([method], WINDOWS);
    const raw = new RawGrpc(port);
    const stream = raw.call(PATH);
    const outcome = outcomeOf(stream);
    let sent = 0;
    const sending = (async () => {
      for (; sent < 200; sent++) await new Promise((resolve) => stream.write(framed(CHUNK), resolve));
      stream.end();
    })();
    await until(() => sent > 4);
    await turns(SETTLING_TURNS);
    const windowMessages = WINDOWS.streamWindowBytes / CHUNK.length;
    assert.ok(sent <= 3 + windowMessages + 8, `${sent} messages were sent`);
    gate.resolve();
    await sending;
    assert.deepEqual((await outcome).body, framed(Buffer.from('200')));
    raw.close();
  });

  it('stops a producer whose reader does not read, and goes on when it does', async () => {
    const { method, seen } = endless();
    const { port } = await servers.start([method], WINDOWS);
    const raw = new RawGrpc(port);
    const stream = raw.call(PATH);
    stream.on('error', (error) => assert.equal(error.name, 'Error'));
    stream.end(framed(Buffer.from('x')));
    await once(stream, 'response');
    await turns(SETTLING_TURNS);
    const stoppedAt = seen.yielded;
    // The reader's own window is the 64 KiB of HTTP/2, four messages; as many again wait in the stream.
    assert.ok(stoppedAt <= 4 + 4 + 4, `${stoppedAt} messages were made`);
    await turns(SETTLING_TURNS);
    assert.equal(seen.yielded, stoppedAt);
    stream.resume();
    await until(() => seen.yielded > stoppedAt + 50);
    raw.close();
  });
});
