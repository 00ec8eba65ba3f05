import { ReapiError, throwIfAborted } from '../errors.ts';

interface Waiter {
  readonly grant: () => void;
}

/** Bounds how many run at once. Waiters are served in order of arrival, and their number is bounded too. */
export class Semaphore {
  #free: number;
  readonly #maxWaiters: number;
  readonly #waiters: Waiter[] = [];

  /** @param maxWaiters above it `acquire` fails at once with `unavailable`; default no one is turned away. */
  constructor(permits: number, maxWaiters = Number.POSITIVE_INFINITY) {
    this.#free = permits;
    this.#maxWaiters = maxWaiters;
  }

  /** Runs `fn` while holding a permit. @throws cancelled while waiting; unavailable if too many wait. */
  async run<T>(signal: AbortSignal, fn: () => Promise<T>): Promise<T> {
    await this.acquire(signal);
    try {
      return await fn();
    } finally {
      this.release();
    }
  }

  /** Takes a permit, for what does not fit into a function; `release` gives it back, exactly once. @throws as `run`. */
  acquire(signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    if (this.#waiters.length >= this.#maxWaiters) {
      return Promise.reject(new ReapiError('unavailable', 'too many calls are waiting for this resource'));
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        const at = this.#waiters.indexOf(waiter);
        if (at >= 0) this.#waiters.splice(at, 1);
        reject(new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason }));
      };
      const waiter: Waiter = {
        grant: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiters.push(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives a permit back. */
  release(): void {
    const next = this.#waiters.shift();
    if (next) next.grant();
    else this.#free++;
  }
}
