import assert from 'node:assert/strict';
import { FakeSchedulerView } from '../../../test/support/scheduler-view.ts';
import { groupPools, type ScalingPool } from './scaling-pool.ts';

const LINUX: ScalingPool = {
  name: 'linux',
  offer: {
    alternatives: [{ properties: [{ name: 'OSFamily', values: ['linux'] }] }],
    ...{ digestFunctions: ['sha256'], legacyOutputs: false },
  },
  ...{ slotsPerWorker: 4, minWorkers: 0, maxWorkers: 10, drainMs: 60_000, scaleDownMs: 300_000 },
};

describe('groupPools', () => {
  it('knows configured pools that have no workers', () => {
    const [group] = groupPools(new FakeSchedulerView(), [LINUX]);
    assert.deepEqual(group, {
      ...{ name: 'linux', isConfigured: true, properties: 'OSFamily=linux', sizeClass: 0, ids: [], capacity: [] },
      ...{ slotsPerWorker: 4, minWorkers: 0, maxWorkers: 10, drainMs: 60_000, scaleDownMs: 300_000 },
      ...{ slots: 0, nodes: 0 },
    });
  });

  it('joins all pools that are counted with a configured one', () => {
    const view = new FakeSchedulerView();
    const capacity = [{ name: 'cores', amount: 8 }];
    const own = view.addPool({ name: 'linux', alternatives: [{ OSFamily: 'linux' }] });
    const more = view.addPool({ name: 'linux', alternatives: [{ OSFamily: 'linux', ISA: 'x' }], offer: { capacity } });
    const other = view.addPool({ alternatives: [{ OSFamily: 'linux' }] });
    for (const node of ['n1', 'n1', 'n2']) view.addSlot({ pool: more, node });
    const [group, ...others] = groupPools(view, [LINUX]);
    assert.deepEqual(group?.ids, [own, more]);
    assert.deepEqual([group?.slots, group?.nodes, group?.capacity], [3, 2, capacity]);
    assert.deepEqual(
      others.map(({ name, ids }) => [name, ids]),
      [['OSFamily=linux', [other]]],
    );
  });

  it('keeps what workers brought under another prefix or size class apart', () => {
    const view = new FakeSchedulerView();
    const alternatives = [{ OSFamily: 'linux' }];
    view.addPool({ alternatives, prefix: 'main/x' });
    view.addPool({ alternatives, offer: { sizeClass: 2 } });
    assert.deepEqual(
      groupPools(view, []).map(({ name, sizeClass }) => [name, sizeClass]),
      [
        ['OSFamily=linux under main%2Fx', 0],
        ['OSFamily=linux class 2', 2],
      ],
    );
  });

  it('joins what workers brought by what they offer, and measures them', () => {
    const view = new FakeSchedulerView();
    const alternatives = [{ a: 'x,y', A: 'b' }, { os: 'wasi' }];
    const capacity = [{ name: 'cores', amount: 8 }];
    const first = view.addPool({ alternatives });
    const second = view.addPool({ alternatives, offer: { capacity } });
    for (const node of ['n1', 'n1', 'n1', 'n2']) view.addSlot({ pool: first, node });
    const [group, ...others] = groupPools(view, []);
    assert.deepEqual(others, []);
    assert.deepEqual(group, {
      ...{ name: 'A=b,a=x%2Cy|os=wasi', isConfigured: false, properties: 'A=b,a=x%2Cy|os=wasi', sizeClass: 0 },
      ...{ minWorkers: 0, maxWorkers: Number.MAX_SAFE_INTEGER, drainMs: 60_000, scaleDownMs: 300_000 },
      ...{ ids: [first, second], capacity, slots: 4, nodes: 2, slotsPerWorker: 2 },
    });
  });
});
