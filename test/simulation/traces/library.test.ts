import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SIMULATED_POLICIES, simulatedPolicy } from '../../../src/compose/operator/simulate-policies.ts';
import { DEFAULT_OPTIONS } from '../../../src/execution/scheduler/options.ts';
import { simulateTrace } from '../../../src/execution/trace/simulate-trace.ts';
import type { InvocationReport, SimulationReport } from '../../../src/execution/trace/simulation-report.ts';
import type { Trace } from '../../../src/execution/trace/trace.ts';
import { decodeTrace } from '../../../src/execution/trace/trace-decoder.ts';
import { SeededRandom } from '../seeded-random.ts';
import { encodeTrace } from './encode-trace.ts';
import { LIBRARY_TRACES, TRACE_LIBRARY } from './library.ts';
import { TRACE_MATCHER, TraceBuilder } from './trace-builder.ts';

const SEED = 1;
const SLOTS_PER_WORKER = 2;

/** Fleets of the mixed platforms begin with a worker of each. */
const FLEETS = [1, 2, 4, 8, 16, 32, 64];
const MIXED_FLEETS = [4, 8, 16, 32, 64];

/** How much later a build may end with twice the workers: see `more workers` below. */
const TOLERANCE = 1.01;

const play = (trace: Trace, workers: number): SimulationReport =>
  simulateTrace(trace, TRACE_MATCHER, { fleet: { workers, slotsPerWorker: SLOTS_PER_WORKER } });

const isSmall = ({ id }: InvocationReport): boolean => id.startsWith('small-');

const longest = (trace: Trace): number => Math.max(...trace.arrivals.map(({ runMs = 0 }) => runMs));

describe('the library of traces', () => {
  for (const name of LIBRARY_TRACES) {
    it(`${name}: is the same for the same seed, and another for another`, () => {
      assert.deepEqual(TRACE_LIBRARY[name](SEED), TRACE_LIBRARY[name](SEED));
      assert.notDeepEqual(TRACE_LIBRARY[name](SEED), TRACE_LIBRARY[name](SEED + 1));
    });

    it(`${name}: is the same after it was written and read`, async () => {
      const trace = TRACE_LIBRARY[name](SEED);
      assert.deepEqual(decodeTrace(await encodeTrace(trace)), trace);
    });
  }
});

/**
 * Adding workers can make a build slower under any scheduler that never lets a fitting slot idle: the order of starts changes, and a long
 * action may start later (Graham's anomalies, at most a factor of 2 − 1/m). So the law has two parts. For any work it is the bound that
 * list scheduling has, which only falls as slots are added. For the traces of the library, which look like real builds, the end itself
 * never comes more than 1 % later with twice the workers.
 */
describe('more workers never make a build slower', () => {
  for (const name of LIBRARY_TRACES) {
    it(`${name}: twice the workers, at most 1 % later`, () => {
      const trace = TRACE_LIBRARY[name](SEED);
      const fleets = name === 'mixed platforms' ? MIXED_FLEETS : FLEETS;
      const reports = fleets.map((workers) => play(trace, workers));
      for (const [index, { makespanMs, unfinished, failed }] of reports.entries()) {
        assert.deepEqual({ unfinished, failed }, { unfinished: 0, failed: 0 });
        const before = reports[index - 1]?.makespanMs ?? Number.POSITIVE_INFINITY;
        assert.ok(
          makespanMs <= before * TOLERANCE,
          `${makespanMs} ms with ${fleets[index]} workers, ${before} ms before`,
        );
      }
      const [first, last] = [reports[0], reports.at(-1)];
      assert.ok(first !== undefined && last !== undefined && last.makespanMs < first.makespanMs / 2);
    });
  }

  it('law: ends by the work divided by the slots plus the longest chain, as list scheduling does', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 12 }), (seed, workers) => {
        const trace = randomGraph(seed);
        const report = play(trace, workers);
        assert.equal(report.unfinished, 0);
        assert.ok(report.makespanMs <= listSchedulingBound(trace, workers * SLOTS_PER_WORKER) + 1);
      }),
      { numRuns: 60 },
    );
  });
});

