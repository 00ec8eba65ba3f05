import assert from 'node:assert/strict';
import { TRACE_MATCHER } from '../../../test/simulation/traces/trace-builder.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { planReplay } from './replay-plan.ts';
import type { Arrival, ArrivalFinish, Trace, TracedAttempt } from './trace.ts';

const NEEDS = TRACE_MATCHER.parse([], { digestFunction: 'sha256', legacyOutputs: false });

function arrival(atMs: number, invocation: string, changes: Partial<Arrival> = {}): Arrival {
  return {
    ...{ atMs, key: `key-${atMs}`, instance: parseInstanceName(''), needs: NEEDS, priority: 0, merge: 'any' },
    ...{ shares: invocation === '' ? [] : [{ id: invocation, weight: 1 }], mnemonic: '', inputBytes: 0 },
    ...changes,
  };
}

function attempt(heldMs: number, how: TracedAttempt['how'], sizeClass = 0): TracedAttempt {
  return { slot: 's1', sizeClass, startedAtMs: 0, heldMs, how };
}

const ended = (atMs: number, ...attempts: readonly TracedAttempt[]): { finish: ArrivalFinish } => ({
  finish: { atMs, how: 'result', attempts },
});

const traceOf = (...arrivals: readonly Arrival[]): Trace => ({
  ...{ startedAtMs: 0, arrivals, slots: [], isTruncated: false },
});

const causes = (trace: Trace, isClosedLoop: boolean) =>
  planReplay(trace, isClosedLoop).map(({ after, delayMs }) => [after, delayMs]);

describe('planReplay', () => {
  it('lets an arrival wait for the last operation of its invocation that had finished before it came', () => {
    const trace = traceOf(
      arrival(0, 'a', ended(1000)),
      arrival(100, 'a', ended(3000)),
      arrival(200, 'b', ended(900)),
      arrival(1500, 'a'),
      arrival(3000, 'a'),
      arrival(3500, 'c'),
    );
    assert.deepEqual(causes(trace, true), [
      [[], 0],
      [[], 100],
      [[], 200],
      [[0], 500],
      [[1], 0],
      [[], 3500],
    ]);
  });

  it('lets arrivals come when they came, if that is wanted, and those that belong to nobody always', () => {
    const trace = traceOf(arrival(0, 'a', ended(10)), arrival(20, 'a'), arrival(25, '', ended(26)), arrival(30, ''));
    assert.deepEqual(causes(trace, false), [
      [[], 0],
      [[], 20],
      [[], 25],
      [[], 30],
    ]);
    assert.deepEqual(causes(trace, true).slice(2), [
      [[], 25],
      [[], 30],
    ]);
  });

  it('never lets two that came and finished at the same time wait for each other', () => {
    const trace = traceOf(arrival(5, 'a', ended(5)), arrival(5, 'a', ended(5)));
    assert.deepEqual(causes(trace, true), [
      [[], 5],
      [[0], 0],
    ]);
  });

  it('keeps what made traces say', () => {
    const made = { after: [0], delayMs: 7, runMs: 11 };
    const [, planned] = planReplay(traceOf(arrival(0, 'a', ended(1)), arrival(3, 'a', made)), true);
    assert.deepEqual([planned?.after, planned?.delayMs, planned?.runMs], [[0], 7, 11]);
  });

  it('takes its own duration, else that of the same action, the expected one, the median of its kind, of all, or 10 s', () => {
    const trace = traceOf(
      arrival(0, 'a', { key: 'x', mnemonic: 'Kind', ...ended(9, attempt(900, 'worker-lost'), attempt(40, 'success')) }),
      arrival(1, 'a', { mnemonic: 'Kind', ...ended(9, attempt(60, 'failure')) }),
      arrival(2, 'a', { mnemonic: 'Kind', ...ended(9, attempt(90, 'success')) }),
      arrival(3, 'a', { mnemonic: 'Other', ...ended(9, attempt(500, 'success')) }),
      arrival(4, 'a', { key: 'x', expectedMs: 5 }),
      arrival(5, 'a', { expectedMs: 5 }),
      arrival(6, 'a', { mnemonic: 'Kind' }),
      arrival(7, 'a', { mnemonic: 'Never seen' }),
    );
    assert.deepEqual(
      planReplay(trace, true).map(({ runMs }) => runMs),
      [40, 60, 90, 500, 40, 5, 60, 90],
    );
    assert.equal(planReplay(traceOf(arrival(0, 'a')), true)[0]?.runMs, 10_000);
  });

  it('remembers failures, cancellations, and machines that were too small', () => {
    const cancelled = { finish: { atMs: 70, how: 'cancelled', attempts: [] } } as const;
    const trace = traceOf(
      arrival(0, 'a', ended(9, attempt(5, 'failure'))),
      arrival(20, 'a', cancelled),
      arrival(30, 'a', ended(99, attempt(5, 'exhausted', 1), attempt(8, 'success', 3))),
      arrival(40, 'a', ended(99, attempt(5, 'exhausted', 1), attempt(8, 'success', 1))),
    );
    assert.deepEqual(
      planReplay(trace, true).map(({ verdict, cancelAfterMs, exhaustsUpTo }) => [verdict, cancelAfterMs, exhaustsUpTo]),
      [
        ['failure', undefined, -1],
        ['success', 50, -1],
        ['success', undefined, 1],
        ['success', undefined, -1],
      ],
    );
  });
});
