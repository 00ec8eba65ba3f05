import assert from 'node:assert/strict';
import { FakeSchedulerView } from './scheduler-view.ts';

describe('FakeSchedulerView', () => {
  it('counts what was added', () => {
    const view = new FakeSchedulerView<string>();
    const pool = view.addPool({});
    view.addTask({ operations: ['a', 'b'] });
    view.addTask({ isRecording: true });
    view.addSlot({ pool, task: view.addTask() });
    view.addSlot({ pool, isPolling: true });
    view.addSlot({ pool, isPolling: true, isDrained: true });
    assert.deepEqual(view.counts, {
      operations: 4,
      queuedTasks: 1,
      executingTasks: 1,
      recordingTasks: 1,
      slots: 3,
      busySlots: 1,
      waitingSlots: 1,
      drainedSlots: 1,
    });
    const [only] = view.pools();
    assert.deepEqual(
      [only?.slots, only?.busySlots, only?.waitingSlots, only?.drainedSlots, only?.nodes],
      [3, 1, 1, 1, 3],
    );
  });

  it('makes a task run on a slot', () => {
    const view = new FakeSchedulerView<string>();
    const pool = view.addPool({});
    const queued = view.addTask({ operations: ['operations/x'], shares: ['me', 'it'], work: 'work' });
    assert.equal(view.taskOf('operations/x')?.state, 'queued');
    const slot = view.addSlot({ pool, task: queued });
    assert.equal(view.taskOf('operations/x'), slot.task);
    assert.equal(slot.task?.state, 'executing');
    assert.equal(slot.task?.pool, pool);
    assert.equal(slot.hold?.work, 'work');
    assert.deepEqual(slot.lastShares, slot.task?.shares);
    assert.deepEqual([...view.demands()], []);
    assert.deepEqual(
      [...view.shares()].map(({ path, tasks, running }) => [path.map(({ id }) => id).join('/'), tasks, running]),
      [
        ['me', 1, 1],
        ['me/it', 1, 1],
      ],
    );
  });

  it('groups queued tasks into demands and names the pools that could run them', () => {
    const view = new FakeSchedulerView<string>();
    const linux = view.addPool({ prefix: 'a', alternatives: [{ OSFamily: 'linux' }], offer: { sizeClass: 2 } });
    view.addPool({ prefix: 'other', alternatives: [{ OSFamily: 'linux' }] });
    view.addPool({ alternatives: [{ OSFamily: 'windows' }] });
    const needs = { instance: 'a/b', properties: { OSFamily: 'linux' }, sizeClass: 2 };
    view.addTask({ ...needs, queuedAtMs: 20, expectedMs: 5 });
    view.addTask({ ...needs, queuedAtMs: 10 });
    view.addTask({ ...needs, sizeClass: 4 });
    assert.deepEqual(
      [...view.demands()].map(({ queued, queuedWorkMs, oldestQueuedAtMs, pools }) => [
        queued,
        queuedWorkMs,
        oldestQueuedAtMs,
        pools,
      ]),
      [
        [2, 10_005, 10, [linux]],
        [1, 10_000, 0, []],
      ],
    );
  });

  it('changes and forgets on demand', () => {
    const view = new FakeSchedulerView<string>();
    const pool = view.addPool({});
    const { name } = view.addSlot({ pool });
    assert.equal(view.changeSlot(name, { isDrained: true }).isDrained, true);
    assert.equal(view.slot(name)?.isDrained, true);
    view.removeSlot(name);
    assert.equal(view.slot(name), undefined);
    assert.throws(() => view.changeSlot(name, {}), /no slot/);
    view.removeTask(view.addTask());
    assert.equal(view.counts.operations, 0);
    view.addDrain({ pattern: { a: '1', b: '2' }, reason: '', isTermination: false, sinceMs: 0 });
    view.removeDrain({ b: '2', a: '1' });
    assert.deepEqual(view.drains(), []);
  });
});
