import { Client, type ClientOptions, credentials, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { Status } from '../src/gen/google/rpc/status.ts';

interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** A method of a generated service definition. */
export interface MethodShape<Q, S> {
  readonly name: string;
  readonly requestType: Codec<Q>;
  readonly responseType: Codec<S>;
}

/** The service that a method belongs to. */
export interface ServiceShape {
  readonly fullName: string;
}

/** How a call ended. `details` is the decoded `grpc-status-details-bin`, if there was one. */
export interface CallEnd {
  readonly code: number;
  readonly message: string;
  readonly details: Status | undefined;
}

/** A call that did not end with OK. */
export class CallFailed extends Error {
  readonly end: CallEnd;

  constructor(end: CallEnd) {
    super(`${codeName(end.code)}: ${end.message}`);
    this.name = 'CallFailed';
    this.end = end;
  }
}

/** Messages of a stream, in order, and how it ended. */
export interface Streamed<S> {
  readonly messages: readonly S[];
  readonly end: CallEnd;
}

/** A request stream under the hand of a case. */
export interface OpenStream<Q, S> {
  send(message: Q): void;
  /** Half-closes, then resolves with the answers. */
  finish(): Promise<Streamed<S>>;
  /** Resolves when the server has ended the call, though the client did not half-close. */
  ended(): Promise<Streamed<S>>;
  /** Breaks the call off as a client that vanishes would, and resolves when it is gone. */
  vanish(): Promise<void>;
}

/** Options of one call. */
export interface CallOptions {
  readonly headers?: Metadata;
  /** Stop reading a response stream after this many messages by cancelling the call. */
  readonly takeMessages?: number;
  /** The deadline that the server is told, in milliseconds from now; default: none. */
  readonly deadlineMs?: number;
}

/** The server under test. Each call is broken off after the time limit of the profile. */
export class Endpoint {
  readonly #client: Client;
  readonly #timeoutMs: number;

  constructor(address: string, options: { readonly callTimeoutMs: number }) {
    const limits: ClientOptions = { 'grpc.max_send_message_length': -1 };
    this.#client = new Client(address, credentials.createInsecure(), limits);
    this.#timeoutMs = options.callTimeoutMs;
  }

  close(): void {
    this.#client.close();
  }

  /** The one answer to one request. @throws CallFailed for every status but OK. */
  async unary<Q, S>(service: ServiceShape, method: MethodShape<Q, S>, request: Q, options?: CallOptions): Promise<S> {
    const { messages, end } = await this.stream(service, method, request, options);
    const [answer] = messages;
    if (end.code !== status.OK) throw new CallFailed(end);
    if (answer === undefined || messages.length > 1)
      throw new Error(`${messages.length} answers to one ${method.name}`);
    return answer;
  }

  /** Everything a call with one request answers, whatever its status. */
  async stream<Q, S>(
    service: ServiceShape,
    method: MethodShape<Q, S>,
    request: Q,
    options?: CallOptions,
  ): Promise<Streamed<S>> {
    const call = this.open(service, method, options);
    call.send(request);
    return await call.finish();
  }

  /** A call to which the case sends messages one by one. */
  open<Q, S>(service: ServiceShape, method: MethodShape<Q, S>, options: CallOptions = {}): OpenStream<Q, S> {
    const call = this.#client.makeBidiStreamRequest<Q, S>(
      `/${service.fullName}/${method.name}`,
      (message) => Buffer.from(method.requestType.encode(message).finish()),
      (bytes) => method.responseType.decode(bytes),
      options.headers ?? new Metadata(),
      deadlineOf(options),
    );
    const messages: S[] = [];
    const limit = AbortSignal.timeout(this.#timeoutMs);
    const tooLate = () => call.cancel();
    limit.addEventListener('abort', tooLate);
    const streamed = new Promise<Streamed<S>>((resolve) => {
      call.on('status', (last: StatusObject) => {
        limit.removeEventListener('abort', tooLate);
        // A request stream that the server ended early would otherwise keep its half of the connection open.
        call.cancel();
        const end = limit.aborted ? { ...last, details: `no end within ${this.#timeoutMs} ms` } : last;
        resolve({ messages, end: toCallEnd(end) });
      });
    });
    // The status event says the same; without a listener Node would treat the error as uncaught.
    call.on('error', () => undefined);
    call.on('data', (message: S) => {
      messages.push(message);
      if (messages.length === options.takeMessages) call.cancel();
    });
    return {
      send: (message) => {
        call.write(message);
      },
      finish: () => {
        call.end();
        return streamed;
      },
      ended: () => streamed,
      vanish: async () => {
        call.cancel();
        await streamed;
      },
    };
  }
}

function deadlineOf({ deadlineMs }: CallOptions): { readonly deadline?: number } {
  return deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
}

function toCallEnd(last: StatusObject): CallEnd {
  const [details] = last.metadata.get('grpc-status-details-bin');
  return {
    code: last.code,
    message: last.details,
    details: details instanceof Buffer ? Status.decode(details) : undefined,
  };
}

/** `NOT_FOUND` for 5, and so on. */
export function codeName(code: number): string {
  return status[code] ?? `code ${code}`;
}
