import type { Clock, Timer } from '../../src/system/clock.ts';

interface Pending {
  readonly atMs: number;
  readonly fn: () => void;
}

/** A clock that moves only when told. Wall and monotonic time start at the same value and can be moved apart by `jump`. */
export class FakeClock implements Clock {
  #monotonicMs: number;
  #skewMs = 0;
  readonly #pending = new Set<Pending>();

  constructor(startMs = 1_000_000) {
    this.#monotonicMs = startMs;
  }

  nowMs(): number {
    return this.#monotonicMs + this.#skewMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  wakeAt(atMs: number, fn: () => void): Timer {
    const entry = { atMs, fn };
    this.#pending.add(entry);
    return { cancel: () => this.#pending.delete(entry) };
  }

  /** How many timers are armed; a test that expects none finds leaks. */
  get armed(): number {
    return this.#pending.size;
  }

  /** Moves wall time only, as an administrator or NTP does. */
  jump(byMs: number): void {
    this.#skewMs += byMs;
  }

  /** Moves time on without firing anything, as if the process did not run. */
  pause(byMs: number): void {
    this.#monotonicMs += byMs;
  }

  /** Moves time on, firing timers in order of their time, each at its time. */
  advance(byMs: number): void {
    const endMs = this.#monotonicMs + byMs;
    for (;;) {
      let next: Pending | undefined;
      for (const entry of this.#pending) {
        if (entry.atMs <= endMs && (next === undefined || entry.atMs < next.atMs)) next = entry;
      }
      if (next === undefined) break;
      this.#pending.delete(next);
      this.#monotonicMs = Math.max(this.#monotonicMs, next.atMs);
      next.fn();
    }
    this.#monotonicMs = endMs;
  }
}
