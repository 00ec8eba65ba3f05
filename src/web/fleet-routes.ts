import type { FastifyInstance, FastifyReply } from 'fastify';
import { type ErrorKind, ReapiError } from '../errors.ts';
import type { Log } from '../system/log.ts';

/** What is shown of the scheduler, as JSON. Errors are those of the gRPC service that shows the same. */
export interface FleetPages {
  /** @param selection.limit most entries of each list; undefined: the default. */
  fleet(selection: { readonly limit: number | undefined; readonly hasNodes: boolean }): Promise<string>;
  explain(operation: string, signal: AbortSignal): Promise<string>;
}

const STATUS: Partial<Record<ErrorKind, number>> = {
  'invalid-argument': 400,
  unauthenticated: 401,
  denied: 403,
  'operation-not-found': 404,
  unavailable: 503,
  'queue-full': 503,
};

/** Adds `GET /api/v1/fleet?limit=N&nodes=true` and `GET /api/v1/explain?operation=NAME`. @param pages undefined while it starts. */
export function addFleetRoutes(app: FastifyInstance, pages: () => FleetPages | undefined, log: Log): void {
  const add = (
    path: string,
    answer: (from: FleetPages, query: Query, signal: AbortSignal) => Promise<string>,
  ): void => {
    app.get<{ Querystring: Query }>(path, async (request, reply) => {
      const leaving = new AbortController();
      reply.raw.once('close', () => leaving.abort(new ReapiError('cancelled', 'the caller has gone')));
      try {
        const from = pages();
        if (from === undefined) throw new ReapiError('unavailable', 'the server is starting');
        return send(reply, 200, await answer(from, request.query, leaving.signal));
      } catch (error) {
        const status = error instanceof ReapiError ? (STATUS[error.kind] ?? 500) : 500;
        if (status >= 500 && status !== 503) log.error({ err: error, url: request.url }, 'HTTP request failed');
        const message = status !== 500 && error instanceof ReapiError ? error.message : 'internal error';
        return send(reply, status, JSON.stringify({ error: message }));
      }
    });
  };
  add('/api/v1/fleet', (from, { limit, nodes }) => from.fleet({ limit: limitOf(limit), hasNodes: nodes === 'true' }));
  add('/api/v1/explain', (from, { operation }, signal) => {
    if (typeof operation === 'string' && operation !== '') return from.explain(operation, signal);
    throw new ReapiError('invalid-argument', 'give one operation: /api/v1/explain?operation=NAME');
  });
}

/** As fastify parses it: a name that is given twice has a list. */
type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

function limitOf(text: Query[string]): number | undefined {
  if (text === undefined) return undefined;
  if (typeof text === 'string' && /^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new ReapiError('invalid-argument', 'limit is not a number above 0');
}

function send(reply: FastifyReply, status: number, json: string): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(`${json}\n`);
}
