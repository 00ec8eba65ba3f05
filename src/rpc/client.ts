import {
  ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { ReapiError } from '../errors.ts';
import { type Clock, SystemClock } from '../system/clock.ts';
import { type Codec, methodPath } from './methods.ts';
import { fromWireStatus } from './status.ts';

/** What every call of a client takes. */
export interface CallOptions {
  readonly signal: AbortSignal;
  /** Deadline from now. Absent: none. */
  readonly timeoutMs?: number;
  /** Request headers; names ending in `-bin` take bytes. */
  readonly metadata?: Readonly<Record<string, string | Buffer>>;
}

/** A service as generated. */
export interface ServiceName {
  readonly fullName: string;
}

/** A method as generated. */
export interface ClientMethod<Req, Res> {
  readonly name: string;
  readonly requestType: Codec<Req>;
  readonly responseType: Codec<Res>;
}

/** Calls a peer. Failures are `ReapiError`s whose kind follows the status code. */
export interface RpcClient {
  unary<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
    options: CallOptions,
  ): Promise<Res>;
  /** Leaving the iteration early cancels the call. */
  serverStream<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
    options: CallOptions,
  ): AsyncIterable<Res>;
  /** Stops pulling `requests` as soon as the peer has answered (R-BS-38). A failing source cancels the call and is rethrown. */
  clientStream<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    requests: AsyncIterable<Req>,
    options: CallOptions,
  ): Promise<Res>;
  close(): void;
}

/** Settings of a connection. */
export interface ConnectOptions {
  /** HTTP/2 stream window. */
  readonly streamWindowBytes: number;
  readonly maxReceiveMessageBytes: number;
  /** How often a connection with calls in flight is pinged. */
  readonly keepaliveIntervalMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Longest pause between two attempts to connect. */
  readonly maxReconnectBackoffMs: number;
  /** Wall time turns `timeoutMs` into a deadline. */
  readonly clock: Clock;
}

/** Settings that fit a worker or an operator command. */
export const CONNECT_DEFAULTS: ConnectOptions = {
  streamWindowBytes: 4 * 1024 * 1024,
  maxReceiveMessageBytes: 16 * 1024 * 1024,
  keepaliveIntervalMs: 20_000,
  keepaliveTimeoutMs: 20_000,
  maxReconnectBackoffMs: 1_000,
  clock: new SystemClock({ unref: true }),
};

/** @param target `host:port`, `grpc://host:port` or `unix:/path`. Connects at the first call. */
export function connect(target: string, options: ConnectOptions = CONNECT_DEFAULTS): RpcClient {
  const address = target.replace(/^grpc:\/\//, '');
  const client = new Client(address, ChannelCredentials.createInsecure(), {
    'grpc-node.flow_control_window': options.streamWindowBytes,
    'grpc.max_receive_message_length': options.maxReceiveMessageBytes,
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_time_ms': options.keepaliveIntervalMs,
    'grpc.keepalive_timeout_ms': options.keepaliveTimeoutMs,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': options.maxReconnectBackoffMs,
    'grpc.min_reconnect_backoff_ms': 100,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_channelz': 0,
  });
  return new GrpcJsClient(client, options.clock);
}

class GrpcJsClient implements RpcClient {
  readonly #client: Client;
  readonly #clock: Clock;

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  unary<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
    options: CallOptions,
  ): Promise<Res> {
    return new Promise((resolve, reject) => {
      const finish = (error: ServiceError | null, response?: Res): void => {
        options.signal.removeEventListener('abort', onAbort);
        if (error === null && response !== undefined) resolve(response);
        else reject(errorOf(error, options.signal));
      };
      const call = this.#client.makeUnaryRequest(
        methodPath(service, method),
        encoderOf(method),
        (bytes: Buffer) => method.responseType.decode(bytes),
        request,
        metadataOf(options),
        this.#callOptionsOf(options),
        finish,
      );
      const onAbort = (): void => call.cancel();
      cancelOnAbort(options.signal, onAbort);
    });
  }

  async *serverStream<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    request: Req,
    options: CallOptions,
  ): AsyncIterable<Res> {
    const call: ClientReadableStream<Res> = this.#client.makeServerStreamRequest(
      methodPath(service, method),
      encoderOf(method),
      (bytes: Buffer) => method.responseType.decode(bytes),
      request,
      metadataOf(options),
      this.#callOptionsOf(options),
    );
    const onAbort = (): void => call.cancel();
    cancelOnAbort(options.signal, onAbort);
    try {
      for await (const message of call) yield message as Res;
    } catch (error) {
      throw errorOf(error, options.signal);
    } finally {
      options.signal.removeEventListener('abort', onAbort);
      call.cancel();
    }
  }

  clientStream<Req, Res>(
    service: ServiceName,
    method: ClientMethod<Req, Res>,
    requests: AsyncIterable<Req>,
    options: CallOptions,
  ): Promise<Res> {
    return new Promise((resolve, reject) => {
      let sourceError: unknown;
      const isOver = new AbortController();
      const finish = (error: ServiceError | null, response?: Res): void => {
        options.signal.removeEventListener('abort', onAbort);
        isOver.abort('the call is over');
        if (error === null && response !== undefined) resolve(response);
        else reject(sourceError ?? errorOf(error, options.signal));
      };
      const call: ClientWritableStream<Req> = this.#client.makeClientStreamRequest(
        methodPath(service, method),
        encoderOf(method),
        (bytes: Buffer) => method.responseType.decode(bytes),
        metadataOf(options),
        this.#callOptionsOf(options),
        finish,
      );
      const onAbort = (): void => call.cancel();
      cancelOnAbort(options.signal, onAbort);
      feed(call, requests, isOver.signal).catch((error: unknown) => {
        sourceError = error;
        call.cancel();
      });
    });
  }

  close(): void {
    this.#client.close();
  }

  #callOptionsOf(options: CallOptions): { deadline?: number } {
    return options.timeoutMs === undefined ? {} : { deadline: this.#clock.nowMs() + options.timeoutMs };
  }
}

/** Writes all requests at the peer's pace, and stops when the call is over. */
async function feed<Req>(
  call: ClientWritableStream<Req> | ClientDuplexStream<Req, unknown>,
  requests: AsyncIterable<Req>,
  isOver: AbortSignal,
): Promise<void> {
  for await (const request of requests) {
    if (isOver.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        isOver.removeEventListener('abort', done);
        resolve();
      };
      isOver.addEventListener('abort', done, { once: true });
      call.write(request, done);
    });
  }
  if (!isOver.aborted) call.end();
}

function encoderOf<Req, Res>(method: ClientMethod<Req, Res>): (message: Req) => Buffer {
  return (message) => {
    const bytes = method.requestType.encode(message).finish();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function metadataOf(options: CallOptions): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  return metadata;
}

function cancelOnAbort(signal: AbortSignal, onAbort: () => void): void {
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
}

function errorOf(error: unknown, signal: AbortSignal): ReapiError {
  if (signal.aborted) return new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason });
  if (error instanceof Error && 'code' in error && typeof error.code === 'number') {
    const details = 'details' in error && typeof error.details === 'string' ? error.details : error.message;
    return fromWireStatus(error.code, details, error);
  }
  return new ReapiError('internal', 'the call ended without an answer', { cause: error });
}
