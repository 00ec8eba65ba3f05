import { ReapiError } from '../errors.ts';
import type { ByteStream } from '../system/byte-stream.ts';

/**
 * A stream whose chunks are handed over one at a time: at most one waits, so a slow reader holds the writer back.
 *
 * Ends in one of three ways: `end` (the reader sees the end after the waiting chunk), `fail` (the reader gets the error at
 * once), or the reader stops reading, after which `room` resolves and `put` is without effect. Read once.
 */
export class BytePipe {
  #waiting: Uint8Array | undefined;
  #isEnded = false;
  #isStopped = false;
  #failure: unknown;
  #wakeReader: (() => void) | undefined;
  readonly #wakeWriters = new Set<() => void>();

  /** Whether a chunk can be put without exceeding the one that may wait. */
  get hasRoom(): boolean {
    return this.#waiting === undefined || this.#isStopped;
  }

  /** Resolves when there may be room; several may wait. @throws cancelled once `signal` aborts. */
  room(signal: AbortSignal): Promise<void> {
    if (this.hasRoom) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        this.#wakeWriters.delete(wake);
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = (): void => {
        this.#wakeWriters.delete(wake);
        reject(new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason }));
      };
      if (signal.aborted) {
        onAbort();
        return;
      }
      this.#wakeWriters.add(wake);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives a chunk to the reader; only while `hasRoom`. */
  put(chunk: Uint8Array): void {
    if (this.#isStopped || chunk.length === 0) return;
    this.#waiting = chunk;
    this.#wakeReader?.();
  }

  /** No chunk follows. */
  end(): void {
    this.#isEnded = true;
    this.#wakeReader?.();
  }

  /** The reader gets `error` instead of what it has not read yet. */
  fail(error: unknown): void {
    this.#failure ??= error;
    this.stop();
  }

  /** Nobody reads any more. */
  stop(): void {
    this.#isStopped = true;
    this.#waiting = undefined;
    this.#wakeReader?.();
    this.#release();
  }

  /** The chunks. */
  async *read(): ByteStream {
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure;
        const chunk = this.#waiting;
        if (chunk !== undefined) {
          this.#waiting = undefined;
          this.#release();
          yield chunk;
        } else if (this.#isEnded || this.#isStopped) return;
        else await this.#change();
      }
    } finally {
      this.stop();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeReader = () => {
        this.#wakeReader = undefined;
        resolve();
      };
    });
  }

  #release(): void {
    for (const wake of [...this.#wakeWriters]) wake();
  }
}
