import assert from 'node:assert/strict';
import fc from 'fast-check';
import { addExhaustion, addFailure, addRun, addSuccess, highMs, noRuns } from './run-statistics.ts';

function runsOf(...durations: readonly number[]) {
  const statistics = noRuns();
  for (const ms of durations) addRun(statistics, ms);
  return statistics;
}

const repeat = (count: number, ms: number) => Array.from({ length: count }, () => ms);

describe('the duration of runs', () => {
  it('is the plain mean of the first few', () => {
    assert.equal(runsOf(100).meanMs, 100);
    assert.equal(runsOf(100, 300).meanMs, 200);
    assert.ok(Math.abs(runsOf(100, 200, 300).meanMs - 200) < 1e-9);
  });

  it('follows a change within some runs, and is not thrown off by one', () => {
    const { meanMs } = runsOf(...repeat(100, 1_000), ...repeat(10, 100));
    assert.ok(meanMs < 200, `${meanMs}`);
    const once = runsOf(...repeat(100, 1_000), 5_000).meanMs;
    assert.ok(once < 1_801, `${once}`);
  });

  it('has a high value once there are enough runs, near the 95th percentile of what varies', () => {
    assert.equal(highMs(runsOf(...repeat(4, 100))), undefined);
    assert.ok(Math.abs((highMs(runsOf(...repeat(5, 100))) ?? 0) - 100) < 1e-6);
    const varied = Array.from({ length: 200 }, (_, at) => 100 * (1 + (at % 10)));
    const high = highMs(runsOf(...varied)) ?? 0;
    assert.ok(high > 800 && high < 3_000, `${high}`);
  });

  it('law: stays a number between the shortest and the longest run', () => {
    const duration = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e12, noNaN: true }));
    fc.assert(
      fc.property(fc.array(duration, { minLength: 1, maxLength: 60 }), (durations) => {
        const bounded = durations.map((ms) => Math.min(ms, 604_800_000));
        const statistics = runsOf(...durations);
        const slack = 1e-6 * (1 + Math.max(...bounded));
        assert.ok(statistics.meanMs >= Math.min(...bounded) - slack);
        assert.ok(statistics.meanMs <= Math.max(...bounded) + slack);
        assert.ok((highMs(statistics) ?? Number.POSITIVE_INFINITY) >= statistics.meanMs);
        assert.ok(statistics.logVariance >= 0);
      }),
    );
  });
});

describe('the size class of runs', () => {
  it('rises above one that ran out of room', () => {
    const statistics = noRuns();
    addExhaustion(statistics, 1);
    assert.equal(statistics.minSizeClass, 2);
    addExhaustion(statistics, 0);
    assert.equal(statistics.minSizeClass, 2);
    addSuccess(statistics, 3);
    assert.equal(statistics.minSizeClass, 2);
  });

  it('rises above one that failed if a larger one succeeds next, not if it fails too', () => {
    const statistics = noRuns();
    addFailure(statistics, 0);
    assert.equal(statistics.minSizeClass, 0);
    addFailure(statistics, 3);
    addSuccess(statistics, 3);
    assert.equal(statistics.minSizeClass, 0);
    addFailure(statistics, 0);
    addSuccess(statistics, 3);
    assert.equal(statistics.minSizeClass, 1);
  });

  it('sinks to one that succeeds', () => {
    const statistics = noRuns();
    addExhaustion(statistics, 2);
    addSuccess(statistics, 1);
    assert.equal(statistics.minSizeClass, 1);
  });

  it('is tried anew after many successes', () => {
    const statistics = noRuns();
    addExhaustion(statistics, 0);
    for (let count = 1; count < 100; count++) addSuccess(statistics, 1);
    assert.equal(statistics.minSizeClass, 1);
    addSuccess(statistics, 1);
    assert.equal(statistics.minSizeClass, 0);
  });
});
