import { ReapiError } from '../../errors.ts';

/** One who waits for the outcome of a piece of work. */
interface Caller<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A piece of work under way: there is one as long as somebody waits for it. */
interface Running<T> {
  readonly callers: Set<Caller<T>>;
  readonly abort: AbortController;
}

/**
 * Work that many may want at the same time and that is done once for all of them: fetching a large blob into the local tier.
 *
 * The work runs on while at least one caller waits. When the last one has gone its signal aborts, and whoever comes later starts
 * anew, without waiting for the aborted work to end. Nothing is remembered once the work has ended. There are never more keys
 * than callers, whose number is bounded where calls come in.
 */
export class SharedWork<T> {
  readonly #running = new Map<string, Running<T>>();

  /** How many pieces of work have callers. */
  get size(): number {
    return this.#running.size;
  }

  /**
   * The outcome of `work`, or of the one that is under way for `key`.
   * @param work gets a signal of its own, which has nothing to do with the one of any single caller.
   * @throws cancelled as soon as the caller's own signal aborts; whatever `work` throws.
   */
  run(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(cancelled(signal));
    return new Promise((resolve, reject) => {
      const known = this.#running.get(key);
      const running = known ?? { callers: new Set(), abort: new AbortController() };
      const onAbort = (): void => {
        this.#leave(key, running, caller);
        reject(cancelled(signal));
      };
      const caller: Caller<T> = {
        resolve: (value) => {
          signal.removeEventListener('abort', onAbort);
          resolve(value);
        },
        reject: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      running.callers.add(caller);
      if (known === undefined) this.#start(key, running, work);
    });
  }

  /** The callers are told at once, and not through a promise of their own: one that has left leaves nothing behind. */
  #start(key: string, running: Running<T>, work: (signal: AbortSignal) => Promise<T>): void {
    this.#running.set(key, running);
    const started = (async () => work(running.abort.signal))();
    started.then(
      (value) => {
        this.#forget(key, running);
        for (const caller of running.callers) caller.resolve(value);
      },
      (error: unknown) => {
        this.#forget(key, running);
        for (const caller of running.callers) caller.reject(error);
      },
    );
  }

  #leave(key: string, running: Running<T>, caller: Caller<T>): void {
    running.callers.delete(caller);
    if (running.callers.size > 0) return;
    this.#forget(key, running);
    running.abort.abort();
  }

  /** By now the key may be that of later work. */
  #forget(key: string, running: Running<T>): void {
    if (this.#running.get(key) === running) this.#running.delete(key);
  }
}

function cancelled(signal: AbortSignal): ReapiError {
  return new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason });
}
