import type { ServerResponse } from 'node:http';

/** A refusal in the words of S3. */
export interface S3Refusal {
  readonly status: number;
  readonly code: string;
  /** Wall clock of the pretended server, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Further elements of the error, for codes that have some. */
  readonly details?: Readonly<Record<string, string>>;
}

/** Answers with an error document as S3 writes it; to HEAD, without. The request's body is read and forgotten. */
export function refuse(outgoing: ServerResponse, refusal: S3Refusal): void {
  const { req } = outgoing;
  const elements = {
    Code: refusal.code,
    Message: `planned: ${refusal.code}`,
    ...refusal.details,
    Resource: req.url?.replace(/\?.*/, '') ?? '/',
    RequestId: REQUEST_ID,
  };
  const inside = Object.entries(elements).map(([name, value]) => `<${name}>${escaped(value)}</${name}>`);
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<Error>${inside.join('')}</Error>`);
  req.resume();
  outgoing.writeHead(refusal.status, {
    Date: new Date(refusal.nowMs).toUTCString(),
    'Content-Type': 'application/xml',
    'Content-Length': body.length,
    'x-amz-request-id': REQUEST_ID,
    // A body that waits for permission will not come, nor anything after it.
    ...(req.headers.expect === undefined ? {} : { Connection: 'close' }),
  });
  outgoing.end(req.method === 'HEAD' ? undefined : body);
}

/** What S3 says about a request that was signed too far from its own time. */
export function tooSkewed(requestTime: string, nowMs: number): S3Refusal {
  const details = {
    RequestTime: requestTime,
    ServerTime: new Date(nowMs).toISOString(),
    MaxAllowedSkewMilliseconds: `${MAX_SKEW_MS}`,
  };
  return { status: 403, code: 'RequestTimeTooSkewed', nowMs, details };
}

/** How far the time of a request may be from the server's (S3, RequestTimeTooSkewed). */
export const MAX_SKEW_MS = 15 * 60_000;

const REQUEST_ID = '0123456789ABCDEF';

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
