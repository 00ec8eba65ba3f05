import assert from 'node:assert/strict';
import { PlainScheduler } from '../../../test/simulation/traces/plain-scheduler.ts';
import { TRACE_MATCHER, TraceBuilder } from '../../../test/simulation/traces/trace-builder.ts';
import { isKind } from '../../errors.ts';
import { type SimulationOptions, simulateTrace } from './simulate-trace.ts';
import type { Arrival, Trace } from './trace.ts';

/** First come, first served: what must come of it can be told by hand. */
const play = (trace: Trace, options: SimulationOptions = {}) =>
  simulateTrace(trace, TRACE_MATCHER, { createScheduler: () => new PlainScheduler(), ...options });

/** By the scheduler of the server. */
const playReal = (trace: Trace, options: SimulationOptions = {}) => simulateTrace(trace, TRACE_MATCHER, options);

function builderWith(slots: number): TraceBuilder {
  const builder = new TraceBuilder();
  builder.worker('w', slots, ['linux']);
  return builder;
}

const withArrivals = (trace: Trace, change: (arrival: Arrival, number: number) => Partial<Arrival>): Trace => ({
  ...trace,
  arrivals: trace.arrivals.map((arrival, number) => ({ ...arrival, ...change(arrival, number) })),
});

describe('simulateTrace', () => {
  it('measures waits, ends and utilisation', () => {
    const builder = builderWith(1);
    for (const runMs of [1000, 2000, 3000]) builder.action({ invocation: 'a', runMs });
    const report = play(builder.build());
    assert.equal(report.makespanMs, 6000);
    assert.deepEqual([report.actions, report.attempts, report.retries, report.unfinished], [3, 3, 0, 0]);
    assert.deepEqual(report.wait, { meanMs: 4000 / 3, p50Ms: 1000, p95Ms: 3000, maxMs: 3000 });
    const [pool] = report.pools;
    assert.deepEqual([pool?.maxSlots, pool?.maxQueued, pool?.utilisation], [1, 2, 1]);
    assert.deepEqual(
      report.invocations.map(({ id, finishedMs, longestUnservedMs }) => [id, finishedMs, longestUnservedMs]),
      [['a', 6000, 0]],
    );
  });

  it('draws lanes of slots, busy slots and waiting actions', () => {
    const builder = builderWith(2);
    builder.action({ invocation: 'a', runMs: 1000 });
    builder.action({ invocation: 'a', runMs: 2000 });
    builder.action({ invocation: 'a', runMs: 3000 });
    const { pools, binMs } = play(builder.build());
    const lanes = pools[0]?.lanes;
    const at = (lane: readonly number[] | undefined, ms: number) => lane?.[Math.floor(ms / binMs)];
    assert.deepEqual(
      [500, 1500, 3900].map((ms) => at(lanes?.busy, ms)),
      [2, 2, 1],
    );
    assert.deepEqual(
      [500, 1500].map((ms) => at(lanes?.queued, ms)),
      [1, 0],
    );
    assert.equal(at(lanes?.slots, 3900), 2);
    assert.equal(pools[0]?.utilisation, 6 / 8);
  });

  it('measures what pools do from the first arrival on, however long the server had nothing to do before', () => {
    const builder = builderWith(2);
    const nightMs = 12 * 3_600_000;
    for (const runMs of [1000, 2000, 3000]) builder.action({ invocation: 'a', runMs, delayMs: nightMs });
    const { makespanMs, pools, binMs } = play(builder.build());
    assert.equal(makespanMs, 4000);
    assert.equal(Math.round(binMs * 240), 4000);
    assert.equal(pools[0]?.utilisation, 6 / 8);
    assert.deepEqual(
      [0, 239].map((bin) => pools[0]?.lanes.busy[bin]),
      [2, 1],
    );
  });

  it('lets later arrivals of a build wait for the earlier ones: slower workers delay them, faster ones bring them forward', () => {
    const builder = builderWith(1);
    builder.action({ invocation: 'a', runMs: 4000 });
    builder.action({ invocation: 'a', runMs: 1000, delayMs: 4500 });
    const recorded = withArrivals(builder.build(), (_, number) => ({
      finish: { atMs: number === 0 ? 4000 : 5500, how: 'result', attempts: [] },
    }));
    assert.equal(play(recorded).makespanMs, 5500);
    assert.equal(play(recorded, { speed: 4 }).makespanMs, 1750);
    assert.equal(play(recorded, { speed: 4, isClosedLoop: false }).makespanMs, 4750);
    assert.equal(play(recorded, { speed: 0.5 }).makespanMs, 10_500);
  });

  it('says what never ended: work that no worker can do, and what waits for it', () => {
    const builder = builderWith(1);
    const never = builder.action({ invocation: 'a', runMs: 1000, platform: ['windows'] });
    builder.action({ invocation: 'a', runMs: 1000, after: [never] });
    builder.action({ invocation: 'a', runMs: 1000 });
    const { unfinished, actions, makespanMs } = play(builder.build());
    assert.deepEqual({ unfinished, actions, makespanMs }, { unfinished: 2, actions: 3, makespanMs: 1000 });
    // The server's own gives such work up, and its client goes on.
    assert.deepEqual([playReal(builder.build()).unfinished, playReal(builder.build()).failed], [0, 1]);
  });

  it('starts again what a lost worker ran', () => {
    const builder = new TraceBuilder();
    builder.worker('spot', 1, ['linux']);
    builder.workerLost('spot', 1, 700);
    builder.worker('late', 1, ['linux'], 1000);
    builder.action({ invocation: 'a', runMs: 900 });
    for (const report of [play(builder.build()), playReal(builder.build())]) {
      assert.deepEqual([report.makespanMs, report.attempts, report.retries], [1900, 2, 1]);
    }
  });

  it('lets a worker that left in order finish what it runs, and nothing more', () => {
    const builder = new TraceBuilder();
    builder.worker('w', 1, ['linux']);
    for (const runMs of [900, 900]) builder.action({ invocation: 'a', runMs });
    builder.worker('late', 1, ['linux'], 5000);
    const trace = builder.build();
    const leaves: Trace = {
      ...trace,
      slots: [
        ...trace.slots.slice(0, 1),
        { type: 'left', atMs: 500, slot: 'w/0', isLost: false },
        ...trace.slots.slice(1),
      ],
    };
    for (const report of [play(leaves), playReal(leaves)]) {
      assert.deepEqual([report.makespanMs, report.retries], [5900, 0]);
    }
  });

  it('cancels what clients cancelled, unless it is done by then', () => {
    const builder = builderWith(1);
    builder.action({ invocation: 'a', runMs: 5000 });
    builder.action({ invocation: 'a', runMs: 1000 });
    const cancelled = (atMs: number): Partial<Arrival> => ({ finish: { atMs, how: 'cancelled', attempts: [] } });
    const first = withArrivals(builder.build(), (_, number) => (number === 0 ? cancelled(2000) : {}));
    const report = playReal(first);
    assert.deepEqual([report.cancelled, report.unfinished], [1, 0]);
    // The worker hears of it when it reports, and then runs the other one.
    assert.ok(report.makespanMs <= 11_000);
    const late = withArrivals(builder.build(), () => cancelled(60_000));
    assert.deepEqual([playReal(late).cancelled, playReal(late).makespanMs], [0, 6000]);
  });

  it('takes an action to a larger machine when the small one was too small', () => {
    const builder = builderWith(1);
    builder.action({ invocation: 'a', runMs: 1000 });
    const made = builder.build();
    const [small] = made.slots;
    assert.ok(small?.type === 'there');
    const sized = (slot: string, sizeClass: number) => ({
      ...small,
      slot,
      node: slot,
      offer: { ...small.offer, sizeClass },
    });
    const attempts = [
      { slot: 'small', sizeClass: 1, startedAtMs: 0, heldMs: 300, how: 'exhausted' },
      { slot: 'large', sizeClass: 2, startedAtMs: 300, heldMs: 1000, how: 'success' },
    ] as const;
    const trace: Trace = {
      ...withArrivals(made, () => ({ sizeClass: 1, finish: { atMs: 1300, how: 'result', attempts } })),
      slots: [sized('small', 1), sized('large', 2)],
    };
    const report = playReal(trace);
    assert.deepEqual([report.failed, report.unfinished], [0, 0]);
    assert.ok(report.attempts <= 2);
  });

  it('runs equal actions once, and tells all who asked', () => {
    const builder = builderWith(1);
    for (let count = 0; count < 3; count++) builder.action({ invocation: `b${count}`, runMs: 1000 });
    const report = playReal(withArrivals(builder.build(), () => ({ key: '00000000000000aa' })));
    assert.deepEqual([report.attempts, report.makespanMs, report.actions], [1, 1000, 3]);
  });

  it('tells the scheduler what `change` makes of an arrival, and reports the arrival as it was', () => {
    const builder = builderWith(1);
    builder.action({ invocation: 'a', runMs: 1000 });
    for (const invocation of ['a', 'b']) builder.action({ invocation, runMs: 1000 });
    const isB = ({ shares }: Arrival): boolean => shares[0]?.id === 'b';
    const finished = (options: SimulationOptions) =>
      playReal(builder.build(), options).invocations.map(({ id, finishedMs }) => [id, finishedMs]);
    const change = (arrival: Arrival): Arrival => ({ ...arrival, shares: [], priority: isB(arrival) ? -500 : 0 });
    const last = (arrival: Arrival): Arrival => ({ ...arrival, shares: [], priority: isB(arrival) ? 500 : 0 });
    assert.deepEqual(finished({ change }), [
      ['a', 3000],
      ['b', 2000],
    ]);
    assert.deepEqual(finished({ change: last }), [
      ['a', 2000],
      ['b', 3000],
    ]);
  });

  it('plays a trace without workers only with a fleet, of which it cannot know the offer', () => {
    const trace = { ...builderWith(1).build(), slots: [] };
    assert.throws(
      () => play(trace),
      (error) => isKind(error, 'invalid-argument'),
    );
  });

  it('makes nothing of a trace in which nobody asked for anything', () => {
    const report = play(builderWith(2).build());
    assert.deepEqual([report.makespanMs, report.actions, report.invocations.length], [0, 0, 0]);
  });

  it('gives the same report every time', () => {
    const builder = builderWith(3);
    for (let count = 0; count < 50; count++) builder.action({ invocation: `b${count % 4}`, runMs: 100 + 37 * count });
    assert.deepEqual(playReal(builder.build()), playReal(builder.build()));
  });
});
