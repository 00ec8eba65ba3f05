import type { Timer } from '../../src/system/clock.ts';
import { FakeClock } from './fake-clock.ts';

/** Timers that are due sooner than that go off by themselves. */
const QUICK_MS = 1000;

/**
 * A clock on which short pauses are over as soon as everything that is ready has run, and take their time of it: what gathers for a moment
 * or tries again soon needs no help. Longer waits are over when a test says so.
 */
export class QuickClock extends FakeClock {
  override wakeAt(atMs: number, fn: () => void): Timer {
    const timer = super.wakeAt(atMs, fn);
    if (atMs - this.monotonicMs() > QUICK_MS) return timer;
    const turn = setImmediate(() => this.advance(Math.max(0, atMs - this.monotonicMs())));
    return {
      cancel: () => {
        clearImmediate(turn);
        timer.cancel();
      },
    };
  }
}
