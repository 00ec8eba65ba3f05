import assert from 'node:assert/strict';
import { once } from 'node:events';
import { deferred, until } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { rawMethod, TEST_SERVICE, testServers } from '../../test/support/test-server.ts';
import { type ErrorKind, ReapiError } from '../errors.ts';
import { streamOf } from '../system/byte-stream.ts';
import type { Call } from './call.ts';
import { CONNECT_DEFAULTS, connect } from './client.ts';
import type { Messages, Method } from './methods.ts';
import { fromWireStatus, toWireStatus } from './status.ts';

const PATH = '/test.Raw/Do';
const DO = rawMethod('Do');
const X = Buffer.from('x');

const ECHO: Method = { kind: 'unary', path: PATH, handle: async (request) => request };

/** A unary or client-streaming method that answers never, and its call. */
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

/** Yields numbered messages without end, and tells when it is over. */
function counting() {
  const started = deferred<Call>();
  const ended = deferred();
  const method: Method = {
    kind: 'server-streaming',
    path: PATH,
    handle: async function* (_request, call): Messages {
      started.resolve(call);
      try {
        for (let count = 0; ; count++) yield Buffer.from(String(count));
      } finally {
        ended.resolve();
      }
    },
  };
  return { method, started: started.promise, ended: ended.promise };
}

describe('connect', () => {
  const servers = testServers();

  it('takes a target with and without the scheme grpc', async () => {
    const { port } = await servers.start([ECHO]);
    for (const target of [`127.0.0.1:${port}`, `grpc://127.0.0.1:${port}`]) {
      const client = connect(target);
      assert.equal(Buffer.compare(await client.unary(TEST_SERVICE, DO, X, { signal: noAbort() }), X), 0);
      client.close();
    }
  });

  it('says unavailable when nobody listens', async () => {
    const { port, close } = await servers.start([ECHO]);
    await close();
    const client = connect(`127.0.0.1:${port}`);
    await assert.rejects(client.unary(TEST_SERVICE, DO, X, { signal: noAbort() }), ofKind('unavailable'));
    client.close();
  });

  it('refuses a response above its own limit', async () => {
    const big: Method = { kind: 'unary', path: PATH, handle: async () => Buffer.alloc(2000) };
    const server = await servers.start([big]);
    const client = server.connect({ maxReceiveMessageBytes: 1000 });
    await assert.rejects(client.unary(TEST_SERVICE, DO, X, { signal: noAbort() }), ofKind('quota-exceeded'));
  });

  it('fails a call after close, which is a bug of the caller', async () => {
    const { client } = await servers.start([ECHO]);
    client.close();
    await assert.rejects(client.unary(TEST_SERVICE, DO, X, { signal: noAbort() }), /shut down/);
  });
});

describe('RpcClient.unary', () => {
  const servers = testServers();

  for (const kind of [
    'invalid-argument',
    'out-of-range',
    'unauthenticated',
    'denied',
    'blob-not-found',
    'missing-inputs',
    'quota-exceeded',
    'unavailable',
    'timed-out',
    'cancelled',
    'data-loss',
    'unimplemented',
    'internal',
  ] as const satisfies readonly ErrorKind[]) {
    it(`throws what the code for ${kind} stands for, with the message of the server`, async () => {
      const error = new ReapiError(kind, `it was ${kind}`);
      const failing: Method = { kind: 'unary', path: PATH, handle: () => Promise.reject(error) };
      const { client } = await servers.start([failing]);
      await assert.rejects(client.unary(TEST_SERVICE, DO, X, { signal: noAbort() }), {
        name: 'ReapiError',
        kind: fromWireStatus(toWireStatus(error).code, '').kind,
        message: `it was ${kind}`,
      });
    });
  }

  it('sends headers, bytes in those that end in -bin', async () => {
    const seen = deferred<Call>();
    const method: Method = {
      kind: 'unary',
      path: PATH,
      handle: async (request, call) => {
        seen.resolve(call);
        return request;
      },
    };
    const { client } = await servers.start([method]);
    const metadata = { 'x-team': 'red', 'x-raw-bin': Buffer.from('größe') };
    await client.unary(TEST_SERVICE, DO, X, { signal: noAbort(), metadata });
    const call = await seen.promise;
    assert.deepEqual([call.header('x-team'), call.header('x-raw-bin')], ['red', 'größe']);
  });

  it('does not reach the handler when the signal is aborted before', async () => {
    const method: Method = { kind: 'unary', path: PATH, handle: () => assert.fail('not called') };
    const { client, records } = await servers.start([method, { ...ECHO, path: '/test.Raw/Echo' }]);
    const options = { signal: AbortSignal.abort(new Error('too late')) };
    await assert.rejects(client.unary(TEST_SERVICE, DO, X, options), ofKind('cancelled'));
    await client.unary(TEST_SERVICE, rawMethod('Echo'), X, { signal: noAbort() });
    assert.deepEqual(
      records.map(({ path }) => path),
      ['/test.Raw/Echo'],
    );
  });

  it('cancels the call on the server when the signal aborts', async () => {
    const { method, started } = hanging('unary');
    const { client } = await servers.start([method]);
    const abort = new AbortController();
    const reason = new Error('enough');
    const failed = assert.rejects(
      client.unary(TEST_SERVICE, DO, X, { signal: abort.signal }),
      (error) => ofKind('cancelled')(error) && error instanceof Error && error.cause === reason,
    );
    const { signal } = await started;
    abort.abort(reason);
    await failed;
    await until(() => signal.aborted);
  });

  it('counts timeoutMs from the time of its clock, and says timed-out when it has passed', async () => {
    const { method } = hanging('unary');
    const server = await servers.start([method]);
    const client = server.connect({ clock: new FakeClock(0) });
    const call = client.unary(TEST_SERVICE, DO, X, { signal: noAbort(), timeoutMs: 60_000 });
    await assert.rejects(call, ofKind('timed-out'));
  });

  it('tells the server its deadline', async () => {
    const { method, started } = hanging('unary');
    const { client } = await servers.start([method]);
    const abort = new AbortController();
    const failed = assert.rejects(client.unary(TEST_SERVICE, DO, X, { signal: abort.signal, timeoutMs: 60_000 }));
    const { deadlineMs } = await started;
    const expectedMs = CONNECT_DEFAULTS.clock.nowMs() + 60_000;
    assert.ok(deadlineMs !== undefined && Math.abs(deadlineMs - expectedMs) < 30_000);
    abort.abort();
    await failed;
  });

  it('says internal for a response that does not decode', async () => {
    const { client } = await servers.start([ECHO]);
    const decode = (): never => {
      throw new RangeError('not such a message');
    };
    const method = { ...DO, responseType: { ...DO.responseType, decode } };
    await assert.rejects(client.unary(TEST_SERVICE, method, X, { signal: noAbort() }), ofKind('internal'));
  });
});

