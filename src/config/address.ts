import { z } from 'zod';

const HOST_AND_PORT = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[A-Za-z0-9._-]+)):(?<port>\d{1,5})$/i;

/** Where a listener binds or a client connects: a host with a port, or a socket file. */
export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** Reads `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`. Undefined if it is none of them. */
export function parseAddress(text: string): Address | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    return path.startsWith('/') ? { kind: 'unix', path } : undefined;
  }
  const { v6, name, port } = HOST_AND_PORT.exec(text)?.groups ?? {};
  const host = v6 ?? name;
  if (host === undefined || Number(port) > 65_535) return undefined;
  return { kind: 'tcp', host, port: Number(port) };
}

/** The address a gRPC client dials for what people write: as it is, or without `grpc://`. TLS (`grpcs://`) is refused. */
export function dialTarget(text: string): string | undefined {
  const target = text.replace(/^grpc:\/\//, '').replace(/\/$/, '');
  const address = parseAddress(target);
  if (address === undefined || (address.kind === 'tcp' && address.port === 0)) return undefined;
  return target;
}

/** A listener that may be a port or a socket file. */
export const grpcAddress = z.string().refine((text) => parseAddress(text) !== undefined, {
  message: 'must be HOST:PORT, [IPV6]:PORT or unix:/path',
});

/** A listener on a port. */
export const httpAddress = z.string().refine((text) => parseAddress(text)?.kind === 'tcp', {
  message: 'must be HOST:PORT or [IPV6]:PORT',
});

/** A server to connect to. */
export const serverUrl = z.string().refine((text) => dialTarget(text) !== undefined, {
  message: 'must be HOST:PORT, grpc://HOST:PORT or unix:/path (TLS is not supported)',
});
