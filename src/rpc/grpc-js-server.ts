import type { EventEmitter } from 'node:events';
import type { Http2Session } from 'node:http2';
import {
  type Server as GrpcServer,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { Principal } from '../auth/principal.ts';
import { invariant, ReapiError } from '../errors.ts';
import { Status } from '../gen/google/rpc/status.ts';
import type { Clock, Timer } from '../system/clock.ts';
import type { Log } from '../system/log.ts';
import type { Call } from './call.ts';
import { type RequestStream, type ResponseStream, requestsOf, respond } from './grpc-js-streams.ts';
import type { Messages, Method } from './methods.ts';
import { headerText, requestMetadataOf } from './request-headers.ts';
import { isOurFault, toTrailerStatus } from './status.ts';
import { capTimeout } from './timeout-header.ts';
import { openWindows } from './windows.ts';

/** What one finished call was, for metrics. */
export interface CallRecord {
  readonly path: string;
  /** gRPC code, 0 for OK. */
  readonly code: number;
  readonly durationMs: number;
}

/** Settings and collaborators of the transport. */
export interface GrpcServerOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Who calls on this listener. */
  readonly principal: Principal;
  readonly onCallEnd: (record: CallRecord) => void;
  /** Largest request message. Above it the call fails with RESOURCE_EXHAUSTED (R-XC-04). */
  readonly maxReceiveMessageBytes: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** R-XC-06. */
  readonly maxConcurrentStreams: number;
  /** Further connections are closed at once. */
  readonly maxConnections: number;
  /** How often a quiet connection is pinged, so that dead peers are noticed. */
  readonly keepaliveIntervalMs: number;
  /** How long a ping may stay unanswered. */
  readonly keepaliveTimeoutMs: number;
  /** Writes a line for every call, not just for faults. */
  readonly logRequests: boolean;
}

type AnyServerCall = ServerUnaryCall<Uint8Array, Uint8Array> | RequestStream | ResponseStream;

/** Turns of the event loop that a status takes from a failing handler to the socket, with a reserve. Seen: 2. */
const FORCE_TURNS = 20;

/** A timer of Node may fire this much before the wall clock says so. */
const TIMER_SLACK_MS = 2;

const asBuffer = (message: Uint8Array): Buffer =>
  Buffer.isBuffer(message) ? message : Buffer.from(message.buffer, message.byteOffset, message.byteLength);
const asIs = (bytes: Buffer): Uint8Array => bytes;

/** The first transport: serves methods over grpc-js. */
export class GrpcJsServer {
  readonly #server: GrpcServer;
  readonly #options: GrpcServerOptions;
  readonly #sessions = new Set<Http2Session>();
  /** Ends each open call: a signal with so many listeners would be searched for every new one. */
  readonly #open = new Set<(reason: ReapiError) => void>();

