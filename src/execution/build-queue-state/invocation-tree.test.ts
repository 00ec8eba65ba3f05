import assert from 'node:assert/strict';
import { FakeSchedulerView } from '../../../test/support/scheduler-view.ts';
import { DEFAULT_OPTIONS } from '../scheduler/options.ts';
import { InvocationIds } from './invocation-id.ts';
import { InvocationTrees, isActive, isFree, type Place, placeToWire } from './invocation-tree.ts';
import { type Queue, Queues } from './queues.ts';

/** The id in the only field of a short message. */
function idOf({ id }: Place): string {
  return Buffer.from(id?.value ?? [])
    .subarray(2)
    .toString();
}

describe('InvocationTrees', () => {
  let view: FakeSchedulerView<string>;
  let pool: string;

  beforeEach(() => {
    view = new FakeSchedulerView();
    pool = view.addPool({});
  });

  const anys = (...shares: readonly string[]) =>
    new InvocationIds().of([...shares].map((id) => ({ id }))).map(({ any }) => any);

  function make(): { readonly trees: InvocationTrees; readonly queue: Queue } {
    const queues = new Queues(view);
    const trees = new InvocationTrees(view, queues, new InvocationIds(), DEFAULT_OPTIONS.fairness);
    const queue = queues.ofPool(pool);
    assert.ok(queue);
    return { trees, queue };
  }

  const childOf = (trees: InvocationTrees, queue: Queue, key: RegExp) =>
    [...trees.root(queue).children].find(([text]) => key.test(text))?.[1];

  /** The names of the outermost shares, whose turn it is first. */
  function turns(): string[] {
    const { trees, queue } = make();
    return trees.inTurn(queue, []).map(idOf);
  }

  it('counts what is queued at a place and below it, and what runs', () => {
    view.addTask({ shares: ['p', 'c', 'i'], operations: ['a', 'b'] });
    view.addTask({ shares: ['p', 'c', 'j'] });
    view.addSlot({ pool, task: view.addTask({ shares: ['p', 'c', 'k'] }) });
    view.addSlot({ pool, isPolling: true, lastShares: ['p', 'd', 'x'] });
    view.addSlot({ pool, isPolling: true, isDrained: true });
    view.addSlot({ pool });
    const { trees, queue } = make();
    assert.deepEqual(placeToWire(trees.root(queue)), {
      queuedOperationsCount: { direct: 0, indirect: 3 },
      executingWorkersCount: 1,
      idleWorkersCount: 3,
      idleSynchronizingWorkersCount: 1,
      childrenCount: 1,
      activeChildrenCount: 1,
      queuedChildrenCount: 1,
    });
    const principal = childOf(trees, queue, /AuthenticationMetadata/);
    assert.ok(principal);
    assert.deepEqual(placeToWire(principal), {
      queuedOperationsCount: { direct: 0, indirect: 3 },
      executingWorkersCount: 1,
      idleWorkersCount: 1,
      idleSynchronizingWorkersCount: 1,
      childrenCount: 2,
      activeChildrenCount: 1,
      queuedChildrenCount: 1,
    });
    const invocation = trees.find(queue, anys('p', 'c', 'i'));
    assert.ok(invocation);
    assert.deepEqual(placeToWire(invocation).queuedOperationsCount, { direct: 2, indirect: 0 });
  });

  it('has no place for shares without anything', () => {
    view.addTask({ shares: ['p', 'c', 'i'] });
    const { trees, queue } = make();
    assert.equal(trees.find(queue, anys('p', 'c', 'other')), undefined);
    assert.equal(trees.find(queue, anys('other', 'c', 'i')), undefined);
    assert.deepEqual(trees.inTurn(queue, anys('other', 'c', 'i')), []);
    assert.equal(trees.find(queue, []), trees.root(queue));
  });

  it('keeps queues apart', () => {
    const other = view.addPool({ prefix: 'other' });
    view.addSlot({ pool: other, task: view.addTask({ instance: 'other', shares: ['i'] }) });
    const { trees, queue } = make();
    assert.equal(trees.root(queue).children.size, 0);
  });

  it('takes work that is being recorded for active, though no slot holds it', () => {
    const slot = view.addSlot({ pool, task: view.addTask({ shares: ['i'] }) });
    const { task } = slot;
    assert.ok(task);
    view.removeTask(task);
    view.changeSlot(slot.name, { hold: undefined, task: undefined, lastShares: [] });
    const attempts = [{ attempt: 1, slot: slot.name, node: slot.node, startedAtMs: 0 }];
    view.addTask({ shares: ['i'], isRecording: true, attempts });
    const { trees, queue } = make();
    const place = trees.find(queue, anys('i'));
    assert.ok(place !== undefined && isActive(place));
    assert.equal(place.executing, 0);
  });

  describe('the order of turns', () => {
    it('puts the share first that runs less, in all queues together', () => {
      const elsewhere = view.addPool({ prefix: 'other' });
      for (const id of ['a', 'b']) view.addTask({ shares: [id] });
      view.addSlot({ pool: elsewhere, task: view.addTask({ instance: 'other', shares: ['a'] }) });
      assert.deepEqual(turns(), ['b', 'a']);
    });

    it('puts the share first that waits longer or is more urgent', () => {
      view.addTask({ shares: ['a'], queuedAtMs: 60_000 });
      view.addTask({ shares: ['b'], queuedAtMs: 0 });
      view.addTask({ shares: ['c'], queuedAtMs: 60_000, priority: -2 });
      assert.deepEqual(turns(), ['c', 'b', 'a']);
    });

    it('counts a priority beyond the limit as the limit', () => {
      const { maxPriority } = DEFAULT_OPTIONS.fairness;
      view.addTask({ shares: ['a'], priority: -maxPriority, queuedAtMs: 0 });
      view.addTask({ shares: ['b'], priority: -10 * maxPriority, queuedAtMs: 1 });
      assert.deepEqual(turns(), ['a', 'b']);
    });

    it('goes by the age of the task that goes first in a share, which is a long one', () => {
      view.addTask({ shares: ['a'], queuedAtMs: 60_000, expectedMs: 60_000 });
      view.addTask({ shares: ['a'], queuedAtMs: 0, expectedMs: 0 });
      view.addTask({ shares: ['b'], queuedAtMs: 30_000, expectedMs: 0 });
      assert.deepEqual(turns(), ['b', 'a']);
    });

    it('goes by the task whose turn it is below, not by the most urgent one', () => {
      // In `a` the invocation with the urgent task runs a lot, so the other one is next there.
      view.addTask({ shares: ['p', 'a', 'busy'], priority: -90 });
      for (let count = 0; count < 3; count++) {
        view.addSlot({ pool, task: view.addTask({ shares: ['p', 'a', 'busy'] }) });
        view.addSlot({ pool, task: view.addTask({ shares: ['p', 'b', 'y'] }) });
      }
      view.addTask({ shares: ['p', 'a', 'x'], priority: 0 });
      view.addTask({ shares: ['p', 'b', 'y'], priority: -1 });
      const { trees, queue } = make();
      const order = trees.inTurn(queue, anys('p', '', '').slice(0, 1)).map(idOf);
      assert.deepEqual(order, ['b', 'a']);
    });

    it('leaves out shares that have nothing queued', () => {
      view.addSlot({ pool, task: view.addTask({ shares: ['a'] }) });
      view.addTask({ shares: ['b'] });
      assert.deepEqual(turns(), ['b']);
    });
  });
});

describe('isFree', () => {
  it('holds for a slot that work can reach at once', () => {
    const view = new FakeSchedulerView<string>();
    const pool = view.addPool({});
    assert.ok(isFree(view.addSlot({ pool, isPolling: true })));
    for (const hindrance of [
      { isPolling: false },
      { isPolling: true, isDrained: true },
      { isPolling: true, isTerminating: true },
      { isPolling: true, prefersIdle: true },
      { isPolling: true, task: view.addTask() },
    ]) {
      assert.ok(!isFree(view.addSlot({ pool, ...hindrance })));
    }
  });
});
