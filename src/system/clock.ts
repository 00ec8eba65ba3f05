/** The only source of time. Wall time is for people and for the wire, monotonic time is for deadlines. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May jump. */
  nowMs(): number;
  /** Milliseconds since some fixed moment. Never goes back. */
  monotonicMs(): number;
  /** Calls `fn` once, not before `monotonicMs() >= atMs`. */
  wakeAt(atMs: number, fn: () => void): Timer;
}

/** A pending `wakeAt`. */
export interface Timer {
  cancel(): void;
}

/** Node clamps longer timers to 1 ms; a longer wait is made of several. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The machine's clocks. Its timers keep the process alive unless `unref` is set. */
export class SystemClock implements Clock {
  readonly #unref: boolean;

  constructor(options: { readonly unref?: boolean } = {}) {
    this.#unref = options.unref ?? false;
  }

  nowMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  wakeAt(atMs: number, fn: () => void): Timer {
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const waitMs = Math.max(0, atMs - this.monotonicMs());
      handle = setTimeout(
        () => {
          if (this.monotonicMs() >= atMs) fn();
          else arm();
        },
        Math.min(Math.ceil(waitMs), MAX_TIMER_MS),
      );
      if (this.#unref) handle.unref();
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  }
}

/** Resolves after `ms` milliseconds of `clock`, or rejects with the signal's reason as soon as it is aborted. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal.reason);
    };
    const timer = clock.wakeAt(clock.monotonicMs() + ms, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
