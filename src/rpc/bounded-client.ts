import { Semaphore } from '../system/semaphore.ts';
import type { CallOptions, ClientMethod, RpcClient, ServiceName } from './client.ts';

/** Calls in flight on one connection; times what a call sends against the bulk data it stays below a socket's buffer. */
const MAX_CALLS_IN_FLIGHT = 16;

/**
 * A connection on which bulk data flows one way.
 *
 * Node's HTTP/2 does not read from a socket while a write to it waits. Two Node processes that both send more than the
 * socket's buffers hold (some 200 KiB for a unix socket) therefore wait for each other until a keepalive ends the
 * connection. So a worker reads and writes blobs over different connections, bounds its calls on each, and keeps what
 * flows against the blobs small: then one side's writes always fit, and it goes on reading.
 */
export class BoundedClient implements RpcClient {
  readonly #inner: RpcClient;
  readonly #calls = new Semaphore(MAX_CALLS_IN_FLIGHT);

  constructor(inner: RpcClient) {
    this.#inner = inner;
  }

  unary<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
    options: CallOptions,
  ): Promise<Res> {
    return this.#calls.run(options.signal, () => this.#inner.unary(service, method, request, options));
  }

  async *serverStream<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
    options: CallOptions,
  ): AsyncIterable<Res> {
    await this.#calls.acquire(options.signal);
    try {
      yield* this.#inner.serverStream(service, method, request, options);
    } finally {
      this.#calls.release();
    }
  }

  clientStream<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    requests: AsyncIterable<Req>,
    options: CallOptions,
  ): Promise<Res> {
    return this.#calls.run(options.signal, () => this.#inner.clientStream(service, method, requests, options));
  }

  close(): void {
    this.#inner.close();
  }
}
