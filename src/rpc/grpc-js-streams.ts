import type { EventEmitter } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ServerDuplexStream, ServerReadableStream, ServerWritableStream } from '@grpc/grpc-js';
import { ReapiError } from '../errors.ts';
import type { Messages } from './methods.ts';

/** A call of grpc-js whose requests are a stream. */
export type RequestStream = ServerReadableStream<Uint8Array, Uint8Array> | ServerDuplexStream<Uint8Array, Uint8Array>;

/** A call of grpc-js whose responses are a stream. */
export type ResponseStream = ServerWritableStream<Uint8Array, Uint8Array> | ServerDuplexStream<Uint8Array, Uint8Array>;

/**
 * Messages that may wait in memory of a stream, each way; the rest waits in the peer, held back by the window.
 * Without it sixteen messages of up to 4 MiB would.
 */
const BUFFERED_MESSAGES = 4;

/** Writes responses at the reader's pace. Leaves `messages`, so that they can clean up, when the call ends early. */
export async function respond(call: ResponseStream, messages: Messages, signal: AbortSignal): Promise<void> {
  Reflect.get(call, '_writableState').highWaterMark = BUFFERED_MESSAGES;
  for await (const message of messages) {
    if (signal.aborted) throw signal.reason;
    if (!call.write(message)) await drained(call, signal);
  }
}

/** The requests of a streaming call. @throws cancelled if the caller went away before the last one. */
export async function* requestsOf(call: RequestStream): Messages {
  Reflect.get(call, '_readableState').highWaterMark = BUFFERED_MESSAGES;
  try {
    // Not the default iterator: leaving it early would destroy the call, which must still answer.
    for await (const message of call.iterator({ destroyOnReturn: false })) yield message as Uint8Array;
  } catch (error) {
    throw brokenOff(error);
  }
  // Many clients, Node's among them, half-close a stream just before they reset it: let the reset arrive.
  await nextTurn();
  if (isGone(call)) throw brokenOff(undefined);
}

function brokenOff(cause: unknown): ReapiError {
  return new ReapiError('cancelled', 'the caller broke the call off', { cause });
}

/**
 * Whether the HTTP/2 stream below is closed both ways. Node ends the requests of a caller whose connection broke like
 * those of one that is done; but one that is done still waits for the answer. A test guards the private fields.
 */
function isGone(call: object): boolean {
  const { closed, destroyed } = Reflect.get(Reflect.get(call, 'call'), 'stream');
  return closed || destroyed;
}

/** Resolves when the stream takes more. @throws the signal's reason when the call ends instead. */
function drained(call: EventEmitter, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onDrain = (): void => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    const onAbort = (): void => {
      call.off('drain', onDrain);
      reject(signal.reason);
    };
    call.once('drain', onDrain);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
