import assert from 'node:assert/strict';
import { InvocationTally, waitFigures } from './invocation-tally.ts';

describe('InvocationTally', () => {
  it('measures the longest time in which something was queued and nothing ran', () => {
    const tally = new InvocationTally('build', 100);
    tally.queued(100);
    tally.queued(100);
    tally.started(50, 150);
    // While one runs, the other waits and that is no starvation.
    tally.finished(true, 1000);
    tally.started(1900, 2000);
    tally.finished(true, 2500);
    const { longestUnservedMs, actions, firstMs, finishedMs } = tally.report(9000);
    assert.deepEqual(
      { longestUnservedMs, actions, firstMs, finishedMs },
      {
        ...{ longestUnservedMs: 1000, actions: 2, firstMs: 100, finishedMs: 2500 },
      },
    );
  });

  it('counts what is still unserved at the end', () => {
    const tally = new InvocationTally('build', 0);
    tally.queued(0);
    assert.equal(tally.report(700).longestUnservedMs, 700);
  });

  it('does not take an action that ended in the queue for one that ran', () => {
    const tally = new InvocationTally('build', 0);
    tally.queued(0);
    tally.finished(false, 40);
    const { longestUnservedMs, wait, actions } = tally.report(900);
    assert.deepEqual([longestUnservedMs, wait.maxMs, actions], [40, 0, 1]);
  });
});

describe('waitFigures', () => {
  it('gives zeros for nothing', () => {
    assert.deepEqual(waitFigures([]), { meanMs: 0, p50Ms: 0, p95Ms: 0, maxMs: 0 });
  });

  it('takes the smallest value that so many are not above', () => {
    const waits = Array.from({ length: 100 }, (_, index) => 100 - index);
    assert.deepEqual(waitFigures(waits), { meanMs: 50.5, p50Ms: 50, p95Ms: 95, maxMs: 100 });
  });
});
