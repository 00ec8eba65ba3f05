import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { isKind } from '../errors.ts';
import { NO_LOG } from '../system/log.ts';
import { WebServer } from './web-server.ts';

interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly body: string;
}

describe('WebServer', () => {
  let server: WebServer;
  let address: string;
  let reason: string | undefined;
  let readMetrics: () => Promise<string>;

  beforeEach(async () => {
    reason = undefined;
    readMetrics = () => Promise.resolve('up 1\n');
    server = new WebServer({
      notReadyReason: () => reason,
      metrics: { text: () => readMetrics(), contentType: 'text/plain; version=0.0.4' },
      log: NO_LOG,
    });
    address = await server.listen({ host: '127.0.0.1', port: 0 });
  });

  afterEach(() => server.close());

  const ask = (path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}) =>
    new Promise<Answer>((resolve, reject) => {
      const { body, ...rest } = options;
      const [host, port] = address.split(':');
      const sent = request({ host, port, path, agent: false, ...rest }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'], body: text }),
        );
      });
      sent.on('error', reject);
      sent.end(body);
    });

  it('lives as long as it answers, ready or not', async () => {
    reason = 'starting';
    assert.deepEqual(await ask('/livez'), { status: 200, type: 'text/plain; charset=utf-8', body: 'ok\n' });
  });

  it('is ready unless there is a reason, which it gives', async () => {
    assert.equal((await ask('/readyz')).status, 200);
    reason = 'draining';
    const answer = await ask('/readyz');
    assert.deepEqual([answer.status, answer.body], [503, 'not ready: draining\n']);
  });

  it('shows metrics with their media type', async () => {
    const answer = await ask('/metrics');
    assert.deepEqual(answer, { status: 200, type: 'text/plain; version=0.0.4', body: 'up 1\n' });
  });

  it('answers HEAD without a body', async () => {
    assert.deepEqual(await ask('/livez', { method: 'HEAD' }), {
      status: 200,
      type: 'text/plain; charset=utf-8',
      body: '',
    });
  });

  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/livez/'],
    ['GET', '/../etc/passwd'],
    ['POST', '/livez'],
    ['DELETE', '/metrics'],
  ] as const) {
    it(`does not know ${method} ${path}`, async () => {
      const answer = await ask(path, { method });
      assert.deepEqual([answer.status, answer.body], [404, 'not found\n']);
    });
  }

  it('hides what went wrong inside', async () => {
    readMetrics = () => Promise.reject(new Error('secret path'));
    const answer = await ask('/metrics');
    assert.deepEqual([answer.status, answer.body], [500, 'internal error\n']);
  });

  it('answers malformed requests in plain words', async () => {
    const answer = await ask('/%E0%A4%A');
    assert.deepEqual([answer.status, answer.type], [400, 'text/plain']);
  });

  it('refuses headers above its bound', async () => {
    const answer = await ask('/livez', { headers: { 'x-long': 'x'.repeat(20_000) } });
    assert.equal(answer.status, 431);
  });

  it('says which address is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const second = new WebServer({
      notReadyReason: () => undefined,
      metrics: { text: () => Promise.resolve(''), contentType: 'text/plain' },
      log: NO_LOG,
    });
    await assert.rejects(
      second.listen({ host: '127.0.0.1', port }),
      (error) => isKind(error, 'unavailable') && error.message.startsWith(`cannot listen on 127.0.0.1:${port}: `),
    );
    await second.close();
    await new Promise((resolve) => other.close(resolve));
  });

  it('lets a running request end when it closes, and takes no new ones', async () => {
    const gate = Promise.withResolvers<string>();
    const asked = Promise.withResolvers<void>();
    readMetrics = () => {
      asked.resolve();
      return gate.promise;
    };
    const answer = ask('/metrics');
    await asked.promise;
    const closed = server.close();
    gate.resolve('late 1\n');
    assert.equal((await answer).body, 'late 1\n');
    await closed;
    await assert.rejects(ask('/livez'), /ECONNREFUSED/);
  });

  it('does not wait for the rest of a request when it closes', async () => {
    const [host, port] = address.split(':');
    const half = connect(Number(port), host);
    half.on('error', () => undefined);
    half.write('GET /livez HTTP/1.1\r\nhost: x\r\n');
    // The server has read it by the time it has answered a whole one.
    assert.equal((await ask('/livez')).status, 200);
    const ended = once(half, 'close');
    await server.close();
    await ended;
  });
});
