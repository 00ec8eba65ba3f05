import fastify, { type FastifyInstance } from 'fastify';
import { ReapiError } from '../errors.ts';
import type { Log } from '../system/log.ts';
import { addFleetRoutes, type FleetPages } from './fleet-routes.ts';

/** What the pages show. */
export interface WebViews {
  /** Undefined if the server takes work, or why it does not. */
  readonly notReadyReason: () => string | undefined;
  readonly metrics: { text(): Promise<string>; readonly contentType: string };
  readonly log: Log;
  /** Undefined until the scheduler runs. Absent: there is none. */
  readonly fleet?: () => FleetPages | undefined;
}

/** Bounds of a request: probes and scrapers need very little. */
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_TIMEOUT_MS = 65_000;

/**
 * HTTP for whoever operates the server: `/livez` (the process answers), `/readyz` (it takes work; 503 with the reason
 * otherwise) and `/metrics` as plain text, and what `/api/v1/` has as JSON. GET and HEAD only: nothing here changes anything.
 */
export class WebServer {
  readonly #app: FastifyInstance;
  #answering = 0;
  #isClosing = false;

  constructor(views: WebViews) {
    const app = fastify({
      bodyLimit: MAX_BODY_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      http: { maxHeaderSize: MAX_HEADER_BYTES },
      forceCloseConnections: 'idle',
      frameworkErrors: (_error, _request, reply) => {
        reply.raw.writeHead(400, { 'content-type': 'text/plain' }).end('bad request\n');
      },
    });
    this.#app = app;
    app.addHook('onRequest', async () => {
      this.#answering++;
    });
    app.addHook('onResponse', async () => {
      this.#answering--;
      this.#cutUnanswerable();
    });
    app.addHook('onSend', async (_request, reply) => {
      reply.header('cache-control', 'no-store');
      reply.header('x-content-type-options', 'nosniff');
    });
    app.get('/livez', () => 'ok\n');
    app.get('/readyz', (_request, reply) => {
      const reason = views.notReadyReason();
      return reason === undefined ? 'ready\n' : reply.code(503).send(`not ready: ${reason}\n`);
    });
    app.get('/metrics', async (_request, reply) => {
      const text = await views.metrics.text();
      return reply.type(views.metrics.contentType).send(text);
    });
    if (views.fleet !== undefined) addFleetRoutes(app, views.fleet, views.log);
    app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/plain').send('not found\n'));
    app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
      const status = error.statusCode ?? 500;
      if (status >= 500) views.log.error({ err: error, url: request.url }, 'HTTP request failed');
      return reply
        .code(status)
        .type('text/plain')
        .send(status >= 500 ? 'internal error\n' : 'bad request\n');
    });
  }

  /** @param address port 0 picks one. @returns the address as bound, `HOST:PORT`. @throws unavailable. */
  async listen(address: { readonly host: string; readonly port: number }): Promise<string> {
    try {
      await this.#app.listen(address);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ReapiError('unavailable', `cannot listen on ${address.host}:${address.port}: ${reason}`, {
        cause: error,
      });
    }
    const bound = this.#app.server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : address.port;
    return address.host.includes(':') ? `[${address.host}]:${port}` : `${address.host}:${port}`;
  }

  /** Takes no new connections; resolves when running requests have been answered. Ends the rest, half a request or none. */
  async close(): Promise<void> {
    const closed = this.#app.close();
    this.#app.server.close();
    this.#isClosing = true;
    this.#cutUnanswerable();
    await closed;
  }

  /** A server that is closing waits for half a request for ever: Node's own time limits end with its listening. */
  #cutUnanswerable(): void {
    if (this.#isClosing && this.#answering === 0) this.#app.server.closeAllConnections();
  }
}
