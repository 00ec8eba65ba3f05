import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemCode } from '../../src/errors.ts';
import { someBytes } from './blob-store-contract.ts';
import { turns, until } from './deferred.ts';
import { FakeClock } from './fake-clock.ts';
import type { Fault, PlannedRequest } from './faulty-s3-plan.ts';
import { FaultyS3Proxy } from './faulty-s3-proxy.ts';

const START_MS = Date.UTC(2026, 10, 21, 12);
const BODY = Buffer.from(someBytes(200_000));
/** Answered before the body is read. */
const HASTY = '/bucket/hasty';
const OBJECT = '/bucket/a%20key?x-id=GetObject';

/** What the upstream saw of a request. */
interface Seen {
  readonly line: string;
  readonly headers: IncomingMessage['headers'];
  bytes: number;
  isComplete: boolean;
}

/** What a client got. */
interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** System code of the error that ended the body too early. */
  readonly broke: string | undefined;
}

/** A server that knows one object and keeps note of what it is asked. */
class Upstream {
  readonly seen: Seen[] = [];
  readonly server: Server;
  #open = 0;

  constructor() {
    this.server = createServer();
    const take = (incoming: IncomingMessage, outgoing: ServerResponse): void => this.#take(incoming, outgoing);
    this.server.on('request', take).on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      if (incoming.url !== HASTY) outgoing.writeContinue();
      take(incoming, outgoing);
    });
  }

  #take(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const line = `${incoming.method} ${incoming.url}`;
    const note: Seen = { line, headers: incoming.headers, bytes: 0, isComplete: false };
    this.seen.push(note);
    this.#open++;
    outgoing.on('close', () => this.#open--);
    incoming.on('error', () => undefined);
    if (incoming.url === HASTY) {
      outgoing.writeHead(403, { 'Content-Length': 4 }).end('stop');
      return;
    }
    incoming.on('data', (chunk: Buffer) => {
      note.bytes += chunk.length;
    });
    incoming.on('end', () => {
      note.isComplete = true;
      const length = incoming.method === 'DELETE' ? 0 : BODY.length;
      outgoing.writeHead(length === 0 ? 204 : 200, { 'Content-Length': length, ETag: '"1"', 'X-Thing': ['a', 'b'] });
      outgoing.end(incoming.method === 'HEAD' || length === 0 ? undefined : BODY);
    });
  }

  get open(): number {
    return this.#open;
  }

  async start(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }
}

