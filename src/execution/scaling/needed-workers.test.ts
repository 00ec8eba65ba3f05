import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FakeSchedulerView } from '../../../test/support/scheduler-view.ts';
import type { Requirement } from '../../platform/platform.ts';
import type { DemandView, SlotView } from '../scheduler/view.ts';
import { neededWorkers } from './needed-workers.ts';
import type { PoolGroup } from './scaling-pool.ts';

/** A minute to work off a queue, four slots a worker, at most ten workers. */
function group(name: string, others: Partial<PoolGroup> = {}): PoolGroup {
  return {
    ...{ name, isConfigured: true, properties: name, sizeClass: 0, ids: [name], capacity: [], slots: 0, nodes: 0 },
    ...{ slotsPerWorker: 4, minWorkers: 0, maxWorkers: 10, drainMs: 60_000, scaleDownMs: 0 },
    ...others,
  };
}

function demand(
  pools: readonly string[],
  queued: number,
  workSeconds: number,
  takes?: Requirement['takes'],
): DemandView {
  const { needs, ...task } = new FakeSchedulerView().addTask();
  return {
    ...{ id: task.demand, instance: task.key.instance, sizeClass: 0, oldestQueuedAtMs: 0 },
    needs: takes === undefined ? needs : { ...needs, takes },
    ...{ pools, queued, queuedWorkMs: workSeconds * 1000 },
  };
}

/** So many slots of each kind in a pool. */
function slots(
  pool: string,
  counts: { busy?: number; idle?: number; drained?: number; busyDrained?: number },
): SlotView<unknown>[] {
  const view = new FakeSchedulerView();
  const add = (count: number, isBusy: boolean, isDrained: boolean): void => {
    for (let i = 0; i < count; i++) view.addSlot({ pool, isDrained, ...(isBusy ? { task: view.addTask() } : {}) });
  };
  add(counts.busy ?? 0, true, false);
  add(counts.busyDrained ?? 0, true, true);
  add(counts.idle ?? 0, false, false);
  add(counts.drained ?? 0, false, true);
  return [...view.slots()];
}

function neededOf(
  groups: readonly PoolGroup[],
  demands: readonly DemandView[],
  held: readonly SlotView<unknown>[] = [],
): Record<string, number> {
  const needs = neededWorkers({ demands: () => demands, slots: () => held }, groups);
  return Object.fromEntries(needs.map((need) => [need.group.name, need.neededWorkers]));
}

