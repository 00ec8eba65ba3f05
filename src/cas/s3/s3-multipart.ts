import type { CompletedPart } from '@aws-sdk/client-s3';
import { invariant } from '../../errors.ts';
import { abortable } from '../../system/abortable.ts';
import type { ByteStream } from '../../system/byte-stream.ts';
import { Semaphore } from '../../system/semaphore.ts';

/** Objects up to this size go in one request; longer ones in parts of it. */
export const PART_BYTES = 8 * 2 ** 20;

/** Of S3, for an object. */
export const MAX_PARTS = 10_000;

/** Parts of one object on their way at once; with the one being filled, `PARTS_AT_ONCE + 1` are in memory. */
const PARTS_AT_ONCE = 4;

/** Bytes of each part but the last, so that there are not too many. */
export function partBytesOf(sizeBytes: number): number {
  return Math.max(PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS));
}

/** Sends one part; numbers begin at 1. */
export type SendPart = (number: number, body: Uint8Array, signal: AbortSignal) => Promise<CompletedPart>;

/**
 * Sends a stream in parts, a few at a time; the first failure stops the others and the reading.
 * @returns the parts in order.
 */
export async function sendParts(
  bytes: ByteStream,
  sizeBytes: number,
  send: SendPart,
  signal: AbortSignal,
): Promise<readonly CompletedPart[]> {
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop.abort(error);
  };
  const width = new Semaphore(PARTS_AT_ONCE);
  const sending: Promise<CompletedPart | undefined>[] = [];
  try {
    for await (const body of pieces(abortable(bytes, stop.signal), sizeBytes, partBytesOf(sizeBytes))) {
      const number = sending.length + 1;
      await width.acquire(stop.signal);
      const part = send(number, body, stop.signal).finally(() => width.release());
      sending.push(part.catch((error: unknown) => void fail(error)));
    }
  } catch (error) {
    fail(error);
  }
  const parts = await Promise.all(sending);
  signal.removeEventListener('abort', onAbort);
  if (failure !== undefined) throw failure.error;
  return parts.filter((part) => part !== undefined);
}

/**
 * The stream in pieces of `pieceBytes`, the last one shorter; one empty piece for an empty stream.
 * It is a bug of the caller if there are not exactly `sizeBytes`.
 */
export async function* pieces(bytes: ByteStream, sizeBytes: number, pieceBytes: number): AsyncGenerator<Uint8Array> {
  let leftBytes = sizeBytes;
  let piece = Buffer.allocUnsafe(Math.min(pieceBytes, leftBytes));
  let filled = 0;
  for await (const chunk of bytes) {
    invariant(chunk.length <= leftBytes, `a stream has more than the ${sizeBytes} bytes that were announced`);
    leftBytes -= chunk.length;
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, piece.length - filled);
      piece.set(chunk.subarray(at, at + taken), filled);
      at += taken;
      filled += taken;
      if (filled < piece.length || leftBytes + chunk.length - at === 0) continue;
      yield piece;
      piece = Buffer.allocUnsafe(Math.min(pieceBytes, leftBytes + chunk.length - at));
      filled = 0;
    }
  }
  invariant(leftBytes === 0, `a stream has ${leftBytes} bytes less than the ${sizeBytes} that were announced`);
  yield piece;
}
