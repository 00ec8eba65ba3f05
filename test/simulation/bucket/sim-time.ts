import type { Clock, Timer } from '../../../src/system/clock.ts';

/** Wall-clock milliseconds at which every world begins. */
const EPOCH_MS = 1_700_000_000_000;

/** Turns of the event loop after each moment: a read of ranges waits for one, and what it brings may ask for another. */
const TURNS = 2;

interface Alarm {
  readonly atMs: number;
  readonly fn: () => void;
}

/** The time of a simulated world: it jumps from alarm to alarm. Its monotonic milliseconds are those since the beginning, the same everywhere. */
export class SimTime implements Clock {
  readonly #alarms = new Set<Alarm>();
  #nowMs: number;

  /** @param startMs since the beginning of the world. */
  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  /** By a wall clock that is right: that of the object store. */
  nowMs(): number {
    return EPOCH_MS + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wakeAt(atMs: number, fn: () => void): Timer {
    const alarm = { atMs: Math.max(atMs, this.#nowMs), fn };
    this.#alarms.add(alarm);
    return { cancel: () => this.#alarms.delete(alarm) };
  }

  /** Resolves after `ms`. */
  after(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.wakeAt(this.#nowMs + ms, resolve);
    });
  }

  /** Lets the world live until `endMs`, or until `isOver` after some moment. */
  async run(endMs: number, isOver: () => boolean): Promise<void> {
    for (await turns(); !isOver(); await turns()) {
      let atMs = Number.POSITIVE_INFINITY;
      for (const alarm of this.#alarms) atMs = Math.min(atMs, alarm.atMs);
      if (atMs > endMs) {
        this.#nowMs = Math.max(this.#nowMs, endMs);
        return;
      }
      this.#nowMs = atMs;
      for (const alarm of this.#alarms) {
        if (alarm.atMs > atMs) continue;
        this.#alarms.delete(alarm);
        alarm.fn();
      }
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * A process of a simulated machine: what it waits for comes while it runs, later if it is paused, and never once it was killed. So
 * nothing of a killed process goes on, though its promises stay.
 */
export class SimProcess implements Clock {
  readonly #time: SimTime;
  readonly #offsetMs: number;
  #pausedUntilMs = 0;
  #isKilled = false;

  /** @param offsetMs by which the wall clock of its machine is wrong. */
  constructor(time: SimTime, offsetMs: number) {
    this.#time = time;
    this.#offsetMs = offsetMs;
  }

  get isKilled(): boolean {
    return this.#isKilled;
  }

  /** Ends it where it stands. */
  kill(): void {
    this.#isKilled = true;
  }

  /** Stops it for a while, as a suspended machine is. */
  pause(ms: number): void {
    this.#pausedUntilMs = this.#time.monotonicMs() + ms;
  }

  get isPaused(): boolean {
    return this.#pausedUntilMs > this.#time.monotonicMs();
  }

  nowMs(): number {
    return this.#time.nowMs() + this.#offsetMs;
  }

  monotonicMs(): number {
    return this.#time.monotonicMs();
  }

  wakeAt(atMs: number, fn: () => void): Timer {
    let timer = this.#time.wakeAt(atMs, () => {
      timer = this.deliver(fn);
    });
    return { cancel: () => timer.cancel() };
  }

  /** Something comes from outside, now or when it goes on. */
  deliver(fn: () => void): Timer {
    if (!this.isPaused) {
      if (!this.#isKilled) fn();
      return { cancel: () => undefined };
    }
    return this.wakeAt(this.#pausedUntilMs, fn);
  }
}
