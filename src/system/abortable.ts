import { ReapiError, throwIfAborted } from '../errors.ts';
import type { ByteStream } from './byte-stream.ts';

/**
 * The same chunks, but a consumer that waits for one is released as soon as `signal` aborts, whatever the source does.
 * The source is told to stop in every case.
 * @throws cancelled once the signal is aborted; whatever the source throws.
 */
export async function* abortable(stream: ByteStream, signal: AbortSignal): ByteStream {
  const source = stream[Symbol.asyncIterator]();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<'aborted'>((resolve) => {
    onAbort = () => resolve('aborted');
    signal.addEventListener('abort', onAbort, { once: true });
  });
  let isFinished = false;
  try {
    for (;;) {
      throwIfAborted(signal);
      const next = source.next();
      const first = await Promise.race([next, aborted]);
      if (first === 'aborted') {
        // The source may still fail later; the caller has its answer by then.
        next.catch(() => undefined);
        throwIfAborted(signal);
      } else if (first.done === true) {
        isFinished = true;
        return;
      } else {
        yield first.value;
      }
    }
  } finally {
    if (onAbort) signal.removeEventListener('abort', onAbort);
    if (!isFinished) stop(source);
  }
}

/** Releases a stream that nobody is going to read. */
export function discard(stream: ByteStream): void {
  stop(stream[Symbol.asyncIterator]());
}

/** Waits for `promise`, which never rejects, but no longer than until the signal aborts. @throws cancelled. */
export function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason }));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, reject);
  });
}

/** Not awaited: a generator that hangs in an await answers `return` only when that ends. Its failure concerns nobody any more. */
function stop(source: AsyncIterator<Uint8Array>): void {
  source.return?.().catch(() => undefined);
}
