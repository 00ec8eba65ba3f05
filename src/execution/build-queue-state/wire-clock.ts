import type { Duration } from '../../gen/google/protobuf/duration.ts';
import type { Timestamp } from '../../gen/google/protobuf/timestamp.ts';

/** Wall and monotonic clock may drift apart so far before times are converted anew. */
const MAX_DRIFT_MS = 1_000;

/**
 * The scheduler's times as wall time in whole microseconds. A time that did not change is always the same on the wire, although
 * clocks drift: clients page by timestamps. Only a jump of the wall clock moves them all.
 */
export class WireClock {
  readonly #wallMs: (schedulerMs: number) => number;
  #offsetMs: number;

  constructor(wallMs: (schedulerMs: number) => number) {
    this.#wallMs = wallMs;
    this.#offsetMs = wallMs(0);
  }

  /** Microseconds since the Unix epoch. */
  microseconds(schedulerMs: number): number {
    return Math.round((schedulerMs + this.#offsetMs) * 1000);
  }

  timestamp(schedulerMs: number): Timestamp {
    return toWire(this.microseconds(schedulerMs));
  }

  /** Follows a jump of the wall clock. To be called once at the start of a request. */
  adjust(): void {
    const offsetMs = this.#wallMs(0);
    if (Math.abs(offsetMs - this.#offsetMs) > MAX_DRIFT_MS) this.#offsetMs = offsetMs;
  }
}

/** Microseconds as a Timestamp or Duration. */
export function toWire(microseconds: number): Timestamp & Duration {
  const seconds = Math.floor(microseconds / 1e6);
  return { seconds: BigInt(seconds), nanos: (microseconds - seconds * 1e6) * 1000 };
}

/** A Timestamp or Duration in microseconds; 0 if it is absent. */
export function fromWire(time: Timestamp | Duration | undefined): number {
  return time === undefined ? 0 : Number(time.seconds) * 1e6 + Math.floor(time.nanos / 1000);
}
