import { ReapiError, throwIfAborted } from '../../errors.ts';

const DEMANDED = new ReapiError('cancelled', 'a lease needs the network');

/** Knows whether leases wait for downloads, so that those that nobody waits for yet stand back. */
export class Demand {
  #waiting = 0;
  #began = new AbortController();
  #ended = Promise.withResolvers<void>();

  /** Counts as waiting while `work` lasts. @throws what `work` throws. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting++ === 0) this.#began.abort(DEMANDED);
    try {
      return await work();
    } finally {
      if (--this.#waiting === 0) {
        this.#began = new AbortController();
        this.#ended.resolve();
        this.#ended = Promise.withResolvers();
      }
    }
  }

  /** Aborts as soon as a lease waits; one of a quiet moment: ask again after every `quiet`. */
  get begins(): AbortSignal {
    return this.#began.signal;
  }

  /** Resolves when no lease waits. @throws cancelled. */
  async quiet(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    const onAbort = (): void => aborted.resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (this.#waiting > 0 && !signal.aborted) await Promise.race([this.#ended.promise, aborted.promise]);
      throwIfAborted(signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