  constructor(methods: readonly Method[], options: GrpcServerOptions) {
    this.#options = options;
    this.#server = new Server({
      'grpc.max_receive_message_length': options.maxReceiveMessageBytes,
      'grpc.max_send_message_length': -1,
      'grpc.max_concurrent_streams': options.maxConcurrentStreams,
      'grpc.keepalive_time_ms': options.keepaliveIntervalMs,
      'grpc.keepalive_timeout_ms': options.keepaliveTimeoutMs,
      'grpc.enable_channelz': 0,
    });
    openWindows(this.#server, options, (session) => this.#admit(session));
    for (const method of methods) this.#register(method);
  }

  /** @param address `host:port` (port 0 picks one) or `unix:/path`. Returns the port, or 1 for a socket file. @throws unavailable. */
  listen(address: string): Promise<number> {
    return new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    }).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      throw new ReapiError('unavailable', `cannot listen on ${address}: ${why}`, { cause: error });
    });
  }

  /** Number of open connections. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** Takes no new connections and calls, lets running ones end, and closes. After `graceMs` whatever is left is aborted (R-XC-11). */
  async stop(graceMs: number): Promise<void> {
    const { clock } = this.#options;
    const timer = clock.wakeAt(clock.monotonicMs() + graceMs, () => this.force());
    this.#endKeepalive();
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    // grpc-js is content with sessions that are closing.
    await Promise.all([...this.#sessions].map((session) => new Promise((resolve) => session.once('close', resolve))));
    timer.cancel();
  }

  /**
   * Aborts every call now, and breaks the connections some turns of the event loop later: calls that heed their
   * signal still tell the caller UNAVAILABLE. The breaking is ours, as grpc-js forgets it while channelz is off.
   */
  force(): void {
    const reason = new ReapiError('unavailable', 'the server is stopping');
    for (const abort of [...this.#open]) abort(reason);
    this.#server.forceShutdown();
    for (const session of this.#sessions) session.close();
    this.#breakConnections(FORCE_TURNS);
  }

  /**
   * Node refuses to ping over a session that is closing, which grpc-js takes for a dead peer: calls that are to end by
   * themselves would be cut off at the next ping. The grace bounds them anyway. A test guards the private field.
   */
  #endKeepalive(): void {
    Reflect.set(this.#server, 'keepaliveTimeMs', Number.POSITIVE_INFINITY);
  }

  #breakConnections(turns: number): void {
    if (this.#sessions.size === 0) return;
    if (turns > 0) {
      setImmediate(() => this.#breakConnections(turns - 1));
      return;
    }
    for (const session of this.#sessions) session.destroy();
  }

  #admit(session: Http2Session): void {
    if (this.#sessions.size >= this.#options.maxConnections) {
      this.#options.log.warn({ maxConnections: this.#options.maxConnections }, 'connection refused: too many');
      session.destroy();
      return;
    }
    this.#sessions.add(session);
    session.prependListener('stream', (_stream, headers) => capTimeout(headers));
    session.once('close', () => this.#sessions.delete(session));
  }

  #register(method: Method): void {
    const type = (
      {
        unary: 'unary',
        'server-streaming': 'serverStream',
        'client-streaming': 'clientStream',
        'bidi-streaming': 'bidi',
      } as const
    )[method.kind];
    const isNew = this.#server.register(method.path, this.#handlerOf(method), asBuffer, asIs, type);
    invariant(isNew, `${method.path} is registered twice`);
  }

  #handlerOf(method: Method) {
    switch (method.kind) {
      case 'unary':
        return (call: ServerUnaryCall<Uint8Array, Uint8Array>, answer: sendUnaryData<Uint8Array>): void =>
          this.#answer(method.path, call, answer, (context) => method.handle(call.request, context));
      case 'client-streaming':
        return (call: ServerReadableStream<Uint8Array, Uint8Array>, answer: sendUnaryData<Uint8Array>): void =>
          this.#answer(method.path, call, answer, (context) => method.handle(requestsOf(call), context));
      case 'server-streaming':
        return (call: ServerWritableStream<Uint8Array, Uint8Array>): void =>
          this.#stream(method.path, call, (context) => method.handle(call.request, context));
      case 'bidi-streaming':
        return (call: ServerDuplexStream<Uint8Array, Uint8Array>): void =>
          this.#stream(method.path, call, (context) => method.handle(requestsOf(call), context));
    }
  }

  #answer(
    path: string,
    call: AnyServerCall,
    answer: sendUnaryData<Uint8Array>,
    handle: (context: Call) => Promise<Uint8Array>,
  ): void {
    const startedMs = this.#options.clock.monotonicMs();
    const { context, release } = this.#contextOf(path, call);
    const run = async (): Promise<Uint8Array> => handle(context);
    run().then(
      (response) => {
        release();
        this.#ended(path, 0, startedMs);
        answer(null, response);
        // An answer before the last request (R-BS-38): what is still coming is thrown away (R-BS-39).
        if ('resume' in call) call.resume();
      },
      (error: unknown) => {
        release();
        answer(this.#failure(path, error, startedMs));
        if ('resume' in call) call.resume();
      },
    );
  }

  #stream(path: string, call: ResponseStream, handle: (context: Call) => Messages): void {
    const startedMs = this.#options.clock.monotonicMs();
    const { context, release } = this.#contextOf(path, call);
    const run = async (): Promise<void> => respond(call, handle(context), context.signal);
    run().then(
      () => {
        release();
        this.#ended(path, 0, startedMs);
        call.end();
      },
      (error: unknown) => {
        release();
        call.emit('error', this.#failure(path, error, startedMs));
      },
    );
  }

  #contextOf(path: string, call: AnyServerCall): { readonly context: Call; readonly release: () => void } {
    const abort = new AbortController();
    const deadline = Number(call.getDeadline());
    const onTimeout = (): void => abort.abort(new ReapiError('timed-out', 'the deadline of the call has passed'));
    // grpc-js reports both alike.
    const isLate = (): boolean => this.#options.clock.nowMs() >= deadline - TIMER_SLACK_MS;
    const onCancel = (): void => {
      if (isLate()) onTimeout();
      else abort.abort(new ReapiError('cancelled', 'the caller cancelled the call'));
    };
    const onStop = (reason: ReapiError): void => abort.abort(reason);
    const events: EventEmitter = call;
    events.on('cancelled', onCancel);
    this.#open.add(onStop);
    const timer = this.#atDeadline(deadline, onTimeout);
    const context: Call = {
      path,
      signal: abort.signal,
      principal: this.#options.principal,
      requestMetadata: requestMetadataOf(call.metadata),
      deadlineMs: Number.isFinite(deadline) ? deadline : undefined,
      header: (name) => headerText(call.metadata, name),
    };
    const release = (): void => {
      timer?.cancel();
      events.off('cancelled', onCancel);
      this.#open.delete(onStop);
    };
    return { context, release };
  }

  /** grpc-js has a timer too, but says nothing to a call whose response waits for a reader that does not read. */
  #atDeadline(deadlineMs: number, fn: () => void): Timer | undefined {
    if (!Number.isFinite(deadlineMs)) return undefined;
    const { clock } = this.#options;
    return clock.wakeAt(clock.monotonicMs() + deadlineMs - clock.nowMs(), fn);
  }

  #failure(path: string, error: unknown, startedMs: number) {
    const status = toTrailerStatus(error);
    if (isOurFault(error)) this.#options.log.error({ err: error, path }, 'call failed');
    this.#ended(path, status.code, startedMs);
    const metadata = new Metadata();
    if (status.details.length > 0) {
      // R-EX-47.
      metadata.set('grpc-status-details-bin', asBuffer(Status.encode(status).finish()));
    }
    return { code: status.code, details: status.message, metadata };
  }

  #ended(path: string, code: number, startedMs: number): void {
    const durationMs = this.#options.clock.monotonicMs() - startedMs;
    this.#options.onCallEnd({ path, code, durationMs });
    if (this.#options.logRequests) this.#options.log.info({ path, code, durationMs }, 'call');
  }
}
