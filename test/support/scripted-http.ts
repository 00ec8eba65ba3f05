import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A request as it came. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers one request, or does not. */
export type Reply = (response: ServerResponse, request: SeenRequest) => void;

/** An HTTP server on this machine that answers as a test wrote down, in the order of the requests. */
export class ScriptedHttp {
  /** What came so far. */
  readonly seen: SeenRequest[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #replies: Reply[];
  #listeners: (() => void)[] = [];

  private constructor(replies: readonly Reply[]) {
    this.#replies = [...replies];
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        const seen = { method, url, headers, body: Buffer.concat(chunks) };
        this.seen.push(seen);
        const reply = this.#replies.shift() ?? ((unexpected) => unexpected.writeHead(418).end());
        reply(response, seen);
        this.#tell();
      });
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        this.#tell();
      });
    });
  }

  /** Starts one; stopped after the test. A request beyond `replies` gets status 418. */
  static async start(...replies: readonly Reply[]): Promise<ScriptedHttp> {
    const scripted = new ScriptedHttp(replies);
    await new Promise<void>((resolve) => scripted.#server.listen(0, '127.0.0.1', resolve));
    started.push(scripted);
    return scripted;
  }

  /** `http://127.0.0.1:port`. */
  get endpoint(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('a port was expected');
    return `http://127.0.0.1:${address.port}`;
  }

  /** Open connections. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Resolves once that holds; looked at after each request and each closed connection. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#listeners.push(resolve));
  }

  /** Ends it and all connections. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #tell(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }
}

const started: ScriptedHttp[] = [];

afterEach(async () => {
  for (const scripted of started.splice(0)) await scripted.stop();
});

/** An answer with a body. */
export function answer(status: number, body: string | Uint8Array = '', headers: Record<string, string> = {}): Reply {
  return (response) => response.writeHead(status, { 'content-length': String(body.length), ...headers }).end(body);
}

/** An error as S3 writes it. */
export function s3Error(status: number, code: string, headers: Record<string, string> = {}): Reply {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>the account 1234 of ${code}</Message><RequestId>R1</RequestId></Error>`;
  return answer(status, body, { 'content-type': 'application/xml', 'x-amz-request-id': 'R1', ...headers });
}

/** No answer at all. */
export function silence(): void {
  // The connection stays open until somebody closes it.
}

/** The connection is reset instead of an answer. */
export function reset(response: ServerResponse): void {
  response.socket?.resetAndDestroy();
}

/** The beginning of an answer, and then nothing, or a reset. */
export function partOf(body: Uint8Array, bytes: number, then: 'silence' | 'reset'): Reply {
  return (response) => {
    response.writeHead(206, {
      'content-length': String(body.length),
      'content-range': `bytes 0-${body.length - 1}/9999`,
    });
    response.write(body.subarray(0, bytes), () => {
      if (then === 'reset') response.socket?.resetAndDestroy();
    });
  };
}
