import assert from 'node:assert/strict';
import type { S3Client } from '@aws-sdk/client-s3';
import { inPieces, someBytes } from '../../../test/support/blob-store-contract.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { itemsOf } from '../../../test/support/object-store-contract.ts';
import {
  answer,
  partOf,
  type Reply,
  reset,
  ScriptedHttp,
  s3Error,
  silence,
} from '../../../test/support/scripted-http.ts';
import { ReapiError } from '../../errors.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { RequestCounts } from './request-counts.ts';
import { createS3Client } from './s3-client.ts';
import { PART_BYTES } from './s3-multipart.ts';
import { S3ObjectStore } from './s3-object-store.ts';
import type { S3Options } from './s3-options.ts';

const OPTIONS: S3Options = {
  bucket: 'our-bucket',
  prefix: 'a/',
  region: 'eu-central-1',
  endpoint: undefined,
  pathStyle: true,
  credentials: { accessKeyId: 'AKIAKEY', secretAccessKey: 'the-secret-key' },
  encryption: { kind: 'bucket-default' },
  storageClass: undefined,
  proxy: undefined,
  certificateAuthorities: undefined,
  maxConcurrentRequests: 4,
  requestTimeoutMs: 100_000,
  maxAttempts: 3,
};

/** Waits between tries are over at once and written down; the time given to requests never ends. */
class HastyClock implements Clock {
  readonly waitsMs: number[] = [];
  nowMs(): number {
    return 0;
  }
  monotonicMs(): number {
    return 0;
  }
  wakeAt(atMs: number, fn: () => void): Timer {
    if (atMs >= OPTIONS.requestTimeoutMs) return { cancel: () => undefined };
    this.waitsMs.push(atMs);
    const handle = setImmediate(fn);
    return { cancel: () => clearImmediate(handle) };
  }
}

const HALF: Random = { fraction: () => 0.5, uuid: () => '', token: () => '' };

const OK = answer(200, '', { etag: '"e"' });
const HELLO = answer(200, 'hello');

