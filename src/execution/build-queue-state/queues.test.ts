import assert from 'node:assert/strict';
import { FakeSchedulerView } from '../../../test/support/scheduler-view.ts';
import { Queues } from './queues.ts';

describe('Queues', () => {
  let view: FakeSchedulerView<string>;

  beforeEach(() => {
    view = new FakeSchedulerView();
  });

  const shown = (queues: Queues) =>
    queues
      .all()
      .map(({ name, slots }) => [name.prefix, name.properties.map(({ value }) => value).join(), name.sizeClass, slots]);

  it('are the pools, sorted by prefix, platform and size class', () => {
    const linux = [{ OSFamily: 'linux' }];
    view.addPool({ prefix: 'b' });
    view.addPool({ prefix: 'a', alternatives: linux, offer: { sizeClass: 10 } });
    const small = view.addPool({ prefix: 'a', alternatives: linux, offer: { sizeClass: 2 } });
    view.addPool({ prefix: 'a', alternatives: [{ OSFamily: 'darwin' }] });
    view.addSlot({ pool: small });
    assert.deepEqual(shown(new Queues(view)), [
      ['a', 'darwin', 0, 0],
      ['a', 'linux', 2, 1],
      ['a', 'linux', 10, 0],
      ['b', '', 0, 0],
    ]);
  });

  it('hold all pools that Buildbarn could not tell apart', () => {
    const one = view.addPool({ offer: { legacyOutputs: false } });
    const other = view.addPool({ offer: { legacyOutputs: true } });
    for (const pool of [one, other]) view.addSlot({ pool });
    const queues = new Queues(view);
    assert.deepEqual(shown(queues), [['', '', 0, 2]]);
    assert.equal(queues.ofPool(one), queues.ofPool(other));
    assert.equal(queues.ofPool('unknown'), undefined);
  });

  it('show a task in one queue: with workers before without, then the smallest', () => {
    const large = view.addPool({ offer: { sizeClass: 8 } });
    const small = view.addPool({ offer: { sizeClass: 2 } });
    const task = view.addTask({ sizeClass: 1 });
    const before = new Queues(view);
    assert.equal(before.ofTask(task), before.ofPool(small));
    view.addSlot({ pool: large });
    const after = new Queues(view);
    assert.equal(after.ofTask(task), after.ofPool(large));
  });

  it('show a task in the queue with the longest prefix (R-BB-15)', () => {
    view.addPool({});
    const longer = view.addPool({ prefix: 'a', offer: { sizeClass: 4 } });
    const task = view.addTask({ instance: 'a/b' });
    const queues = new Queues(view);
    assert.equal(queues.ofTask(task), queues.ofPool(longer));
  });

  it('name a queue without workers by what its tasks need, if no pool could run them', () => {
    view.addPool({ alternatives: [{ OSFamily: 'linux' }] });
    const task = view.addTask({ instance: 'main', properties: { OSFamily: 'plan9' }, sizeClass: 4 });
    const queues = new Queues(view);
    assert.deepEqual(shown(queues), [
      ['', 'linux', 0, 0],
      ['main', 'plan9', 4, 0],
    ]);
    assert.equal(
      queues.find({ prefix: task.key.instance, properties: [{ name: 'OSFamily', value: 'plan9' }], sizeClass: 4 }),
      queues.ofTask(task),
    );
  });

  it('know where a task runs, and where one ran whose result is being recorded', () => {
    const pool = view.addPool({ prefix: 'a' });
    view.addPool({ prefix: 'a/b' });
    const slot = view.addSlot({ pool, task: view.addTask({ instance: 'a/b' }) });
    const attempts = [{ attempt: 1, slot: slot.name, node: slot.node, startedAtMs: 0 }];
    const recording = view.addTask({ instance: 'a/b', isRecording: true, attempts });
    const queues = new Queues(view);
    assert.ok(slot.task);
    assert.equal(queues.ofTask(slot.task), queues.ofPool(pool));
    assert.equal(queues.ofTask(recording), queues.ofPool(pool));
  });

  it('make no queue of a task whose slot is gone', () => {
    const recording = view.addTask({ instance: 'a', isRecording: true });
    const queues = new Queues(view);
    assert.equal(queues.ofTask(recording).name.prefix, 'a');
    assert.deepEqual(queues.all(), []);
  });
});
