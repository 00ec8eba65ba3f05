import type { Clock } from '../../system/clock.ts';

/**
 * Seconds since 1970 that never go back while the process runs: the wall clock at its start, plus monotonic time. Times of last use are
 * kept in it. Deadlines between servers do not rest on it, their clocks need not agree.
 */
export class BucketTime {
  readonly #clock: Clock;
  readonly #offsetMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offsetMs = clock.nowMs() - clock.monotonicMs();
  }

  /** Whole seconds, at least 1. */
  now(): number {
    return Math.max(1, Math.floor((this.#clock.monotonicMs() + this.#offsetMs) / 1000));
  }
}