describe('neededWorkers', () => {
  for (const [what, queued, workSeconds, workers] of [
    ['nothing', 0, 0, 0],
    ['no time at all', 5, 0, 1],
    ['a second', 1, 1, 1],
    ['as much as four slots do in a minute', 100, 240, 1],
    ['a bit more than four slots do in a minute', 100, 241, 2],
    ['far more than there may be workers for', 1000, 100_000, 10],
    ['an hour, but only one task', 1, 3600, 1],
    ['an hour in five tasks', 5, 3600, 2],
  ] as const) {
    it(`needs ${workers} workers for a queue of ${what}`, () => {
      assert.deepEqual(neededOf([group('a')], [demand(['a'], queued, workSeconds)]), { a: workers });
    });
  }

  it('counts work, not tasks', () => {
    assert.deepEqual(neededOf([group('a')], [demand(['a'], 1000, 60)]), { a: 1 });
    assert.deepEqual(neededOf([group('a')], [demand(['a'], 1000, 600)]), { a: 3 });
  });

  it('counts what executes, and puts what is queued into free slots first', () => {
    const pool = group('a', { slots: 12 });
    assert.deepEqual(neededOf([pool], [], slots('a', { busy: 5, idle: 7 })), { a: 2 });
    assert.deepEqual(neededOf([pool], [demand(['a'], 9, 180)], slots('a', { busy: 5, idle: 7 })), { a: 2 });
    assert.deepEqual(neededOf([pool], [demand(['a'], 9, 240)], slots('a', { busy: 5, idle: 7 })), { a: 3 });
  });

  it('replaces drained workers while there is something to do, and counts a slot that finishes what it holds once', () => {
    const pool = group('a', { slots: 8 });
    assert.deepEqual(neededOf([pool], [], slots('a', { drained: 8 })), { a: 0 });
    assert.deepEqual(neededOf([pool], [demand(['a'], 4, 240)], slots('a', { drained: 8 })), { a: 3 });
    assert.deepEqual(neededOf([pool], [], slots('a', { busyDrained: 4, idle: 4 })), { a: 1 });
  });

  it('takes slots that are about to leave for drained ones', () => {
    const [leaving] = slots('a', { idle: 1 });
    assert.ok(leaving);
    const pool = group('a', { slots: 1, slotsPerWorker: 1 });
    const queue = [demand(['a'], 1, 60)];
    assert.deepEqual(neededOf([pool], queue, [leaving]), { a: 1 });
    assert.deepEqual(neededOf([pool], queue, [{ ...leaving, prefersIdle: true }]), { a: 2 });
    assert.deepEqual(neededOf([pool], queue, [{ ...leaving, isTerminating: true }]), { a: 2 });
  });

  it('wakes a pool without workers only for what fits no free slot', () => {
    const groups = [group('empty'), group('busy', { slots: 4 })];
    const idle = slots('busy', { idle: 4 });
    assert.deepEqual(neededOf(groups, [demand(['empty', 'busy'], 4, 240)], idle), { empty: 0, busy: 1 });
    assert.deepEqual(neededOf(groups, [demand(['empty'], 1, 1)], idle), { empty: 1, busy: 0 });
    assert.deepEqual(neededOf(groups, [demand(['empty', 'busy'], 8, 480)], idle), { empty: 1, busy: 1 });
  });

  it('starts the smallest machines that fit, and others once there may be no more of them', () => {
    const groups = [group('large', { sizeClass: 2 }), group('small', { sizeClass: 1, maxWorkers: 2 })];
    assert.deepEqual(neededOf(groups, [demand(['large', 'small'], 99, 480)]), { large: 0, small: 2 });
    assert.deepEqual(neededOf(groups, [demand(['large', 'small'], 99, 720)]), { large: 1, small: 2 });
    assert.deepEqual(neededOf(groups, [demand(['large'], 99, 720)]), { large: 3, small: 0 });
  });

  it('starts configured pools rather than more of what workers brought', () => {
    const groups = [group('brought', { isConfigured: false }), group('configured')];
    assert.deepEqual(neededOf(groups, [demand(['brought', 'configured'], 4, 240)]), { brought: 0, configured: 1 });
  });

  it('uses the pace of each pool for its part of the work', () => {
    const groups = [group('fast', { drainMs: 30_000, maxWorkers: 1 }), group('slow', { drainMs: 120_000 })];
    // 480 s are 16 slots at the pace of the first; a quarter of them is there, and 360 s are left for the second.
    const needs = neededWorkers({ demands: () => [demand(['fast', 'slow'], 99, 480)], slots: () => [] }, groups);
    assert.deepEqual(
      needs.map(({ neededWorkers: workers, queuedWorkMs }) => [workers, queuedWorkMs]),
      [
        [1, 120_000],
        [1, 360_000],
      ],
    );
  });

  it('counts tasks that take much of a machine as the slots they keep from others', () => {
    const capacity = [{ name: 'cores', amount: 16 }];
    const pool = group('a', { capacity });
    const taking = (amount: number) => demand(['a'], 4, 240, [{ name: 'cores', amount }]);
    assert.deepEqual(neededOf([pool], [taking(4)]), { a: 1 });
    assert.deepEqual(neededOf([pool], [taking(8)]), { a: 2 });
    assert.deepEqual(neededOf([pool], [taking(99)]), { a: 4 });
    assert.deepEqual(neededOf([pool], [demand(['a'], 4, 240, [{ name: 'licences', amount: 9 }])]), { a: 1 });
    const whole = slots('a', { busy: 3 }).map((slot) => {
      assert.ok(slot.task);
      return { ...slot, task: { ...slot.task, needs: taking(16).needs } };
    });
    assert.deepEqual(neededOf([group('a', { capacity, slots: 12 })], [], whole), { a: 3 });
  });

  it('reports queued work once, at the pool it was counted for, and that above every bound at the first', () => {
    const groups = [group('a', { maxWorkers: 1 }), group('b', { maxWorkers: 1 })];
    const needs = neededWorkers({ demands: () => [demand(['b', 'a'], 999, 960)], slots: () => [] }, groups);
    assert.deepEqual(
      needs.map(({ queuedWorkMs }) => queuedWorkMs),
      [720_000, 240_000],
    );
  });

  it('leaves out what no pool fits', () => assert.deepEqual(neededOf([group('a')], [demand([], 9, 900)]), { a: 0 }));

  describe('for any fleet', () => {
    const names = ['a', 'b', 'c'];
    const groups = fc.tuple(
      ...names.map((name) =>
        fc
          .record({
            ...{ slotsPerWorker: fc.integer({ min: 1, max: 8 }), drainMs: fc.integer({ min: 1, max: 100_000 }) },
            ...{ minWorkers: fc.integer({ min: 0, max: 3 }), maxWorkers: fc.integer({ min: 3, max: 30 }) },
            ...{ sizeClass: fc.integer({ min: 0, max: 2 }), idle: fc.integer({ min: 0, max: 5 }) },
            ...{
              busy: fc.integer({ min: 0, max: 5 }),
              drained: fc.integer({ min: 0, max: 3 }),
              isConfigured: fc.boolean(),
            },
          })
          .map(({ idle, busy, drained, ...limits }) => ({
            group: group(name, { ...limits, slots: idle + busy + drained }),
            held: slots(name, { idle, busy, drained }),
          })),
      ),
    );
    const demands = fc.array(
      fc.record({
        pools: fc.subarray(names),
        queued: fc.integer({ min: 0, max: 200 }),
        seconds: fc.integer({ min: 0, max: 5000 }),
        moreQueued: fc.integer({ min: 0, max: 50 }),
        moreSeconds: fc.integer({ min: 0, max: 500 }),
      }),
      { maxLength: 6 },
    );

    it('law: more queued work never needs fewer workers in any pool', () => {
      fc.assert(
        fc.property(groups, demands, (fleet, queues) => {
          const all = fleet.map((each) => each.group);
          const held = fleet.flatMap((each) => each.held);
          const few = queues.map(({ pools, queued, seconds }) => demand(pools, queued, queued === 0 ? 0 : seconds));
          const many = queues.map((each) =>
            demand(each.pools, each.queued + each.moreQueued, each.seconds + each.moreSeconds),
          );
          const before = neededOf(all, few, held);
          const after = neededOf(all, many, held);
          for (const name of names) assert.ok((after[name] ?? 0) >= (before[name] ?? 0), name);
        }),
      );
    });

    it('law: no pool needs more than its most or fewer than its least', () => {
      fc.assert(
        fc.property(groups, demands, (fleet, queues) => {
          const queue = queues.map(({ pools, queued, seconds }) => demand(pools, queued, seconds));
          const needs = neededWorkers(
            { demands: () => queue, slots: () => fleet.flatMap((each) => each.held) },
            fleet.map((each) => each.group),
          );
          for (const {
            group: { minWorkers, maxWorkers },
            neededWorkers: needed,
          } of needs) {
            assert.ok(needed >= minWorkers && needed <= maxWorkers && Number.isInteger(needed), String(needed));
          }
        }),
      );
    });

    it('law: without work every pool needs its least, however many workers idle or are drained', () => {
      fc.assert(
        fc.property(groups, (fleet) => {
          const held = fleet.flatMap((each) => each.held.filter(({ hold }) => hold === undefined));
          const needed = neededOf(
            fleet.map((each) => each.group),
            [],
            held,
          );
          for (const { group: each } of fleet) assert.equal(needed[each.name], each.minWorkers);
        }),
      );
    });

    it('law: queued work is reported once, in all', () => {
      fc.assert(
        fc.property(groups, demands, (fleet, queues) => {
          const queue = queues.map(({ pools, queued, seconds }) => demand(pools, queued, queued === 0 ? 0 : seconds));
          const needs = neededWorkers(
            { demands: () => queue, slots: () => fleet.flatMap((each) => each.held) },
            fleet.map((each) => each.group),
          );
          const reported = needs.reduce((sum, { queuedWorkMs }) => sum + queuedWorkMs, 0);
          const fitting = queue.reduce((sum, each) => sum + (each.pools.length > 0 ? each.queuedWorkMs : 0), 0);
          assert.ok(Math.abs(reported - fitting) <= 1e-6 * Math.max(1, fitting), `${reported} ${fitting}`);
        }),
      );
    });
  });
});
