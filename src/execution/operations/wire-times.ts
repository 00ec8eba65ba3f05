import type { Duration } from '../../gen/google/protobuf/duration.ts';
import type { Timestamp } from '../../gen/google/protobuf/timestamp.ts';

/** Milliseconds, with fractions, as a Timestamp. */
export function timestampOf(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6)) };
}

/** A Timestamp or Duration in milliseconds. */
export function millisecondsOf(time: Timestamp | Duration): number {
  return Number(time.seconds) * 1000 + time.nanos / 1e6;
}
