import { createHash, createHmac } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

/** What of a request is signed, and what of it the signature is. */
export type SignedRequest = Pick<IncomingMessage, 'method' | 'url' | 'headers' | 'rawHeaders'>;

/** The time a request says it was signed at, in milliseconds since 1970; undefined if it does not say. */
export function signedAtMs(headers: IncomingHttpHeaders): number | undefined {
  const date = headers['x-amz-date'];
  const parts = typeof date === 'string' ? /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) : null;
  if (parts === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/**
 * The headers of a request, signed anew for another time (AWS Signature Version 4 in the `Authorization` header): a server whose clock is
 * right refuses what was signed for a server whose clock is not.
 */
export function signedAnew(incoming: SignedRequest, secretAccessKey: string, nowMs: number): readonly string[] {
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const given = /Credential=([^/]+)\/\d+\/([^,]+), *SignedHeaders=([^,]+)/.exec(incoming.headers.authorization ?? '');
  if (given === null) return incoming.rawHeaders;
  const [, keyId = '', rest = '', names = ''] = given;
  const headers: IncomingHttpHeaders = { ...incoming.headers, 'x-amz-date': time };
  const [path = '/', query = ''] = (incoming.url ?? '/').split('?');
  const canonical = [
    ...[incoming.method, path, query.split('&').map(completed).toSorted().join('&')],
    ...names.split(';').map((name) => `${name}:${plain(headers[name])}`),
    ...['', names, plain(headers['x-amz-content-sha256'])],
  ].join('\n');
  const scope = `${time.slice(0, 8)}/${rest}`;
  const text = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(canonical).digest('hex')].join('\n');
  const key = scope.split('/').reduce<string | Buffer>(keyed, `AWS4${secretAccessKey}`);
  const signature = keyed(key, text).toString('hex');
  const authorization = `AWS4-HMAC-SHA256 Credential=${keyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  return incoming.rawHeaders.map((value, at) => {
    const name = at % 2 === 1 ? incoming.rawHeaders[at - 1]?.toLowerCase() : undefined;
    if (name === 'authorization') return authorization;
    return name === 'x-amz-date' ? time : value;
  });
}

/** A header's value as it is signed: without blanks that mean nothing. */
function plain(value: string | string[] | undefined): string {
  return String(value ?? '')
    .trim()
    .replace(/ +/g, ' ');
}

function completed(parameter: string): string {
  return parameter === '' || parameter.includes('=') ? parameter : `${parameter}=`;
}

function keyed(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
