import { ANONYMOUS } from '../../src/auth/principal.ts';
import {
  type ClientMethod,
  CONNECT_DEFAULTS,
  type ConnectOptions,
  connect,
  type RpcClient,
} from '../../src/rpc/client.ts';
import { type CallRecord, GrpcJsServer, type GrpcServerOptions } from '../../src/rpc/grpc-js-server.ts';
import type { Codec, Method } from '../../src/rpc/methods.ts';
import { SystemClock } from '../../src/system/clock.ts';
import { createLog } from '../../src/system/log.ts';

/** A running transport, a client that is connected to it, and what it recorded. */
export interface TestServer {
  readonly server: GrpcJsServer;
  readonly client: RpcClient;
  readonly port: number;
  /** What the transport told of calls that ended. */
  readonly records: readonly CallRecord[];
  /** Log lines, parsed. */
  readonly logLines: readonly Readonly<Record<string, unknown>>[];
  /** A second client of the same server. */
  connect(options?: Partial<ConnectOptions>): RpcClient;
  /** Breaks off what still runs and closes every client. */
  close(): Promise<void>;
}

/** Settings of the test server, as a small installation would have them. */
const SETTINGS = {
  principal: ANONYMOUS,
  maxReceiveMessageBytes: 4 * 1024 * 1024,
  streamWindowBytes: 256 * 1024,
  connectionWindowBytes: 1024 * 1024,
  maxConcurrentStreams: 200,
  maxConnections: 10,
  keepaliveIntervalMs: 60_000,
  keepaliveTimeoutMs: 20_000,
  logRequests: false,
};

/** Serves `methods` on a free port of the loopback interface, over real sockets and by the real clock. */
export async function startTestServer(
  methods: readonly Method[],
  options: Partial<GrpcServerOptions> = {},
): Promise<TestServer> {
  const records: CallRecord[] = [];
  const logLines: Record<string, unknown>[] = [];
  const log = createLog('debug', { write: (line) => logLines.push(JSON.parse(line)) });
  const clock = new SystemClock({ unref: true });
  const onCallEnd = (record: CallRecord): number => records.push(record);
  const server = new GrpcJsServer(methods, { ...SETTINGS, clock, log, onCallEnd, ...options });
  const port = await server.listen('127.0.0.1:0');
  const clients: RpcClient[] = [];
  const connectOne = (overrides: Partial<ConnectOptions> = {}): RpcClient => {
    const client = connect(`127.0.0.1:${port}`, { ...CONNECT_DEFAULTS, ...overrides });
    clients.push(client);
    return client;
  };
  const close = async (): Promise<void> => {
    for (const client of clients) client.close();
    server.force();
    await server.stop(0);
  };
  return { server, client: connectOne(), port, records, logLines, connect: connectOne, close };
}

/** Servers that live for one test each: `start` in a test, closed after it. Call it inside a `describe`. */
export function testServers(): { readonly start: typeof startTestServer } {
  const running: TestServer[] = [];
  afterEach(async () => {
    for (const server of running.splice(0)) await server.close();
  });
  return {
    start: async (methods, options) => {
      const server = await startTestServer(methods, options);
      running.push(server);
      return server;
    },
  };
}

const AS_IT_IS: Codec<Uint8Array> = {
  encode: (message) => ({ finish: () => message }),
  decode: (bytes) => bytes,
};

/** The service of `rawMethod`. */
export const TEST_SERVICE = { fullName: 'test.Raw' };

/** A method of `TEST_SERVICE` for clients, whose messages are bytes without meaning. Its path is `/test.Raw/<name>`. */
export function rawMethod(name: string): ClientMethod<Uint8Array, Uint8Array> {
  return { name, requestType: AS_IT_IS, responseType: AS_IT_IS };
}
