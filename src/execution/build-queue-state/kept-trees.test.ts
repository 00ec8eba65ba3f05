import assert from 'node:assert/strict';
import { BuildQueueStateWorld } from '../../../test/support/build-queue-state-world.ts';
import { InvocationIds } from './invocation-id.ts';
import { InvocationTrees } from './invocation-tree.ts';
import { KeptTrees } from './kept-trees.ts';
import { Queues } from './queues.ts';

describe('KeptTrees', () => {
  const { view, parts } = new BuildQueueStateWorld();
  let nowMs: number;
  let made: number;
  let kept: KeptTrees;

  beforeEach(() => {
    nowMs = 0;
    made = 0;
    kept = new KeptTrees({ monotonicMs: () => nowMs });
  });

  const get = (costMs: number): InvocationTrees =>
    kept.get(() => {
      made++;
      nowMs += costMs;
      return new InvocationTrees(view, new Queues(view), new InvocationIds(), parts.fairness);
    });

  it('makes those anew that take no time', () => {
    get(9);
    get(9);
    assert.equal(made, 2);
  });

  it('keeps others for twenty times as long as they took', () => {
    const first = get(100);
    nowMs += 1_999;
    assert.equal(get(100), first);
    nowMs += 1;
    assert.notEqual(get(100), first);
    assert.equal(made, 2);
  });

  it('keeps none for longer than ten seconds', () => {
    get(3_000);
    nowMs += 10_000;
    get(3_000);
    assert.equal(made, 2);
  });
});
