import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../../src/system/clock.ts';
import { MAX_SKEW_MS, refuse, type S3Refusal, tooSkewed } from './faulty-s3-errors.ts';
import { FaultyS3Exchange } from './faulty-s3-exchange.ts';
import { operationOf, type S3Operation } from './faulty-s3-operation.ts';
import type { Fault, FaultPlan } from './faulty-s3-plan.ts';
import { signedAnew, signedAtMs } from './faulty-s3-signature.ts';

/**
 * How the whole server is gone: connections are reset as soon as they are made, or are refused as by a machine without that server, or
 * are accepted and nothing ever moves, as behind a broken network.
 */
export type Outage = 'reset' | 'refused' | 'silent';

/** What went wrong, for counting: a fault of the plan, or of the whole server. */
export type InjectedFault = Fault['kind'] | 'down' | 'bucket-gone' | 'credentials-revoked' | 'clock-skew';

/** What a proxy is made of. */
export interface FaultyS3ProxyOptions {
  /** Of the real server, `http://127.0.0.1:PORT`. */
  readonly upstream: string;
  /** Measures slow answers and tells the pretended server's time. */
  readonly clock: Clock;
  /** Of the keys that requests are signed with: without it, requests for a skewed clock do not get past the real server. */
  readonly secretAccessKey?: string;
}

/**
 * A real S3 server with trouble: an HTTP proxy on a port of its own that forwards to the server and misbehaves as told. Signatures stay
 * valid: the server sees the client's `Host` and path. Path-style requests only.
 *
 * First come the troubles of the whole server (`down`, then `skewClock`, `credentialsRevoked`, `bucketGone`), then the plan's. What
 * happens to each kind of request is told at `Fault`. A fault that is not in the plan is never made up, except that a connection to the
 * server that fails is passed on as a reset; `upstreamFailures` counts those.
 */
export class FaultyS3Proxy {
  readonly #server: Server;
  readonly #agent: Agent;
  readonly #options: FaultyS3ProxyOptions;
  readonly #upstream: { readonly host: string; readonly port: number };
  readonly #sockets = new Set<Socket>();
  readonly #exchanges = new Map<FaultyS3Exchange, Promise<void>>();
  readonly #requests = new Map<S3Operation, number>();
  readonly #injected = new Map<InjectedFault, number>();
  #port = 0;
  #plan: FaultPlan | undefined;
  #planned = 0;
  #outage: Outage | undefined;
  #skewMs = 0;
  #isBucketGone = false;
  #revokedAs: S3Refusal | undefined;
  #upstreamFailures = 0;

  private constructor(options: FaultyS3ProxyOptions) {
    const { hostname, port } = new URL(options.upstream);
    this.#options = options;
    this.#upstream = { host: hostname, port: Number(port) };
    // An unused connection goes before the server ends it: that would look like a fault of ours.
    this.#agent = new Agent({ keepAlive: true, timeout: 5_000 });
    // As with S3, it is the client that gives up.
    this.#server = createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 });
    const take = (incoming: IncomingMessage, outgoing: ServerResponse): void => this.#take(incoming, outgoing);
    this.#server.on('request', take).on('checkContinue', take);
    this.#server.on('connection', (socket: Socket) => this.#connected(socket));
  }

  /** Listens on a free port of this machine. */
  static async start(options: FaultyS3ProxyOptions): Promise<FaultyS3Proxy> {
    const proxy = new FaultyS3Proxy(options);
    await proxy.#listen();
    return proxy;
  }