describe('no invocation starves', () => {
  it('a small build beside a huge one is served before the longest action is over', () => {
    const trace = TRACE_LIBRARY['small beside huge'](SEED);
    const small = simulateTrace(trace, TRACE_MATCHER).invocations.filter(isSmall);
    assert.equal(small.length, 20);
    for (const { id, longestUnservedMs } of small) {
      assert.ok(longestUnservedMs <= longest(trace), `${id} had nothing running for ${longestUnservedMs} ms`);
    }
  });

  it('and would not be without shares, which is what the measure is there to show', () => {
    const trace = TRACE_LIBRARY['small beside huge'](SEED);
    const fifo = simulatedPolicy('fifo', DEFAULT_OPTIONS);
    const small = simulateTrace(trace, TRACE_MATCHER, fifo).invocations.filter(isSmall);
    assert.ok(small.some(({ longestUnservedMs }) => longestUnservedMs > 10 * longest(trace)));
  });

  it('builds of the same size take turns: none is passed over for longer than a round of all of them takes', () => {
    const trace = TRACE_LIBRARY['many equal builds'](SEED);
    const { invocations, pools } = simulateTrace(trace, TRACE_MATCHER);
    const rounds = Math.ceil(invocations.length / (pools[0]?.maxSlots ?? 1));
    for (const { id, longestUnservedMs } of invocations) {
      assert.ok(longestUnservedMs <= rounds * longest(trace), `${id} had nothing running for ${longestUnservedMs} ms`);
    }
  });

  it('the huge build pays no more for the small ones than they take', () => {
    const trace = TRACE_LIBRARY['small beside huge'](SEED);
    const huge = ({ invocations }: SimulationReport) => invocations.find(({ id }) => id === 'huge')?.finishedMs ?? 0;
    const alone = { ...trace, arrivals: trace.arrivals.filter(({ shares }) => shares[0]?.id === 'huge') };
    const smallMs = trace.arrivals.reduce(
      (sum, { shares, runMs = 0 }) => sum + (shares[0]?.id === 'huge' ? 0 : runMs),
      0,
    );
    const slots = 8;
    const laterMs = huge(simulateTrace(trace, TRACE_MATCHER)) - huge(simulateTrace(alone, TRACE_MATCHER));
    assert.ok(laterMs <= smallMs / slots + longest(trace), `${laterMs} ms later`);
  });

  it('people are served before batch work, which goes on all the same', () => {
    const { invocations, unfinished } = simulateTrace(TRACE_LIBRARY['priority mix'](SEED), TRACE_MATCHER);
    assert.equal(unfinished, 0);
    const batch = invocations.find(({ id }) => id === 'batch');
    assert.ok(batch !== undefined);
    for (const { id, wait } of invocations) {
      if (id !== 'batch') assert.ok(wait.maxMs < batch.wait.maxMs / 10, `${id} waited for ${wait.maxMs} ms`);
    }
  });
});

describe('the order of starts', () => {
  it('long actions that were seen before begin early, so that they are not the tail', () => {
    const trace = TRACE_LIBRARY['long tail'](SEED);
    const ends = (name: (typeof SIMULATED_POLICIES)[number]): number =>
      simulateTrace(trace, TRACE_MATCHER, {
        ...simulatedPolicy(name, DEFAULT_OPTIONS),
        fleet: { workers: 4, slotsPerWorker: SLOTS_PER_WORKER },
      }).makespanMs;
    assert.ok(ends('configured') < ends('fair') * 0.95);
  });

  for (const name of SIMULATED_POLICIES) {
    it(`${name}: finishes everything`, () => {
      const trace = TRACE_LIBRARY['diamond builds'](SEED);
      const report = simulateTrace(trace, TRACE_MATCHER, simulatedPolicy(name, DEFAULT_OPTIONS));
      assert.deepEqual([report.unfinished, report.failed, report.actions], [0, 0, trace.arrivals.length]);
    });
  }
});

describe('workers that come and go', () => {
  it('take work with them, which others do again', () => {
    const report = simulateTrace(TRACE_LIBRARY['worker churn'](SEED), TRACE_MATCHER);
    assert.ok(report.retries > 10);
    assert.equal(report.unfinished, 0);
    assert.equal(report.attempts, report.actions + report.retries);
  });
});

/** Up to 60 actions of which each waits for up to three of those before. */
function randomGraph(seed: number): Trace {
  const random = new SeededRandom(seed);
  const builder = new TraceBuilder();
  builder.worker('worker', SLOTS_PER_WORKER, ['linux']);
  const actions = random.between(1, 60);
  for (let number = 0; number < actions; number++) {
    const after = Array.from({ length: random.between(0, 3) }, () => random.between(0, number - 1));
    builder.action({
      invocation: `build-${random.between(0, 3)}`,
      runMs: random.between(1, 60_000),
      after: number === 0 ? [] : [...new Set(after)],
    });
  }
  return builder.build();
}

function listSchedulingBound({ arrivals }: Trace, slots: number): number {
  const ends: number[] = [];
  for (const { after = [], runMs = 0 } of arrivals) {
    ends.push(runMs + Math.max(0, ...after.map((number) => ends[number] ?? 0)));
  }
  const work = arrivals.reduce((sum, { runMs = 0 }) => sum + runMs, 0);
  return work / slots + Math.max(0, ...ends);
}
