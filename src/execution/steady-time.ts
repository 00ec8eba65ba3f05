import type { Clock, Timer } from '../system/clock.ts';

/** How often it is noted that the process runs. */
const BEAT_MS = 500;

/** A gap longer than that is a pause: a stopped process or machine, not a busy one. */
const TOLERANCE_MS = 2_000;

/**
 * Time that stands still while the process does not run (SIGSTOP, a suspended machine, a debugger). What others did meanwhile is only
 * read afterwards: by ordinary time all workers would have fallen silent at once, and everything they run would be lost.
 */
export class SteadyTime {
  readonly #clock: Clock;
  #seenMs: number;
  #pausedMs = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#seenMs = clock.monotonicMs();
    this.#beat();
  }

  /** Milliseconds; never goes back. */
  nowMs(): number {
    const nowMs = this.#clock.monotonicMs();
    const gapMs = nowMs - this.#seenMs;
    if (gapMs > TOLERANCE_MS) this.#pausedMs += gapMs - BEAT_MS;
    this.#seenMs = nowMs;
    return nowMs - this.#pausedMs;
  }

  /** Calls back at that time, or somewhat earlier if there is a pause until then. */
  wakeAt(atMs: number, fn: () => void): Timer {
    return this.#clock.wakeAt(atMs + this.#pausedMs, fn);
  }

  /** Ends noting. */
  stop(): void {
    this.#timer?.cancel();
  }

  #beat(): void {
    this.#timer = this.#clock.wakeAt(this.#clock.monotonicMs() + BEAT_MS, () => {
      this.nowMs();
      this.#beat();
    });
  }
}
