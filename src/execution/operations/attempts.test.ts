import assert from 'node:assert/strict';
import type { AttemptRecord } from '../scheduler/events.ts';
import { attemptsOf } from './attempts.ts';

const record = (attempt: number, end?: AttemptRecord['end']): AttemptRecord => ({
  ...{ attempt, slot: `slot-${attempt}`, node: 'node', startedAtMs: attempt * 10 },
  ...(end && { end }),
});

describe('attemptsOf', () => {
  it('turns the times of the scheduler into wall time', () => {
    const records = [record(1, { atMs: 15, how: 'worker-lost', cause: 'silent' }), record(2)];
    assert.deepEqual(
      attemptsOf(records, (ms) => ms + 1_000),
      [
        {
          ...{ attempt: 1, slot: 'slot-1', node: 'node', startedAtMs: 1_010 },
          end: { atMs: 1_015, how: 'worker-lost', cause: 'silent' },
        },
        { attempt: 2, slot: 'slot-2', node: 'node', startedAtMs: 1_020 },
      ],
    );
  });

  it('keeps the newest of many, with causes of a limited length', () => {
    const records = Array.from({ length: 100 }, (_, at) =>
      record(at + 1, { atMs: 0, how: 'failure', cause: 'x'.repeat(9_999) }),
    );
    const kept = attemptsOf(records, (ms) => ms);
    assert.deepEqual([kept.length, kept[0]?.attempt, kept.at(-1)?.attempt], [32, 69, 100]);
    assert.equal(kept[0]?.end?.cause.length, 513);
  });
});