describe('FaultyS3Proxy', () => {
  let clock: FakeClock;
  let upstream: Upstream;
  let proxy: FaultyS3Proxy;
  let agent: Agent;

  beforeEach(async () => {
    clock = new FakeClock(START_MS);
    upstream = new Upstream();
    proxy = await FaultyS3Proxy.start({ upstream: await upstream.start(), clock });
    agent = new Agent({ keepAlive: true });
  });

  afterEach(async () => {
    agent.destroy();
    await proxy.stop();
    await upstream.stop();
    assert.deepEqual([proxy.inFlight, clock.armed], [0, 0]);
  });

  function ask(method: string, path: string, body?: Buffer, headers: Record<string, string> = {}): Promise<Got> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'Content-Length': `${body.length}` };
      const { hostname, port } = new URL(proxy.endpoint);
      const sent = request({ hostname, port, method, path, agent, headers: { ...length, ...headers } });
      // After the head has come, the body tells the error.
      sent.on('error', reject);
      sent.on('response', (answer) => {
        sent.off('error', reject).on('error', () => undefined);
        const chunks: Buffer[] = [];
        const done = (broke: string | undefined): void =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks), broke });
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => done(undefined));
        answer.on('error', (cause) => done(systemCode(cause)));
      });
      if (headers['Expect'] === undefined) sent.end(body);
      else sent.on('continue', () => sent.end(body));
    });
  }

  function fault(planned: Fault): void {
    proxy.setPlan(({ index }) => (index === 0 ? planned : undefined));
  }

  const isReset = (cause: unknown): boolean => systemCode(cause) === 'ECONNRESET';

  /** The next request is as good as any: nothing of the fault is left. */
  async function worksAgain(): Promise<void> {
    const got = await ask('GET', OBJECT);
    assert.deepEqual([got.status, got.broke, got.body.equals(BODY)], [200, undefined, true]);
    await until(() => proxy.inFlight === 0);
  }

  describe('without faults', () => {
    it('passes on what was signed as it is: host, path, query and headers', async () => {
      const got = await ask('PUT', '/bucket/%C3%BC+?b=2&a', BODY, { 'x-amz-date': '20261121T120000Z' });
      const [seen] = upstream.seen;
      assert.equal(seen?.line, 'PUT /bucket/%C3%BC+?b=2&a');
      assert.equal(seen.headers.host, new URL(proxy.endpoint).host);
      assert.equal(seen.headers['x-amz-date'], '20261121T120000Z');
      assert.deepEqual([seen.bytes, seen.isComplete], [BODY.length, true]);
      assert.deepEqual([got.status, got.headers.etag, got.headers['x-thing']], [200, '"1"', 'a, b']);
      assert.ok(got.body.equals(BODY));
    });

    it('asks the server before it lets a client send a body that waits for permission', async () => {
      const got = await ask('PUT', '/bucket/key', BODY, { Expect: '100-continue' });
      assert.deepEqual([got.status, upstream.seen[0]?.bytes], [200, BODY.length]);
      await worksAgain();
    });

    it('passes on bodies whose length nobody said, and answers without a body', async () => {
      await ask('PUT', '/bucket/key', undefined, { 'Transfer-Encoding': 'chunked' });
      const got = await ask('DELETE', '/bucket/key');
      assert.deepEqual([got.status, (await ask('HEAD', '/bucket/key')).headers['content-length']], [204, '200000']);
      assert.equal(upstream.seen[0]?.headers['transfer-encoding'], 'chunked');
    });

    it('passes on an answer that comes before the server has read the body', async () => {
      const asked = [ask('PUT', HASTY, Buffer.alloc(5_000_000)), ask('PUT', HASTY, BODY, { Expect: '100-continue' })];
      for (const { status, body } of await Promise.all(asked)) assert.deepEqual([status, `${body}`], [403, 'stop']);
      await worksAgain();
    });

    it('counts requests by what they ask for', async () => {
      await ask('GET', OBJECT);
      await ask('PUT', '/bucket/key', BODY);
      await ask('PUT', '/bucket/key', undefined, { 'x-amz-copy-source': 'bucket/other' });
      assert.deepEqual(
        [proxy.requests('GetObject'), proxy.requests('PutObject'), proxy.requests('CopyObject'), proxy.requests()],
        [1, 1, 1, 3],
      );
      assert.equal(proxy.injected(), 0);
    });

    it('shows a plan what is asked, counting from the time it was set', async () => {
      const asked: PlannedRequest[] = [];
      await ask('GET', OBJECT);
      proxy.setPlan((planned) => {
        asked.push(planned);
        return undefined;
      });
      await ask('GET', OBJECT);
      await ask('PUT', '/bucket/key?partNumber=2&uploadId=u', BODY);
      assert.deepEqual(
        asked.map(({ method, path, operation, index }) => [method, path, operation, index]),
        [
          ['GET', '/bucket/a%20key', 'GetObject', 0],
          ['PUT', '/bucket/key', 'UploadPart', 1],
        ],
      );
      assert.equal(asked[1]?.query.get('partNumber'), '2');
    });

    it('resets the client, and says so, if the server itself is not there', async () => {
      await upstream.stop();
      await assert.rejects(ask('GET', OBJECT), isReset);
      await until(() => proxy.upstreamFailures === 1);
      assert.equal(proxy.injected(), 0);
    });

    it('gives the request up if the client leaves', async () => {
      fault({ kind: 'slow-first-byte', ms: 1000 });
      const { hostname, port } = new URL(proxy.endpoint);
      const leaving = request({ hostname, port, path: OBJECT });
      leaving.on('error', () => undefined).end();
      await until(() => clock.armed === 1);
      leaving.destroy();
      await until(() => proxy.inFlight === 0);
      assert.equal(clock.armed, 0);
      await until(() => upstream.open === 0);
    });
  });

  describe('of the plan', () => {
    it('refuses in the words of S3 without asking the server', async () => {
      fault({ kind: 'status', status: 503, code: 'SlowDown' });
      const got = await ask('PUT', '/bucket/a&b', BODY);
      assert.deepEqual([got.status, got.headers['content-type']], [503, 'application/xml']);
      assert.match(got.body.toString(), /^<\?xml [^>]*\?>\n<Error><Code>SlowDown<\/Code><Message>/);
      assert.match(got.body.toString(), /<Resource>\/bucket\/a&amp;b<\/Resource>/);
      assert.deepEqual([upstream.seen.length, proxy.injected('status')], [0, 1]);
      await worksAgain();
    });

    it('refuses HEAD without a body, and a body that waits for permission without giving it', async () => {
      proxy.setPlan(() => ({ kind: 'status', status: 404, code: 'NoSuchKey' }));
      const head = await ask('HEAD', OBJECT);
      const put = await ask('PUT', OBJECT, BODY, { Expect: '100-continue' });
      assert.deepEqual([head.status, head.body.length, put.status], [404, 0, 404]);
    });

    it('lets the server do it and then breaks the connection', async () => {
      fault({ kind: 'fail-after' });
      await assert.rejects(ask('PUT', '/bucket/key', BODY), isReset);
      assert.deepEqual([upstream.seen[0]?.isComplete, proxy.injected('fail-after')], [true, 1]);
      await worksAgain();
    });

    it('breaks the connection in the middle of a request', async () => {
      fault({ kind: 'reset', of: 'request', afterBytes: 70_000 });
      await assert.rejects(ask('PUT', '/bucket/key', BODY), isReset);
      await until(() => upstream.seen[0]?.bytes === 70_000 && upstream.open === 0);
      assert.equal(upstream.seen[0]?.isComplete, false);
      await worksAgain();
    });

    it('breaks the connection in the middle of an answer', async () => {
      fault({ kind: 'reset', of: 'response', afterBytes: 70_000 });
      const got = await ask('GET', OBJECT);
      assert.deepEqual([got.status, got.body.length, got.broke], [200, 70_000, 'ECONNRESET']);
      assert.equal(proxy.injected('reset'), 1);
      await worksAgain();
    });

    it('ends an answer early', async () => {
      fault({ kind: 'truncate', afterBytes: 70_000 });
      const got = await ask('GET', OBJECT);
      assert.deepEqual([got.status, got.body.length, got.broke], [200, 70_000, 'ECONNRESET']);
      assert.equal(got.headers['content-length'], '200000');
      await worksAgain();
    });

    it('takes the last byte of a body that is shorter, and breaks before a message without one', async () => {
      fault({ kind: 'reset', of: 'response', afterBytes: 1e9 });
      assert.equal((await ask('GET', OBJECT)).body.length, BODY.length - 1);
      fault({ kind: 'reset', of: 'request', afterBytes: 1e9 });
      await assert.rejects(ask('PUT', '/bucket/key', BODY), isReset);
      await until(() => upstream.seen[1]?.bytes === BODY.length - 1);
      assert.equal(upstream.seen[1]?.isComplete, false);
      for (const planned of [
        { kind: 'reset', of: 'request', afterBytes: 0 },
        { kind: 'reset', of: 'response', afterBytes: 0 },
        { kind: 'truncate', afterBytes: 0 },
      ] as const) {
        fault(planned);
        await assert.rejects(ask('DELETE', '/bucket/key'), isReset);
      }
      assert.deepEqual([upstream.seen.length, proxy.injected()], [4, 5]);
    });

    it('says that an object is shorter than it is', async () => {
      fault({ kind: 'shorten', afterBytes: 70_000 });
      const got = await ask('GET', OBJECT);
      assert.deepEqual([got.headers['content-length'], got.broke], ['70000', undefined]);
      assert.ok(got.body.equals(BODY.subarray(0, 70_000)));
      await worksAgain();
    });

    it('flips one bit of an object', async () => {
      for (const [atByte, at] of [
        [150_000, 150_000],
        [1e9, BODY.length - 1],
      ] as const) {
        fault({ kind: 'corrupt', atByte });
        const { body, broke } = await ask('GET', OBJECT);
        assert.deepEqual([body.length, broke], [BODY.length, undefined]);
        const wrong = [...body.keys()].filter((index) => body[index] !== BODY[index]);
        assert.deepEqual([wrong, (body[at] ?? 0) ^ (BODY[at] ?? 0)], [[at], 1]);
      }
      fault({ kind: 'corrupt', atByte: 0 });
      assert.ok((await ask('GET', '/bucket?list-type=2')).body.equals(BODY), 'listings stay as they are');
      assert.equal(proxy.injected('corrupt'), 2);
    });

    it('answers late', async () => {
      fault({ kind: 'slow-first-byte', ms: 1000 });
      let isAnswered = false;
      const asked = ask('GET', OBJECT).then((got) => {
        isAnswered = true;
        return got;
      });
      await until(() => clock.armed === 1);
      clock.advance(999);
      await turns(50);
      assert.equal(isAnswered, false);
      clock.advance(1);
      assert.ok((await asked).body.equals(BODY));
    });

    for (const side of ['request', 'response'] as const) {
      it(`stands still in the middle of a ${side} until released`, async () => {
        fault({ kind: 'stall', of: side, afterBytes: 70_000 });
        const asked = ask('PUT', '/bucket/key', BODY);
        await until(() => proxy.injected('stall') === 1);
        await turns(50);
        assert.deepEqual([proxy.inFlight, upstream.seen[0]?.bytes], [1, side === 'request' ? 70_000 : BODY.length]);
        proxy.release();
        assert.ok((await asked).body.equals(BODY));
        assert.equal(upstream.seen[0]?.bytes, BODY.length);
        await worksAgain();
      });
    }

    it('breaks off what stands still when told to', async () => {
      fault({ kind: 'stall', of: 'response', afterBytes: 10 });
      const asked = ask('GET', OBJECT);
      await until(() => proxy.injected('stall') === 1);
      await turns(100);
      proxy.reset();
      assert.equal((await asked).broke, 'ECONNRESET');
      await worksAgain();
    });
  });

  describe('of the whole server', () => {
    it('resets all connections while it is down', async () => {
      fault({ kind: 'stall', of: 'request', afterBytes: 10 });
      const before = ask('PUT', '/bucket/key', BODY);
      await until(() => proxy.injected('stall') === 1);
      await Promise.all([assert.rejects(before, isReset), proxy.down()]);
      await assert.rejects(ask('GET', OBJECT), isReset);
      assert.equal(proxy.injected('down'), 1);
      await proxy.up();
      await worksAgain();
    });

    it('refuses connections while it is down, if told so, and is back at the same address', async () => {
      const { endpoint } = proxy;
      await ask('GET', OBJECT);
      agent.destroy();
      await proxy.down('refused');
      await assert.rejects(ask('GET', OBJECT), (cause) => systemCode(cause) === 'ECONNREFUSED');
      await proxy.up();
      assert.equal(proxy.endpoint, endpoint);
      await worksAgain();
    });

    it('is silent while it is down, if told so', async () => {
      fault({ kind: 'slow-first-byte', ms: 1000 });
      const under = ask('GET', OBJECT);
      await until(() => clock.armed === 1);
      await proxy.down('silent');
      clock.advance(1000);
      const later = ask('GET', OBJECT);
      await until(() => proxy.inFlight === 2);
      await turns(50);
      assert.equal(upstream.seen.length, 1);
      await Promise.all([assert.rejects(under, isReset), assert.rejects(later, isReset), proxy.up()]);
      await worksAgain();
    });

    it('has no bucket until it has one again', async () => {
      proxy.bucketGone(true);
      const got = await ask('GET', OBJECT);
      assert.deepEqual([got.status, upstream.seen.length, proxy.injected('bucket-gone')], [404, 0, 1]);
      assert.match(got.body.toString(), /<Code>NoSuchBucket</);
      proxy.bucketGone(false);
      await worksAgain();
    });

    it('does not know the keys until it does again', async () => {
      for (const [code, status] of [
        ['InvalidAccessKeyId', 403],
        ['ExpiredToken', 400],
        ['AccessDenied', 403],
      ] as const) {
        proxy.credentialsRevoked(true, code);
        const got = await ask('GET', OBJECT);
        assert.deepEqual([got.status, got.body.toString().includes(`<Code>${code}<`)], [status, true]);
      }
      proxy.credentialsRevoked(false);
      await worksAgain();
    });

    it('refuses what was signed more than 15 minutes from its time, and tells its time', async () => {
      proxy.skewClock(16 * 60_000);
      const got = await ask('GET', OBJECT, undefined, { 'x-amz-date': '20261121T120000Z' });
      assert.deepEqual([got.status, got.headers.date], [403, 'Sat, 21 Nov 2026 12:16:00 GMT']);
      assert.match(got.body.toString(), /<Code>RequestTimeTooSkewed<.*<ServerTime>2026-11-21T12:16:00.000Z</);
      const near = await ask('GET', OBJECT, undefined, { 'x-amz-date': '20261121T120100Z' });
      assert.deepEqual([near.status, near.headers.date], [200, 'Sat, 21 Nov 2026 12:16:00 GMT']);
      proxy.skewClock(0);
      assert.equal((await ask('GET', OBJECT, undefined, { 'x-amz-date': '20261121T110000Z' })).status, 200);
      assert.equal(proxy.injected('clock-skew'), 1);
    });
  });

  for (const outage of ['reset', 'refused', 'silent'] as const) {
    it(`ends while it is down (${outage})`, async () => {
      await proxy.down(outage);
      const asked = Promise.allSettled([ask('GET', OBJECT)]);
      if (outage === 'silent') await until(() => proxy.inFlight === 1);
      await proxy.stop();
      assert.equal((await asked)[0].status, 'rejected');
    });
  }

  it('ends while requests stand still, wait and stream', async () => {
    proxy.setPlan(({ index }) => {
      if (index === 0) return { kind: 'stall', of: 'request', afterBytes: 10 };
      return index === 1 ? { kind: 'slow-first-byte', ms: 1000 } : { kind: 'stall', of: 'response', afterBytes: 10 };
    });
    const asked = ['PUT', 'GET', 'GET'].map((method) => ask(method, OBJECT, method === 'PUT' ? BODY : undefined));
    const ended = Promise.allSettled(asked);
    await until(() => proxy.injected() === 3);
    await proxy.stop();
    await ended;
    assert.deepEqual([proxy.inFlight, clock.armed], [0, 0]);
    await until(() => upstream.open === 0);
  });
});
