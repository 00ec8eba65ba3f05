import assert from 'node:assert/strict';
import { FakeSchedulerView } from '../../../test/support/scheduler-view.ts';
import { FleetPlan } from './fleet-plan.ts';
import type { ScalingPool } from './scaling-pool.ts';

const POOL: ScalingPool = {
  name: 'linux',
  offer: { alternatives: [{ properties: [] }], digestFunctions: ['sha256'], legacyOutputs: false },
  ...{ slotsPerWorker: 1, minWorkers: 0, maxWorkers: 1000, drainMs: 60_000, scaleDownMs: 300_000 },
};

/** A plan that settles after a minute and is used for a second. */
function world() {
  const view = new FakeSchedulerView();
  const pool = view.addPool({ name: 'linux' });
  const time = { nowMs: 5_000 };
  let looks = 0;
  const source = {
    view: {
      pools: () => {
        looks++;
        return view.pools();
      },
      demands: () => view.demands(),
      slots: () => view.slots(),
    },
    nowMs: () => time.nowMs,
  };
  const plan = new FleetPlan(source, { pools: [POOL], settleMs: 60_000, refreshMs: 1_000 });
  return { view, pool, time, plan, looks: () => looks, wanted: () => plan.plans()[0]?.wantedWorkers };
}

describe('FleetPlan', () => {
  it('looks again only after a time, however many ask', () => {
    const { view, time, wanted, looks } = world();
    time.nowMs = 100_000;
    assert.equal(wanted(), 0);
    view.addTask({ expectedMs: 60_000 });
    time.nowMs = 100_999;
    assert.equal(wanted(), 0);
    assert.equal(looks(), 1);
    time.nowMs = 101_000;
    assert.equal(wanted(), 1);
    assert.equal(looks(), 2);
  });

  it('is settled after its time, and takes the workers that are there then for those there were', () => {
    const { view, pool, time, plan, wanted } = world();
    assert.equal(wanted(), 0);
    assert.equal(plan.isSettled, false);
    for (let i = 0; i < 7; i++) view.addSlot({ pool });
    time.nowMs = 64_999;
    assert.equal(plan.isSettled, false);
    wanted();
    view.addSlot({ pool });
    time.nowMs = 65_000;
    assert.equal(plan.isSettled, true);
    assert.equal(wanted(), 8);
    time.nowMs = 364_999;
    assert.equal(wanted(), 8);
    time.nowMs = 365_999;
    assert.equal(wanted(), 0);
  });

  it('remembers separately for those who want another pace, a hundred at most', () => {
    const { view, time, plan } = world();
    const wantedAt = (drainMs: number) => plan.plans({ name: 'linux', drainMs })[0]?.wantedWorkers;
    time.nowMs = 100_000;
    const tasks = Array.from({ length: 6 }, () => view.addTask({ expectedMs: 60_000 }));
    assert.equal(plan.plans()[0]?.wantedWorkers, 6);
    assert.equal(wantedAt(120_000), 3);
    assert.equal(wantedAt(180_000), 2);
    for (const task of tasks) view.removeTask(task);
    time.nowMs = 110_000;
    assert.equal(wantedAt(120_000), 3);
    for (let i = 1; i <= 99; i++) wantedAt(i);
    assert.equal(wantedAt(120_000), 3);
    assert.equal(wantedAt(180_000), 0);
  });
});
