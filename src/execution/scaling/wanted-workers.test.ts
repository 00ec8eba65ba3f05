import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FakeSchedulerView } from '../../../test/support/scheduler-view.ts';
import type { ScalingPool } from './scaling-pool.ts';
import { type ScalingState, wantedWorkers } from './wanted-workers.ts';

/** One slot a worker, a minute to work off a queue, five minutes before any is given up. */
const POOL: ScalingPool = {
  name: 'linux',
  offer: { alternatives: [{ properties: [] }], digestFunctions: ['sha256'], legacyOutputs: false },
  ...{ slotsPerWorker: 1, minWorkers: 0, maxWorkers: 10, drainMs: 60_000, scaleDownMs: 300_000 },
};

/** Looks at a pool with so many minutes of work in its queue, one task each, again and again. */
function watch(pool: Partial<ScalingPool> = {}, nodes = 0, drain?: { name: string; drainMs: number }) {
  let state: ScalingState = new Map();
  return (nowMs: number, minutes: number): number => {
    const view = new FakeSchedulerView();
    const id = view.addPool({ name: 'linux' });
    for (let i = 0; i < nodes; i++) view.addSlot({ pool: id, isDrained: true });
    for (let i = 0; i < minutes; i++) view.addTask({ expectedMs: 60_000 });
    const options = { pools: [{ ...POOL, ...pool }], ...(drain === undefined ? {} : { drain }) };
    const wanted = wantedWorkers(view, options, nowMs, state);
    state = wanted.state;
    return wanted.plans[0]?.wantedWorkers ?? Number.NaN;
  };
}

describe('wantedWorkers', () => {
  it('follows need up at once, and down only after a time in which fewer were needed', () => {
    const at = watch();
    assert.deepEqual(
      [at(0, 0), at(1, 3), at(2, 5), at(200_000, 1), at(300_001, 1), at(300_002, 1), at(300_003, 1)],
      [0, 3, 5, 5, 5, 1, 1],
    );
  });

  it('goes down to the most that was needed meanwhile, and step by step from there', () => {
    const at = watch();
    assert.deepEqual([at(0, 8), at(100_000, 4), at(200_000, 2), at(300_000, 1)], [8, 8, 8, 4]);
    assert.deepEqual([at(599_999, 0), at(600_000, 0), at(899_999, 0), at(900_000, 0)], [4, 1, 1, 0]);
  });

  it('waits anew whenever all of them were needed', () => {
    const at = watch();
    assert.deepEqual([at(0, 4), at(299_000, 0), at(299_500, 4), at(599_499, 0), at(599_500, 0)], [4, 4, 4, 4, 0]);
  });

  it('scales to zero when nothing is left and wakes for the first task', () => {
    const at = watch({ scaleDownMs: 0 });
    assert.deepEqual([at(0, 1), at(1, 0), at(2, 1)], [1, 0, 1]);
  });

  it('keeps the least and the most', () => {
    const at = watch({ minWorkers: 2, maxWorkers: 3, scaleDownMs: 0 });
    assert.deepEqual([at(0, 0), at(1, 9), at(2, 0)], [2, 3, 2]);
  });

  it('keeps workers that are there at the first look for as long as any other', () => {
    const at = watch({}, 4);
    assert.deepEqual([at(0, 0), at(299_999, 0), at(300_000, 0)], [4, 4, 0]);
  });

  it('takes another pace for one pool', () => {
    assert.equal(watch()(0, 6), 6);
    assert.equal(watch({}, 0, { name: 'linux', drainMs: 120_000 })(0, 6), 3);
    assert.equal(watch({}, 0, { name: 'other', drainMs: 120_000 })(0, 6), 6);
  });

  it('forgets pools that are gone', () => {
    const view = new FakeSchedulerView();
    const id = view.addPool({ alternatives: [{ os: 'x' }] });
    const slot = view.addSlot({ pool: id });
    const { state } = wantedWorkers(view, { pools: [] }, 0, new Map());
    assert.deepEqual([...state.keys()], ['os=x']);
    view.removeSlot(slot.name);
    const later = wantedWorkers(
      { ...view, pools: () => [], slots: () => [], demands: () => [] },
      { pools: [] },
      1,
      state,
    );
    assert.equal(later.state.size, 0);
  });

  it('law: at least what is needed and never above the most is wanted; what is not needed any more goes in time', () => {
    const looks = fc.array(fc.tuple(fc.integer({ min: 1, max: 200_000 }), fc.nat({ max: 15 })), { maxLength: 30 });
    fc.assert(
      fc.property(looks, (steps) => {
        const at = watch();
        let nowMs = 0;
        const seen: { readonly atMs: number; readonly needed: number }[] = [];
        for (const [byMs, minutes] of steps) {
          nowMs += byMs;
          const needed = Math.min(minutes, POOL.maxWorkers);
          seen.push({ atMs: nowMs, needed });
          const wanted = at(nowMs, minutes);
          assert.ok(wanted >= needed && wanted <= POOL.maxWorkers);
          const recent = seen.filter(({ atMs }) => atMs > nowMs - POOL.scaleDownMs);
          assert.ok(
            recent.every((each) => wanted >= each.needed),
            'given up too early',
          );
        }
        at(nowMs + POOL.scaleDownMs, 0);
        at(nowMs + 2 * POOL.scaleDownMs, 0);
        assert.equal(at(nowMs + 3 * POOL.scaleDownMs, 0), 0);
      }),
    );
  });
});
