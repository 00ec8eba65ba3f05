import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';

/** One message as gRPC frames it: a flag, the length, the bytes. */
export function framed(message: Uint8Array, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0, 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** What a call over bare HTTP/2 came to. */
export interface RawOutcome {
  /** gRPC status as sent, in trailers or, if the answer has no body, in headers. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  /** All response frames, joined. */
  readonly body: Buffer;
}

/** A gRPC client without any gRPC library, to see what is on the wire and to behave badly. */
export class RawGrpc {
  readonly session: ClientHttp2Session;
  /** Codes of the GOAWAY frames that came. */
  readonly goaways: number[] = [];

  constructor(port: number) {
    this.session = connect(`http://127.0.0.1:${port}`);
    // Broken connections are what some tests are about; what a test expects, it looks for itself.
    this.session.on('error', (error) => this.session.destroy(error));
    this.session.on('goaway', (code) => this.goaways.push(code));
  }

  /** Opens a call; the caller writes frames and ends it, or not. */
  call(path: string, headers: Readonly<Record<string, string | string[]>> = {}): ClientHttp2Stream {
    return this.session.request(
      { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
      { endStream: false },
    );
  }

  /** A call with one message, to its end. */
  async unary(
    path: string,
    message: Uint8Array,
    headers: Readonly<Record<string, string | string[]>> = {},
  ): Promise<RawOutcome> {
    const stream = this.call(path, headers);
    stream.end(framed(message));
    return outcomeOf(stream);
  }

  close(): void {
    this.session.destroy();
  }
}

/** Reads a call to the end of its trailers. Rejects if it is reset with an error. */
export async function outcomeOf(stream: ClientHttp2Stream): Promise<RawOutcome> {
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', (received) => {
    trailers = received;
  });
  const chunks: Buffer[] = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  const ended = once(stream, 'end');
  const [headers] = await once(stream, 'response');
  await ended;
  const status = Number(trailers['grpc-status'] ?? headers['grpc-status']);
  return { status, headers, trailers, body: Buffer.concat(chunks) };
}
