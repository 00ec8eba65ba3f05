import assert from 'node:assert/strict';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import { deferred } from '../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { framed, outcomeOf, RawGrpc } from '../../test/support/raw-grpc.ts';
import { rawMethod, TEST_SERVICE, testServers } from '../../test/support/test-server.ts';
import { ReapiError } from '../errors.ts';
import { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { PreconditionFailure } from '../gen/google/rpc/error_details.ts';
import { Status } from '../gen/google/rpc/status.ts';
import { HealthDefinition } from '../gen/grpc/health/v1/health.ts';
import { SystemClock } from '../system/clock.ts';
import { isAny } from './any.ts';
import type { Call } from './call.ts';
import { GrpcJsServer } from './grpc-js-server.ts';
import { type Messages, type Method, unary } from './methods.ts';

const PATH = '/test.Raw/Do';
const DO = rawMethod('Do');

function unaryMethod(handle: (request: Uint8Array, call: Call) => Promise<Uint8Array>): Method {
  return { kind: 'unary', path: PATH, handle };
}

const ECHO = unaryMethod(async (request) => request);

function failingWith(error: unknown): Method {
  return unaryMethod(() => Promise.reject(error));
}

async function* send(...texts: readonly string[]): Messages {
  for (const text of texts) yield Buffer.from(text);
}

async function textsOf(messages: Messages): Promise<string[]> {
  const texts: string[] = [];
  for await (const message of messages) texts.push(Buffer.from(message).toString());
  return texts;
}

describe('GrpcJsServer: the four kinds of methods', () => {
  const servers = testServers();

  it('answers a unary call with the bytes the handler gives, empty ones too', async () => {
    const { client, records } = await servers.start([ECHO]);
    for (const bytes of [Buffer.from('hello'), Buffer.alloc(0), Buffer.alloc(3_000_000, 7)]) {
      const response = await client.unary(TEST_SERVICE, DO, bytes, { signal: noAbort() });
      assert.equal(Buffer.compare(response, bytes), 0);
    }
    assert.deepEqual(
      records.map(({ path, code }) => [path, code]),
      Array(3).fill([PATH, 0]),
    );
    assert.ok(records.every(({ durationMs }) => durationMs >= 0));
  });

  it('sends what a server-streaming handler yields, in order', async () => {
    const count: Method = {
      kind: 'server-streaming',
      path: PATH,
      handle: (request) => send(...Array.from({ length: 100 }, (_, index) => `${request}${index}`)),
    };
    const { client } = await servers.start([count]);
    const responses = client.serverStream(TEST_SERVICE, DO, Buffer.from('#'), { signal: noAbort() });
    assert.deepEqual(
      await textsOf(responses),
      Array.from({ length: 100 }, (_, index) => `#${index}`),
    );
  });

  it('hands all requests of a client stream to the handler, in order', async () => {
    const join: Method = {
      kind: 'client-streaming',
      path: PATH,
      handle: async (requests) => Buffer.from((await textsOf(requests)).join('+')),
    };
    const { client } = await servers.start([join]);
    const response = await client.clientStream(TEST_SERVICE, DO, send('a', '', 'b', 'c'), { signal: noAbort() });
    assert.equal(Buffer.from(response).toString(), 'a++b+c');
  });

  it('answers a bidirectional call while requests still come', async () => {
    const shout: Method = {
      kind: 'bidi-streaming',
      path: PATH,
      handle: async function* (requests) {
        for await (const request of requests) yield Buffer.from(`${request}!`);
        yield Buffer.from('bye');
      },
    };
    const { port } = await servers.start([shout]);
    const raw = new RawGrpc(port);
    const stream = raw.call(PATH);
    const outcome = outcomeOf(stream);
    stream.write(framed(Buffer.from('a')));
    const [first] = await once(stream, 'data');
    assert.deepEqual(first, framed(Buffer.from('a!')));
    stream.end(framed(Buffer.from('b')));
    assert.equal((await outcome).status, 0);
    assert.deepEqual((await outcome).body, Buffer.concat(['a!', 'b!', 'bye'].map((text) => framed(Buffer.from(text)))));
    raw.close();
  });

  it('says in a line per call what happened, only when asked to', async () => {
    const quiet = await servers.start([ECHO]);
    await quiet.client.unary(TEST_SERVICE, DO, Buffer.from('x'), { signal: noAbort() });
    assert.deepEqual(quiet.logLines, []);
    const talkative = await servers.start([ECHO], { logRequests: true });
    await talkative.client.unary(TEST_SERVICE, DO, Buffer.from('x'), { signal: noAbort() });
    assert.deepEqual(
      talkative.logLines.map(({ level, path, code }) => [level, path, code]),
      [['info', PATH, 0]],
    );
  });

  it('refuses two methods of one path, which is a bug of the composition', async () => {
    await assert.rejects(servers.start([ECHO, ECHO]), /registered twice/);
  });

  it('says unavailable if it cannot listen', async () => {
    const { port, server } = await servers.start([ECHO]);
    assert.equal(server instanceof GrpcJsServer, true);
    const other = await servers.start([ECHO]);
    for (const address of [`127.0.0.1:${port}`, 'unix:/no/such/folder/socket', 'nonsense://x']) {
      await assert.rejects(other.server.listen(address), ofKind('unavailable'), address);
    }
  });
});

describe('GrpcJsServer: failures', () => {
  const servers = testServers();

  for (const [kind, make] of Object.entries({
    unary: (error: unknown) => failingWith(error),
    'server-streaming': (error: unknown): Method => ({
      kind: 'server-streaming',
      path: PATH,
      handle: async function* () {
        yield Buffer.from('first');
        throw error;
      },
    }),
    'client-streaming': (error: unknown): Method => ({
      kind: 'client-streaming',
      path: PATH,
      handle: () => Promise.reject(error),
    }),
    'bidi-streaming': (error: unknown): Method => ({
      kind: 'bidi-streaming',
      path: PATH,
      handle: async function* (requests) {
        for await (const request of requests) yield request;
        throw error;
      },
    }),
  })) {
    it(`sends the status of a ReapiError that a ${kind} handler throws`, async () => {
      const { port, records, logLines } = await servers.start([make(new ReapiError('out-of-range', 'too far'))]);
      const raw = new RawGrpc(port);
      const { status, trailers, headers } = await raw.unary(PATH, Buffer.from('x'));
      assert.equal(status, 11);
      assert.equal(trailers['grpc-message'] ?? headers['grpc-message'], 'too%20far');
      assert.deepEqual(
        records.map(({ code }) => code),
        [11],
      );
      assert.deepEqual(logLines, []);
      raw.close();
    });

    it(`says INTERNAL and nothing more for a bug in a ${kind} handler, and logs it once`, async () => {
      const { port, logLines, records } = await servers.start([make(new TypeError('secret of the server'))]);
      const raw = new RawGrpc(port);
      const { status, trailers, headers } = await raw.unary(PATH, Buffer.from('x'));
      assert.equal(status, 13);
      assert.doesNotMatch(JSON.stringify([trailers, headers]), /secret/);
      assert.deepEqual(
        records.map(({ code }) => code),
        [13],
      );
      assert.equal(logLines.length, 1);
      assert.match(JSON.stringify(logLines), /"error".*TypeError.*secret of the server/);
      raw.close();
    });
  }

  it('survives a handler that throws before it returns a promise', async () => {
    const throwing = unaryMethod(() => {
      throw new ReapiError('denied', 'at once');
    });
    const { client } = await servers.start([throwing]);
    await assert.rejects(client.unary(TEST_SERVICE, DO, Buffer.from('x'), { signal: noAbort() }), ofKind('denied'));
  });

  it('puts details into grpc-status-details-bin, with the code of grpc-status (R-EX-47)', async () => {
    const missing = [{ function: 'sha256', hash: 'a'.repeat(64), sizeBytes: 3 }];
    const { port } = await servers.start([failingWith(new ReapiError('missing-inputs', 'upload', { missing }))]);
    const raw = new RawGrpc(port);
    const { status, headers } = await raw.unary(PATH, Buffer.from('x'));
    const details = Status.decode(Buffer.from(String(headers['grpc-status-details-bin']), 'base64'));
    assert.deepEqual([status, details.code, details.message], [9, 9, 'upload']);
    const [any] = details.details;
    assert.ok(any !== undefined && isAny(any, 'google.rpc.PreconditionFailure'));
    assert.equal(PreconditionFailure.decode(any.value).violations[0]?.subject, `blobs/${'a'.repeat(64)}/3`);
    raw.close();
  });

  it('cuts thousands of missing blobs to what fits in trailers (R-EX-43)', async () => {
    const missing = Array.from({ length: 5000 }, (_, index) => ({
      function: 'sha256',
      hash: index.toString(16).padStart(64, '0'),
      sizeBytes: index,
    }));
    const { port } = await servers.start([failingWith(new ReapiError('missing-inputs', 'upload', { missing }))]);
    const raw = new RawGrpc(port);
    const { headers } = await raw.unary(PATH, Buffer.from('x'));
    const bytes = Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + String(value).length, 0);
    assert.ok(bytes < 8192, `${bytes} bytes of headers`);
    raw.close();
  });

  for (const [what, message, expected] of [
    ['characters outside ASCII', 'größe: 😀 €', 'größe: 😀 €'],
    ['line breaks', 'one\r\ntwo\0three', 'one\r\ntwo\0three'],
    ['percent signs', '100 % %41 %zz', '100 % %41 %zz'],
    ['half a surrogate pair', 'a\ud800b', 'a\ufffdb'],
    ['no text', '', ''],
  ] as const) {
    it(`brings a message with ${what} to the client`, async () => {
      const { client } = await servers.start([failingWith(new ReapiError('precondition', message))]);
      await assert.rejects(client.unary(TEST_SERVICE, DO, Buffer.from('x'), { signal: noAbort() }), {
        kind: 'precondition',
        message: expected,
      });
    });
  }

  it('brings the beginning of a very long message to the client', async () => {
    const { client } = await servers.start([failingWith(new ReapiError('precondition', '€'.repeat(100_000)))]);
    await assert.rejects(
      client.unary(TEST_SERVICE, DO, Buffer.from('x'), { signal: noAbort() }),
      (error) => ofKind('precondition')(error) && error instanceof Error && /^€{100,}…$/.test(error.message),
    );
  });

  it('says UNIMPLEMENTED for a method it does not have (R-XC-13)', async () => {
    const { client } = await servers.start([ECHO]);
    const call = client.unary(TEST_SERVICE, rawMethod('Other'), Buffer.from('x'), { signal: noAbort() });
    await assert.rejects(call, ofKind('unimplemented'));
  });

  it('says INTERNAL for a request that does not decode (R-XC-13)', async () => {
    const method = unary(HealthDefinition, HealthDefinition.methods.check, () => assert.fail('not called'));
    const { port } = await servers.start([method]);
    const raw = new RawGrpc(port);
    assert.equal((await raw.unary(method.path, Buffer.from([0xff, 0xff]))).status, 13);
    raw.close();
  });

  it('says UNIMPLEMENTED for a unary call without or with two messages (R-XC-13)', async () => {
    const { port } = await servers.start([ECHO]);
    const raw = new RawGrpc(port);
    for (const frames of [[], [framed(Buffer.from('a')), framed(Buffer.from('b'))]]) {
      const stream = raw.call(PATH);
      stream.end(Buffer.concat(frames));
      assert.equal((await outcomeOf(stream)).status, 12);
    }
    raw.close();
  });

  it('says RESOURCE_EXHAUSTED for a message above the limit, without calling the handler (R-XC-04)', async () => {
    const method = unaryMethod(() => assert.fail('not called'));
    const { client, port } = await servers.start([method], { maxReceiveMessageBytes: 1000 });
    const call = client.unary(TEST_SERVICE, DO, Buffer.alloc(1001), { signal: noAbort() });
    await assert.rejects(call, ofKind('quota-exceeded'));
    const raw = new RawGrpc(port);
    const bomb = raw.call(PATH, { 'grpc-encoding': 'gzip' });
    bomb.end(framed(gzipSync(Buffer.alloc(100_000)), true));
    assert.equal((await outcomeOf(bomb)).status, 8);
    raw.close();
  });

  it('breaks a client stream off at a message above the limit', async () => {
    const aborted = deferred();
    const read: Method = {
      kind: 'client-streaming',
      path: PATH,
      handle: async (requests, call) => {
        call.signal.addEventListener('abort', () => aborted.resolve());
        await textsOf(requests);
        return Buffer.from('all');
      },
    };
    const { client } = await servers.start([read], { maxReceiveMessageBytes: 1000 });
    const call = client.clientStream(TEST_SERVICE, DO, send('fine', 'x'.repeat(2000), 'fine'), { signal: noAbort() });
    await assert.rejects(call, ofKind('quota-exceeded'));
    await aborted.promise;
  });

  it('accepts gzip and refuses encodings it does not know (R-XC-08)', async () => {
    const { port } = await servers.start([ECHO]);
    const raw = new RawGrpc(port);
    const gzipped = raw.call(PATH, { 'grpc-encoding': 'gzip' });
    gzipped.end(framed(gzipSync(Buffer.from('small')), true));
    assert.deepEqual((await outcomeOf(gzipped)).body, framed(Buffer.from('small')));
    const unknown = raw.call(PATH, { 'grpc-encoding': 'snappy' });
    unknown.end(framed(Buffer.from('small'), true));
    assert.equal((await outcomeOf(unknown)).status, 12);
    raw.close();
  });
});