describe('S3ObjectStore', () => {
  let clients: S3Client[] = [];

  afterEach(() => {
    for (const client of clients) client.destroy();
    clients = [];
  });

  function open(endpoint: string, clock: Clock, changes: Partial<S3Options> = {}) {
    const options = { ...OPTIONS, endpoint, ...changes };
    const client = createS3Client(options);
    clients.push(client);
    const counts = new RequestCounts();
    return { store: new S3ObjectStore(client, options, { clock, random: HALF, counts }), counts };
  }

  async function world(replies: readonly Reply[], changes: Partial<S3Options> = {}) {
    const server = await ScriptedHttp.start(...replies);
    const clock = new HastyClock();
    return { server, clock, ...open(server.endpoint, clock, changes) };
  }

  describe('tries again', () => {
    const TRANSIENT: readonly [name: string, reply: Reply, code: string][] = [
      ['a failure of the server', s3Error(500, 'InternalError'), 'InternalError'],
      ['a gateway without words', answer(502, '<html>bad gateway</html>'), 'HTTP502'],
      ['an empty answer of a gateway', answer(504), 'HTTP504'],
      ['a reset connection', reset, 'ECONNRESET'],
      ['a body that was cut off', partOf(Buffer.from('hello'), 2, 'reset'), 'ECONNRESET'],
      ['a server that asks to slow down', s3Error(503, 'SlowDown'), 'SlowDown'],
    ];
    for (const [name, reply, code] of TRANSIENT) {
      it(`after ${name}, and counts every request`, async () => {
        const { store, counts, server } = await world([reply, HELLO]);
        assert.deepEqual(await store.get('k', 10, noAbort()), Buffer.from('hello'));
        assert.equal(server.seen.length, 2);
        assert.equal(counts.of('get').requests, 2);
        assert.deepEqual([...counts.of('get').errors], [[code, 1]]);
      });
    }

    it('a bounded number of times, with waits that grow, and then says when to come back', async () => {
      const { store, clock, server } = await world(Array(9).fill(s3Error(500, 'InternalError')), { maxAttempts: 4 });
      await assert.rejects(store.put('k', [Buffer.from('x')], noAbort()), (error) => {
        assert.ok(error instanceof ReapiError && error.kind === 'unavailable');
        assert.ok((error.facts.retryAfterMs ?? 0) > 0);
        return true;
      });
      assert.equal(server.seen.length, 4);
      assert.deepEqual(clock.waitsMs, [75, 150, 300]);
    });

    it('later when the server asks to slow down', async () => {
      const { store, clock } = await world([s3Error(503, 'SlowDown'), s3Error(429, 'TooManyRequests'), HELLO]);
      await store.get('k', 10, noAbort());
      assert.deepEqual(clock.waitsMs, [750, 1_500]);
    });

    it('with the same body', async () => {
      const { store, server } = await world([reset, OK]);
      await store.put('k', [Buffer.from('hel'), Buffer.from('lo')], noAbort());
      assert.deepEqual(
        server.seen.map(({ body }) => body.toString()),
        ['hello', 'hello'],
      );
    });

    it('with the time of the server once it has learned it', async () => {
      const inOneHour = new Date(Date.UTC(2099, 0, 1)).toUTCString();
      const { store, server } = await world([s3Error(403, 'RequestTimeTooSkewed', { date: inOneHour }), HELLO]);
      await store.get('k', 10, noAbort());
      assert.match(String(server.seen[1]?.headers['x-amz-date']), /^(?:20990101|20981231)T/);
    });

    it('but not for ever when the clock stays wrong', async () => {
      const { store, server } = await world(Array(9).fill(s3Error(403, 'RequestTimeTooSkewed', { date: 'none' })));
      await assert.rejects(store.get('k', 10, noAbort()), /the clock of this machine differs/);
      assert.ok(server.seen.length <= 3);
    });

    it('not when that cannot help', async () => {
      const LASTING: readonly [status: number, code: string, message: RegExp][] = [
        [404, 'NoSuchBucket', /the bucket "our-bucket" does not exist/],
        [403, 'InvalidAccessKeyId', /the credentials for bucket "our-bucket" are refused/],
        [403, 'SignatureDoesNotMatch', /are refused/],
        [400, 'ExpiredToken', /are refused/],
        [403, 'AccessDenied', /may not do this/],
        [301, 'PermanentRedirect', /another region/],
        [400, 'SomethingNew', /refused a request \(storing an object, SomethingNew, HTTP 400, request R1\)/],
      ];
      for (const [status, code, message] of LASTING) {
        const { store, server } = await world([s3Error(status, code)]);
        await assert.rejects(store.put('k', [Buffer.from('x')], noAbort()), (error) => {
          assert.ok(error instanceof ReapiError && error.kind === 'unavailable', code);
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /1234|secret|AKIA/);
          return true;
        });
        assert.equal(server.seen.length, 1, code);
      }
    });

    it('when nobody listens, and says so', async () => {
      const { server, store, counts } = await world([]);
      await server.stop();
      await assert.rejects(store.get('k', 10, noAbort()), /cannot be reached \(reading an object, ECONNREFUSED\)/);
      assert.equal(counts.of('get').requests, 3);
    });
  });

  describe('gives up', () => {
    it('a request whose answer does not begin, and closes its connection', async () => {
      const server = await ScriptedHttp.start(silence);
      const clock = new FakeClock();
      const { store } = open(server.endpoint, clock, { maxAttempts: 1 });
      const reading = assert.rejects(store.get('k', 10, noAbort()), /did not answer in time/);
      await server.until(() => server.seen.length === 1);
      clock.advance(99_999);
      assert.equal(server.connections, 1);
      clock.advance(1);
      await reading;
      await server.until(() => server.connections === 0);
      assert.equal(clock.armed, 0);
    });

    it('a body that stands still, and reads it again', async () => {
      const body = Buffer.from('hello');
      const server = await ScriptedHttp.start(partOf(body, 2, 'silence'), partOf(body, 5, 'silence'));
      const clock = new FakeClock();
      const { store, counts } = open(server.endpoint, clock);
      const reading = store.getRange('k', 0, 5, noAbort());
      while (counts.of('get').requests === 0) {
        clock.advance(50_000);
        await new Promise(setImmediate);
      }
      while (server.seen.length < 2) {
        clock.advance(100);
        await new Promise(setImmediate);
      }
      assert.deepEqual(await reading, body);
      assert.deepEqual([...counts.of('get').errors], [['TimeoutError', 1]]);
      assert.equal(clock.armed, 0);
    });

    it('a long body later than a short one, since it takes its time to send', async () => {
      const server = await ScriptedHttp.start(silence);
      const clock = new FakeClock();
      const { store } = open(server.endpoint, clock, { maxAttempts: 1 });
      const putting = assert.rejects(store.put('k', [Buffer.alloc(128_000)], noAbort()), ofKind('unavailable'));
      await server.until(() => server.seen.length === 1);
      clock.advance(100_999);
      assert.equal(server.connections, 1);
      clock.advance(1);
      await putting;
    });

    it('at once when aborted, before the answer and within it', async () => {
      for (const reply of [silence, partOf(Buffer.from('hello'), 2, 'silence')]) {
        const server = await ScriptedHttp.start(reply);
        const clock = new FakeClock();
        const { store, counts } = open(server.endpoint, clock);
        const controller = new AbortController();
        const reading = assert.rejects(store.getRange('k', 0, 5, controller.signal), ofKind('cancelled'));
        await server.until(() => server.seen.length === 1);
        await new Promise(setImmediate);
        controller.abort();
        await reading;
        await server.until(() => server.connections === 0);
        assert.equal(clock.armed, 0);
        assert.deepEqual([...counts.of('get').errors], [['cancelled', 1]]);
      }
    });

    it('at once when aborted while it waits to try again', async () => {
      const server = await ScriptedHttp.start(reset);
      const clock = new FakeClock();
      const { store, counts } = open(server.endpoint, clock);
      const controller = new AbortController();
      const reading = assert.rejects(store.get('k', 5, controller.signal), ofKind('cancelled'));
      while (counts.of('get').requests === 0 || clock.armed === 0) await new Promise(setImmediate);
      controller.abort();
      await reading;
      assert.equal(clock.armed, 0);
    });
  });

  it('has a bounded number of requests on their way', async () => {
    const waiting: (() => void)[] = [];
    const hold: Reply = (response) => waiting.push(() => response.writeHead(200, { 'content-length': '1' }).end('x'));
    const { store, server } = await world(Array(10).fill(hold), { maxConcurrentRequests: 3 });
    const reading = Promise.all(Array.from({ length: 10 }, () => store.get('k', 10, noAbort())));
    for (let answered = 0; answered < 10; answered++) {
      await server.until(() => waiting.length > 0 && server.seen.length >= Math.min(10, answered + 3));
      assert.equal(server.seen.length, Math.min(10, answered + 3));
      waiting.shift()?.();
    }
    await reading;
    assert.ok(server.connections <= 3);
  });

  it('keeps its connections open', async () => {
    const { store, server } = await world([HELLO, s3Error(404, 'NoSuchKey'), OK]);
    let opened = 0;
    for (const call of [
      () => store.get('k', 5, noAbort()),
      () => store.get('k', 5, noAbort()),
      () => store.put('k', [], noAbort()),
    ]) {
      await call();
      opened = Math.max(opened, server.connections);
    }
    assert.equal(opened, 1);
  });

  it('sends bodies as they are, without the framing that old servers store', async () => {
    const { store, server } = await world([OK]);
    await store.put('k', [Buffer.from('hello')], noAbort());
    const { method, url, headers, body } = server.seen[0] ?? assert.fail('no request');
    assert.deepEqual([method, url, body.toString()], ['PUT', '/our-bucket/a/k?x-id=PutObject', 'hello']);
    assert.equal(headers['content-encoding'], undefined);
    assert.equal(headers['x-amz-trailer'], undefined);
    assert.equal(headers['x-amz-storage-class'], undefined);
    assert.equal(headers['x-amz-server-side-encryption'], undefined);
  });

  it('names encryption and storage class when it puts, copies, and begins an upload', async () => {
    const begun = answer(200, '<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>');
    const copied = answer(200, '<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>');
    const completed = answer(200, '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>');
    const { store, server } = await world([OK, copied, begun, OK, OK, completed], {
      encryption: { kind: 'kms', keyId: 'key-7' },
      storageClass: 'INTELLIGENT_TIERING',
      maxConcurrentRequests: 1,
    });
    await store.put('k', [Buffer.from('x')], noAbort());
    await store.copy('k', 'k2', 1, noAbort());
    await store.putStream('k3', inPieces(someBytes(PART_BYTES + 1), PART_BYTES), PART_BYTES + 1, noAbort());
    for (const { headers } of server.seen.slice(0, 3)) {
      assert.equal(headers['x-amz-server-side-encryption'], 'aws:kms');
      assert.equal(headers['x-amz-server-side-encryption-aws-kms-key-id'], 'key-7');
      assert.equal(headers['x-amz-storage-class'], 'INTELLIGENT_TIERING');
    }
    assert.equal(server.seen[1]?.headers['x-amz-copy-source'], 'our-bucket/a/k');
    assert.equal(server.seen.length, 6);
  });

  it('drops the parts of an upload that fails, once, and reports what failed first', async () => {
    const begun = answer(200, '<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>');
    const { store, server, counts } = await world(
      [begun, s3Error(403, 'AccessDenied'), s3Error(500, 'InternalError')],
      {
        maxConcurrentRequests: 1,
      },
    );
    const bytes = inPieces(someBytes(2 * PART_BYTES), PART_BYTES);
    await assert.rejects(store.putStream('k', bytes, 2 * PART_BYTES, noAbort()), /may not do this/);
    assert.equal(server.seen.at(-1)?.method, 'DELETE');
    assert.equal(counts.of('drop-upload').requests, 1);
  });

  it('refuses an answer that is not the range it asked for', async () => {
    const { store } = await world([
      answer(200, 'the whole object'),
      answer(200, 'the whole object'),
      answer(200, 'the whole object'),
    ]);
    await assert.rejects(store.getRange('k', 4, 5, noAbort()), ofKind('unavailable'));
  });

  describe('deletes', () => {
    const many = (code: string) =>
      answer(200, `<DeleteResult><Error><Key>a/k</Key><Code>${code}</Code><Message>m</Message></Error></DeleteResult>`);
    const done = answer(200, '<DeleteResult></DeleteResult>');

    it('again when the server failed for some objects', async () => {
      const { store, server } = await world([many('InternalError'), done]);
      await store.delete(['k', 'l'], noAbort());
      assert.equal(server.seen.length, 2);
    });

    it('and reports objects that it may not delete', async () => {
      const { store } = await world([many('AccessDenied')]);
      await assert.rejects(store.delete(['k', 'l'], noAbort()), /may not do this.*deleting objects/);
    });

    it('one by one where the server cannot do more, and remembers that', async () => {
      const gone = answer(204);
      const { store, server } = await world([s3Error(501, 'NotImplemented'), gone, gone, gone]);
      await store.delete(['k', 'l'], noAbort());
      await store.delete(['m'], noAbort());
      const paths = server.seen.map(({ method, url }) => `${method} ${url.split('?')[0]}`);
      assert.equal(paths[0], 'POST /our-bucket/');
      assert.deepEqual(paths.slice(1).sort(), [
        'DELETE /our-bucket/a/k',
        'DELETE /our-bucket/a/l',
        'DELETE /our-bucket/a/m',
      ]);
    });

    it('with a sum of the request, which servers demand', async () => {
      const { store, server } = await world([done]);
      await store.delete(['k'], noAbort());
      const names = Object.keys(server.seen[0]?.headers ?? {});
      assert.ok(names.some((name) => name === 'content-md5' || name.startsWith('x-amz-checksum-')));
    });
  });

  it('follows the pages of a listing', async () => {
    const page = (key: string, token: string) =>
      answer(
        200,
        `<ListBucketResult><IsTruncated>${token !== ''}</IsTruncated><Contents><Key>a/${key}</Key><LastModified>2026-11-21T10:00:00.000Z</LastModified><ETag>"e"</ETag><Size>3</Size></Contents>${token && `<NextContinuationToken>${token}</NextContinuationToken>`}</ListBucketResult>`,
      );
    const { store, server, counts } = await world([page('p/1', 't+1'), page('p/2', '')]);
    const objects = await itemsOf(store.list('p/', 'p/0', noAbort()));
    assert.deepEqual(objects[0], { key: 'p/1', sizeBytes: 3, etag: '"e"', modifiedMs: Date.UTC(2026, 10, 21, 10) });
    assert.equal(objects[1]?.key, 'p/2');
    const asked = server.seen.map(({ url }) => new URL(url, 'http://s3').searchParams);
    assert.deepEqual([asked[0]?.get('prefix'), asked[0]?.get('start-after')], ['a/p/', 'a/p/0']);
    assert.deepEqual([asked[1]?.get('prefix'), asked[1]?.get('continuation-token')], ['a/p/', 't+1']);
    assert.equal(counts.of('list').requests, 2);
  });
});
