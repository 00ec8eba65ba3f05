import { ReapiError } from '../errors.ts';
import type { Call } from './call.ts';

/** Encoded protobuf messages, one element a message. */
export type Messages = AsyncIterable<Uint8Array>;

/**
 * The seam between transports and services: a method is a path, a kind and a handler over *encoded* messages.
 * A handler fails by throwing; `status.ts` maps the error. A streaming handler may return before it has read all
 * requests (R-BS-38): the transport then answers and drains the rest. Transports pull a response stream only as
 * fast as the peer takes it, and call `return()` on it when the call ends early.
 */
export type Method =
  | {
      readonly kind: 'unary';
      readonly path: string;
      handle(request: Uint8Array, call: Call): Promise<Uint8Array>;
    }
  | { readonly kind: 'server-streaming'; readonly path: string; handle(request: Uint8Array, call: Call): Messages }
  | {
      readonly kind: 'client-streaming';
      readonly path: string;
      handle(requests: Messages, call: Call): Promise<Uint8Array>;
    }
  | { readonly kind: 'bidi-streaming'; readonly path: string; handle(requests: Messages, call: Call): Messages };

/** Encoding and decoding of one message type, as ts-proto generates it. */
export interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** One method of a generated service definition. */
interface MethodDefinition<Req, Res> {
  readonly name: string;
  readonly requestType: Codec<Req>;
  readonly responseType: Codec<Res>;
}

/** A generated service definition. */
interface ServiceDefinition {
  readonly fullName: string;
}

/** `/package.Service/Method`. */
export function methodPath(service: ServiceDefinition, method: { readonly name: string }): string {
  return `/${service.fullName}/${method.name}`;
}

/** A unary method over decoded messages. */
export function unary<Req, Res>(
  service: ServiceDefinition,
  method: MethodDefinition<Req, Res>,
  handle: (request: Req, call: Call) => Promise<Res>,
): Method {
  return {
    kind: 'unary',
    path: methodPath(service, method),
    handle: async (request, call) =>
      method.responseType.encode(await handle(decode(method.requestType, request), call)).finish(),
  };
}

/** A server-streaming method over decoded messages. */
export function serverStreaming<Req, Res>(
  service: ServiceDefinition,
  method: MethodDefinition<Req, Res>,
  handle: (request: Req, call: Call) => AsyncIterable<Res>,
): Method {
  return {
    kind: 'server-streaming',
    path: methodPath(service, method),
    handle: (request, call) => encodeAll(method.responseType, handle(decode(method.requestType, request), call)),
  };
}

/** A bidirectional method over decoded messages. */
export function bidiStreaming<Req, Res>(
  service: ServiceDefinition,
  method: MethodDefinition<Req, Res>,
  handle: (requests: AsyncIterable<Req>, call: Call) => AsyncIterable<Res>,
): Method {
  return {
    kind: 'bidi-streaming',
    path: methodPath(service, method),
    handle: (requests, call) => encodeAll(method.responseType, handle(decodeAll(method.requestType, requests), call)),
  };
}

/** Decodes a request. @throws undecodable (R-XC-13). */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  try {
    return codec.decode(bytes);
  } catch (error) {
    throw new ReapiError('undecodable', 'the request does not decode as the message this method takes', {
      cause: error,
    });
  }
}

async function* encodeAll<T>(codec: Codec<T>, messages: AsyncIterable<T>): Messages {
  for await (const message of messages) yield codec.encode(message).finish();
}

async function* decodeAll<T>(codec: Codec<T>, messages: Messages): AsyncIterable<T> {
  for await (const message of messages) yield decode(codec, message);
}