  /** For clients, `http://127.0.0.1:PORT`; the same for as long as the proxy lives. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** How many requests of a kind have come, refused ones included; all kinds if none is named. */
  requests(operation?: S3Operation): number {
    return operation === undefined ? total(this.#requests) : (this.#requests.get(operation) ?? 0);
  }

  /** How many faults of a kind have happened; all kinds if none is named. */
  injected(kind?: InjectedFault): number {
    return kind === undefined ? total(this.#injected) : (this.#injected.get(kind) ?? 0);
  }

  /** Requests that have neither been answered nor broken off. */
  get inFlight(): number {
    return this.#exchanges.size;
  }

  /** Requests that the real server itself failed to answer; they were reset. */
  get upstreamFailures(): number {
    return this.#upstreamFailures;
  }

  /** From now on this decides about requests, counting them from 0; undefined lets all pass. */
  setPlan(plan: FaultPlan | undefined): void {
    this.#plan = plan;
    this.#planned = 0;
  }

  /**
   * The server is gone, until `up`, for requests under way, too. `refused` gives the port back meanwhile: another program may take it,
   * and `up` will then fail.
   */
  async down(outage: Outage = 'reset'): Promise<void> {
    this.#outage = outage;
    if (outage === 'silent') {
      for (const exchange of this.#exchanges.keys()) exchange.hold();
      return;
    }
    const closed = outage === 'refused' ? once(this.#server, 'close') : undefined;
    if (outage === 'refused') this.#server.close();
    this.reset();
    await closed;
  }

  /** Ends an outage. What was under way while nothing moved is reset. */
  async up(): Promise<void> {
    const before = this.#outage;
    this.#outage = undefined;
    if (before === 'silent') this.reset();
    if (before === 'refused') await this.#listen();
  }

  /** Whether every request is told that there is no such bucket. */
  bucketGone(on: boolean): void {
    this.#isBucketGone = on;
  }

  /** Whether every request is told that its keys are no good, and how: `ExpiredToken` has status 400, the others 403. */
  credentialsRevoked(
    on: boolean,
    code: 'InvalidAccessKeyId' | 'ExpiredToken' | 'AccessDenied' = 'InvalidAccessKeyId',
  ): void {
    this.#revokedAs = on ? { status: code === 'ExpiredToken' ? 400 : 403, code, nowMs: 0 } : undefined;
  }

  /**
   * Puts the server's clock forward, or back: what is signed more than 15 minutes from its time is refused, and all answers have its
   * time in `Date`. Whoever signs for that time gets through, given `secretAccessKey`. 0 ends it.
   */
  skewClock(ms: number): void {
    this.#skewMs = ms;
  }

  /** Lets everything go on that stands still because of the plan. */
  release(): void {
    for (const exchange of this.#exchanges.keys()) exchange.release();
  }

  /** Breaks all connections of clients. */
  reset(): void {
    for (const exchange of this.#exchanges.keys()) exchange.reset();
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Ends everything; resolves when no socket and no timer is left. */
  async stop(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined;
    this.#server.close();
    this.reset();
    await Promise.all([closed, ...this.#exchanges.values()]);
    this.#agent.destroy();
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #connected(socket: Socket): void {
    if (this.#outage === 'reset') {
      this.#count('down');
      socket.resetAndDestroy();
      return;
    }
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #take(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method = 'GET', url = '/' } = incoming;
    const [path = '/', search] = url.split('?');
    const query = new URLSearchParams(search);
    const operation = operationOf(method, path, query, incoming.headers['x-amz-copy-source'] !== undefined);
    this.#requests.set(operation, this.requests(operation) + 1);
    const isDown = this.#outage !== undefined;
    if (isDown) this.#count('down');
    const trouble = isDown ? undefined : this.#troubleOfAll(incoming);
    if (trouble !== undefined) {
      refuse(outgoing, trouble);
      return;
    }
    const fault = isDown ? undefined : this.#plan?.({ method, path, query, operation, index: this.#planned++ });
    if (fault?.kind === 'status') {
      this.#count('status');
      refuse(outgoing, { status: fault.status, code: fault.code, nowMs: this.#nowMs() });
      return;
    }
    const exchange = this.#exchange(incoming, outgoing, operation);
    if (isDown) exchange.hold();
    this.#exchanges.set(exchange, this.#run(exchange, fault));
  }

  #troubleOfAll(incoming: IncomingMessage): S3Refusal | undefined {
    const nowMs = this.#nowMs();
    const signedMs = signedAtMs(incoming.headers);
    if (this.#skewMs !== 0 && signedMs !== undefined && Math.abs(signedMs - nowMs) > MAX_SKEW_MS) {
      this.#count('clock-skew');
      return tooSkewed(String(incoming.headers['x-amz-date']), nowMs);
    }
    if (this.#revokedAs !== undefined) {
      this.#count('credentials-revoked');
      return { ...this.#revokedAs, nowMs };
    }
    if (!this.#isBucketGone) return undefined;
    this.#count('bucket-gone');
    return { status: 404, code: 'NoSuchBucket', nowMs };
  }

  #exchange(incoming: IncomingMessage, outgoing: ServerResponse, operation: S3Operation): FaultyS3Exchange {
    const { clock, secretAccessKey } = this.#options;
    const isSkewed = this.#skewMs !== 0;
    return new FaultyS3Exchange(incoming, outgoing, {
      clock,
      operation,
      upstream: this.#upstream,
      agent: this.#agent,
      headers:
        isSkewed && secretAccessKey !== undefined
          ? signedAnew(incoming, secretAccessKey, clock.nowMs())
          : incoming.rawHeaders,
      date: isSkewed ? new Date(this.#nowMs()).toUTCString() : undefined,
      injected: (kind) => this.#count(kind),
    });
  }

  async #run(exchange: FaultyS3Exchange, fault: Fault | undefined): Promise<void> {
    try {
      if ((await exchange.run(fault)) === 'upstream-failed') this.#upstreamFailures++;
    } finally {
      this.#exchanges.delete(exchange);
    }
  }

  /** Of the pretended server. */
  #nowMs(): number {
    return this.#options.clock.nowMs() + this.#skewMs;
  }

  #count(kind: InjectedFault): void {
    this.#injected.set(kind, this.injected(kind) + 1);
  }
}

function total(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}
