import { BugError } from '../../src/errors.ts';
import type { Call } from '../../src/rpc/call.ts';
import type { Method } from '../../src/rpc/methods.ts';
import { fakeCall } from './fake-call.ts';

/** What a codec of ts-proto can do, for one message type. */
interface TestCodec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
  fromPartial(partial: object): T;
}

/** Request and response of one method. */
interface TestMethod<Req, Res> {
  readonly name: string;
  readonly requestType: TestCodec<Req>;
  readonly responseType: TestCodec<Res>;
}

/** Calls a unary method as a transport would, over encoded messages. */
export async function callUnary<Req, Res>(
  methods: readonly Method[],
  method: TestMethod<Req, Res>,
  request: object,
  call: Call = fakeCall(),
): Promise<Res> {
  const found = find(methods, method.name, 'unary');
  if (found.kind !== 'unary') throw new BugError('not unary');
  return method.responseType.decode(await found.handle(encode(method, request), call));
}

/** Calls a server-streaming method and waits for its end. */
export async function callServerStreaming<Req, Res>(
  methods: readonly Method[],
  method: TestMethod<Req, Res>,
  request: object,
  call: Call = fakeCall(),
): Promise<Res[]> {
  const found = find(methods, method.name, 'server-streaming');
  if (found.kind !== 'server-streaming') throw new BugError('not server-streaming');
  const responses: Res[] = [];
  for await (const bytes of found.handle(encode(method, request), call))
    responses.push(method.responseType.decode(bytes));
  return responses;
}

/** Calls a client-streaming method with requests that are all there, or that come as the iterable gives them. */
export async function callClientStreaming<Req, Res>(
  methods: readonly Method[],
  method: TestMethod<Req, Res>,
  requests: Iterable<object> | AsyncIterable<object>,
  call: Call = fakeCall(),
): Promise<Res> {
  const found = find(methods, method.name, 'client-streaming');
  if (found.kind !== 'client-streaming') throw new BugError('not client-streaming');
  const encoded = async function* (): AsyncGenerator<Uint8Array> {
    for await (const request of requests) yield encode(method, request);
  };
  return method.responseType.decode(await found.handle(encoded(), call));
}

function encode<Req, Res>(method: TestMethod<Req, Res>, request: object): Uint8Array {
  return method.requestType.encode(method.requestType.fromPartial(request)).finish();
}

function find(methods: readonly Method[], name: string, kind: Method['kind']): Method {
  const method = methods.find(({ path }) => path.endsWith(`/${name}`));
  if (method?.kind !== kind) throw new BugError(`no ${kind} method ${name}`);
  return method;
}
