import assert from 'node:assert/strict';
import { PartBudget } from './part-budget.ts';

describe('PartBudget', () => {
  it('gives all of what is asked for or nothing', () => {
    const budget = new PartBudget(10);
    assert.equal(budget.tryTake(6), true);
    assert.equal(budget.tryTake(5), false);
    assert.equal(budget.freeBytes, 4);
    assert.equal(budget.tryTake(4), true);
    assert.equal(budget.freeBytes, 0);
  });

  it('gives again what came back', () => {
    const budget = new PartBudget(10);
    budget.tryTake(10);
    budget.giveBack(3);
    assert.equal(budget.tryTake(4), false);
    assert.equal(budget.tryTake(3), true);
  });
});
