import assert from 'node:assert/strict';
import { type ErrorKind, ReapiError } from '../errors.ts';
import { NO_LOG } from '../system/log.ts';
import type { FleetPages } from './fleet-routes.ts';
import { WebServer } from './web-server.ts';

describe('addFleetRoutes', () => {
  let server: WebServer;
  let url: string;
  let asked: unknown[];
  let fault: Error | undefined;
  let pages: FleetPages | undefined;

  beforeEach(async () => {
    asked = [];
    fault = undefined;
    const answer = async (what: unknown) => {
      asked.push(what);
      if (fault !== undefined) throw fault;
      return '{"text":"it waits"}';
    };
    pages = { fleet: answer, explain: answer };
    server = new WebServer({
      notReadyReason: () => undefined,
      metrics: { text: () => Promise.resolve(''), contentType: 'text/plain' },
      log: NO_LOG,
      fleet: () => pages,
    });
    url = `http://${await server.listen({ host: '127.0.0.1', port: 0 })}/api/v1`;
  });

  afterEach(() => server.close());

  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(`${url}${path}`, { method, headers: { connection: 'close' } });
    return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
  };

  it('explains an operation, whose name may have slashes', async () => {
    const { status, type, body } = await ask('/explain?operation=main/operations/1');
    assert.deepEqual([status, type, body], [200, 'application/json; charset=utf-8', '{"text":"it waits"}\n']);
    await ask('/explain?operation=main%2Foperations%2F2');
    assert.deepEqual(asked, ['main/operations/1', 'main/operations/2']);
  });

  it('shows the fleet, as much of it as is wanted', async () => {
    assert.equal((await ask('/fleet')).status, 200);
    await ask('/fleet?limit=20&nodes=true');
    assert.deepEqual(asked, [
      { limit: undefined, hasNodes: false },
      { limit: 20, hasNodes: true },
    ]);
  });

  for (const path of [
    '/explain',
    '/explain?operation=',
    '/explain?operation=a&operation=b',
    '/fleet?limit=0',
    '/fleet?limit=x',
  ]) {
    it(`refuses ${path}`, async () => {
      assert.equal((await ask(path)).status, 400);
      assert.deepEqual(asked, []);
    });
  }

  for (const [kind, status] of [
    ['operation-not-found', 404],
    ['denied', 403],
    ['unauthenticated', 401],
    ['unavailable', 503],
  ] as const satisfies readonly (readonly [ErrorKind, number])[]) {
    it(`answers ${status} to ${kind}, and says why`, async () => {
      fault = new ReapiError(kind, 'for a reason');
      assert.deepEqual(await ask('/explain?operation=x'), {
        status,
        type: 'application/json; charset=utf-8',
        body: '{"error":"for a reason"}\n',
      });
    });
  }

  it('hides what went wrong inside', async () => {
    for (const error of [new Error('a secret path'), new ReapiError('internal', 'a secret path')]) {
      fault = error;
      const { status, body } = await ask('/fleet');
      assert.deepEqual([status, body], [500, '{"error":"internal error"}\n']);
    }
  });

  it('says that it is starting while there is no scheduler yet', async () => {
    pages = undefined;
    const { status, body } = await ask('/fleet');
    assert.deepEqual([status, body], [503, '{"error":"the server is starting"}\n']);
  });

  it('only reads', async () => {
    for (const method of ['POST', 'PUT', 'DELETE']) assert.equal((await ask('/fleet', method)).status, 404);
    assert.deepEqual(asked, []);
  });
});