describe('GrpcJsServer: what a handler learns of its call', () => {
  const servers = testServers();
  const clock = new SystemClock();
  const HEADER = 'build.bazel.remote.execution.v2.requestmetadata-bin';

  async function callSeen(headers: Readonly<Record<string, string>>): Promise<Call> {
    const seen = deferred<Call>();
    const method = unaryMethod(async (request, call) => {
      seen.resolve(call);
      return request;
    });
    const { port } = await servers.start([method], { principal: { name: 'ci', kind: 'anonymous' } });
    const raw = new RawGrpc(port);
    assert.equal((await raw.unary(PATH, Buffer.from('x'), headers)).status, 0);
    raw.close();
    return seen.promise;
  }

  it('is path, principal and headers, and no deadline if there is none', async () => {
    const call = await callSeen({ 'x-team': 'red' });
    assert.equal(call.path, PATH);
    assert.deepEqual(call.principal, { name: 'ci', kind: 'anonymous' });
    assert.deepEqual([call.header('x-team'), call.header('x-other')], ['red', undefined]);
    assert.equal(call.deadlineMs, undefined);
    assert.equal(call.requestMetadata, undefined);
    assert.equal(call.signal.aborted, false);
  });

  it('is the request metadata, or nothing if they are garbage (R-XC-01)', async () => {
    const bytes = RequestMetadata.encode(RequestMetadata.fromPartial({ toolInvocationId: 'abcd' })).finish();
    const call = await callSeen({ [HEADER]: Buffer.from(bytes).toString('base64') });
    assert.equal(call.requestMetadata?.toolInvocationId, 'abcd');
    assert.equal((await callSeen({ [HEADER]: '/////w==' })).requestMetadata, undefined);
    assert.equal((await callSeen({ [HEADER]: '!!! not base64 !!!' })).requestMetadata?.toolInvocationId ?? '', '');
  });

  it('is the deadline in wall time (R-XC-09)', async () => {
    const before = clock.nowMs();
    const { deadlineMs } = await callSeen({ 'grpc-timeout': '60S' });
    assert.ok(deadlineMs !== undefined && deadlineMs >= before + 60_000 && deadlineMs <= clock.nowMs() + 60_000);
  });

  for (const timeout of ['720H', '2592000S', '99999999H', '2147484S']) {
    it(`is a deadline far ahead for the timeout ${timeout}, which does not fail at once`, async () => {
      const { deadlineMs } = await callSeen({ 'grpc-timeout': timeout });
      assert.ok(deadlineMs !== undefined && deadlineMs > clock.nowMs() + 24 * 24 * 3_600_000);
    });
  }
});
