import { Readable } from 'node:stream';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { ReapiError } from '../../errors.ts';
import type { Attempt } from './s3-requests.ts';

/** How many bytes a body has: a number of them known beforehand, or any up to a limit. */
export type BodySize = { readonly exactly: number } | { readonly atMost: number };

/**
 * The whole body of an answer. Its connection goes back to the pool, or is closed if the body was not read to its end.
 * @throws too-large; data-loss if the object ends before; plain errors for what may be tried again.
 */
export async function readBody(answer: GetObjectCommandOutput, size: BodySize, attempt: Attempt): Promise<Uint8Array> {
  const { Body: body, ContentLength: sizeBytes, ContentRange: range } = answer;
  if (!(body instanceof Readable)) throw new Error('an answer without a body');
  try {
    if (sizeBytes === undefined) throw new Error('an answer that does not say how long it is');
    checkSize(size, sizeBytes, range);
    return await readAll(body, sizeBytes, attempt);
  } finally {
    body.destroy();
  }
}

function checkSize(size: BodySize, sizeBytes: number, range: string | undefined): void {
  if ('atMost' in size) {
    if (sizeBytes > size.atMost) throw new ReapiError('too-large', `S3: an object has more than ${size.atMost} bytes`);
    return;
  }
  if (sizeBytes === size.exactly) return;
  if (range === undefined) throw new Error('the server ignores ranges');
  const message = `S3: an object ends before the bytes that were asked for (${range}, ${size.exactly} wanted)`;
  throw new ReapiError('data-loss', message);
}

async function readAll(body: Readable, sizeBytes: number, attempt: Attempt): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  let filled = 0;
  for await (const chunk of body) {
    if (!(chunk instanceof Uint8Array)) throw new Error('a body of text');
    if (filled + chunk.length > sizeBytes) throw new Error('a body that is longer than announced');
    bytes.set(chunk, filled);
    filled += chunk.length;
    attempt.received(chunk.length);
  }
  if (filled < sizeBytes) throw new Error('a body that is shorter than announced');
  return bytes;
}
