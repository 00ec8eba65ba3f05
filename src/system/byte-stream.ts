import { ReapiError } from '../errors.ts';

/** Chunks in order; none empty. The consumer may keep a chunk: producers never reuse the buffer. */
export type ByteStream = AsyncIterable<Uint8Array>;

/** A part of a blob, in uncompressed bytes. `limit` absent means to the end. */
export interface ByteRange {
  readonly offset: number;
  readonly limit?: number;
}

/** The whole blob. */
export const WHOLE: ByteRange = { offset: 0 };

/** A stream of the given chunks, leaving out empty ones. */
export async function* streamOf(...chunks: readonly Uint8Array[]): ByteStream {
  for (const chunk of chunks) {
    if (chunk.length > 0) yield chunk;
  }
}

/**
 * All bytes of a stream as one array.
 * @throws too-large as soon as more than `maxBytes` have come, so that memory stays bounded.
 */
export async function collect(stream: ByteStream, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of stream) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) throw new ReapiError('too-large', `the stream has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  return Buffer.concat(chunks, sizeBytes);
}
