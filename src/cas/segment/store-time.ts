import type { Clock } from '../../system/clock.ts';

/**
 * Store seconds: how long the store has been running, summed over its starts. Ages and leases are counted in them, because they
 * never jump: the wall clock may be set while promises are held, and time during which nobody could ask does not count.
 */
export class StoreTime {
  readonly #clock: Clock;
  readonly #startMs: number;

  /** @param startSeconds where the run before left off. */
  constructor(clock: Clock, startSeconds: number) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs() - startSeconds * 1000;
  }

  /** Whole seconds. */
  now(): number {
    return Math.floor((this.#clock.monotonicMs() - this.#startMs) / 1000);
  }

  /** The moment on the monotonic clock of this process, which is before its start for what earlier runs did. */
  toMonotonicMs(seconds: number): number {
    return this.#startMs + seconds * 1000;
  }

  /** The store second of a moment on the monotonic clock, not below 0. */
  ofMonotonicMs(monotonicMs: number): number {
    return Math.max(0, Math.floor((monotonicMs - this.#startMs) / 1000));
  }
}
