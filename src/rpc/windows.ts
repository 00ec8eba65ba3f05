import type { Http2Session } from 'node:http2';
import type { Server } from '@grpc/grpc-js';

/** Sizes of the HTTP/2 receive windows a server grants. */
export interface WindowOptions {
  /** Per stream. */
  readonly streamWindowBytes: number;
  /** Per connection. */
  readonly connectionWindowBytes: number;
}

/**
 * Opens the HTTP/2 receive windows of a grpc-js server, which keeps the 64 KiB defaults whatever its options say
 * (R-XC-07, T-27), and calls `onSession` for each new connection. It reaches into private fields of `Server`;
 * a test that reads the peer's settings guards it. Call before binding.
 */
export function openWindows(server: Server, options: WindowOptions, onSession: (session: Http2Session) => void): void {
  const http2Options = Reflect.get(server, 'commonServerOptions');
  http2Options.settings = { ...http2Options.settings, initialWindowSize: options.streamWindowBytes };
  const create = Reflect.get(server, 'createHttp2Server');
  Reflect.set(server, 'createHttp2Server', (...args: unknown[]) => {
    const http2Server = create.apply(server, args);
    http2Server.on('session', (session: Http2Session) => {
      session.setLocalWindowSize(options.connectionWindowBytes);
      onSession(session);
    });
    return http2Server;
  });
}
