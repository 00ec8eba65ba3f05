import type { Trace } from '../../../src/execution/trace/trace.ts';
import { TraceEncoder } from '../../../src/execution/trace/trace-encoder.ts';
import { encodeFrame } from '../../../src/execution/trace/trace-frame.ts';
import type { TraceRecord } from '../../../src/gen/gantry/v1/trace.ts';

/** A trace as a file, as a recorder would have written it. */
export async function encodeTrace(trace: Trace): Promise<Buffer> {
  const encoder = new TraceEncoder();
  const records: TraceRecord[] = [...encoder.header(trace.startedAtMs)];
  for (const { atMs, write } of inOrder(trace, encoder)) records.push(...write(atMs));
  return encodeFrame(records);
}

interface Entry {
  readonly atMs: number;
  readonly write: (atMs: number) => readonly TraceRecord[];
}

function inOrder(trace: Trace, encoder: TraceEncoder): readonly Entry[] {
  const slots = trace.slots.map(
    (change): Entry => ({
      atMs: change.atMs,
      write: (atMs) =>
        change.type === 'there' ? encoder.slot(change, atMs) : encoder.slotLeft(change.slot, change.isLost, atMs),
    }),
  );
  const arrivals = trace.arrivals.map(
    ({ finish, ...arrival }): Entry => ({ atMs: arrival.atMs, write: () => encoder.arrival(arrival).records }),
  );
  const finishes = trace.arrivals.flatMap(({ finish }, number): readonly Entry[] =>
    finish === undefined ? [] : [{ atMs: finish.atMs, write: () => encoder.finish(number, finish) }],
  );
  // Stable: what is at the same time stays as it is.
  return [...slots, ...arrivals, ...finishes].toSorted((a, b) => a.atMs - b.atMs);
}