describe('RpcClient.serverStream', () => {
  const servers = testServers();

  it('cancels the call on the server when the iteration is left early', async () => {
    const { method, ended, started } = counting();
    const { client } = await servers.start([method]);
    const texts: string[] = [];
    for await (const message of client.serverStream(TEST_SERVICE, DO, X, { signal: noAbort() })) {
      texts.push(Buffer.from(message).toString());
      if (texts.length === 3) break;
    }
    assert.deepEqual(texts, ['0', '1', '2']);
    await ended;
    assert.equal((await started).signal.aborted, true);
  });

  it('throws cancelled when the signal aborts in the middle', async () => {
    const { method, ended } = counting();
    const { client } = await servers.start([method]);
    const abort = new AbortController();
    const read = async (): Promise<void> => {
      for await (const _ of client.serverStream(TEST_SERVICE, DO, X, { signal: abort.signal })) abort.abort();
    };
    await assert.rejects(read(), ofKind('cancelled'));
    await ended;
  });

  it('throws the error of the server after the messages before it', async () => {
    const method: Method = {
      kind: 'server-streaming',
      path: PATH,
      handle: async function* () {
        yield Buffer.from('one');
        throw new ReapiError('data-loss', 'damaged');
      },
    };
    const { client } = await servers.start([method]);
    const texts: string[] = [];
    const read = async (): Promise<void> => {
      const messages = client.serverStream(TEST_SERVICE, DO, X, { signal: noAbort() });
      for await (const message of messages) texts.push(Buffer.from(message).toString());
    };
    await assert.rejects(read(), { kind: 'data-loss', message: 'damaged' });
    assert.deepEqual(texts, ['one']);
  });

  it('opens no call before it is iterated', async () => {
    const { method } = counting();
    const { client, server } = await servers.start([method]);
    client.serverStream(TEST_SERVICE, DO, X, { signal: noAbort() });
    assert.equal(server.connections, 0);
  });
});

describe('RpcClient.clientStream', () => {
  const servers = testServers();

  it('cancels the call and throws what the source throws', async () => {
    const { method, started } = hanging('client-streaming');
    const { client } = await servers.start([method]);
    const broken = new Error('the file is gone');
    async function* source(): Messages {
      yield X;
      await started;
      throw broken;
    }
    await assert.rejects(client.clientStream(TEST_SERVICE, DO, source(), { signal: noAbort() }), broken);
    const { signal } = await started;
    await until(() => signal.aborted);
  });

  it('ends the source when the signal aborts', async () => {
    const { method, started } = hanging('client-streaming');
    const { client } = await servers.start([method]);
    const abort = new AbortController();
    const ended = deferred();
    async function* source(): Messages {
      try {
        for (;;) yield new Uint8Array(64 * 1024);
      } finally {
        ended.resolve();
      }
    }
    const call = assert.rejects(
      client.clientStream(TEST_SERVICE, DO, source(), { signal: abort.signal }),
      ofKind('cancelled'),
    );
    await started;
    abort.abort();
    await call;
    await ended.promise;
  });

  it('sends nothing but the end for an empty source', async () => {
    const count: Method = {
      kind: 'client-streaming',
      path: PATH,
      handle: async (requests) => {
        let messages = 0;
        for await (const _ of requests) messages++;
        return Buffer.from(String(messages));
      },
    };
    const { client } = await servers.start([count]);
    const nothing = streamOf();
    const response = await client.clientStream(TEST_SERVICE, DO, nothing, { signal: noAbort() });
    assert.equal(Buffer.from(response).toString(), '0');
  });
});
