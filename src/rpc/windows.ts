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
 * Calls that one connection may cancel: so many at once, and so many a second. Node closes the connection above 1000 and 33, and all other
 * calls on it fail: a build that races local against remote runs, or the proxy of many clients, cancels more than that.
 */
const CANCELS = { streamResetBurst: 10_000, streamResetRate: 1_000 } as const;

/**
 * Opens the HTTP/2 receive windows of a grpc-js server, which keeps the 64 KiB defaults whatever its options say
 * (R-XC-07, T-27), lets clients cancel as many calls as they do, and calls `onSession` for each new connection. It reaches into
 * private fields of `Server`; tests that look at it from the peer's side guard it. Call before binding.
 */
export function openWindows(server: Server, options: WindowOptions, onSession: (session: Http2Session) => void): void {
  const http2Options = Reflect.get(server, 'commonServerOptions');
  Object.assign(http2Options, CANCELS);
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
