import assert from 'node:assert/strict';
import { Deadline, Deadlines } from './deadlines.ts';

describe('Deadlines', () => {
  it('run in order of time, equal times in the order in which they were set', () => {
    const deadlines = new Deadlines();
    const seen: string[] = [];
    const named = (name: string): Deadline => new Deadline(() => seen.push(name));
    deadlines.set(named('late'), 30);
    deadlines.set(named('first'), 10);
    deadlines.set(named('second'), 10);
    assert.equal(deadlines.nextMs, 10);
    deadlines.run(29);
    assert.deepEqual(seen, ['first', 'second']);
    assert.equal(deadlines.nextMs, 30);
  });

  it('can be set anew and cleared', () => {
    const deadlines = new Deadlines();
    let runs = 0;
    const deadline = new Deadline(() => runs++);
    deadlines.set(deadline, 10);
    deadlines.set(deadline, 20);
    deadlines.run(10);
    assert.equal(runs, 0);
    assert.equal(deadline.isSet, true);
    deadlines.clear(deadline);
    deadlines.run(100);
    assert.deepEqual([runs, deadline.isSet, deadlines.nextMs], [0, false, undefined]);
  });

  it('run what a deadline sets for a time that has come', () => {
    const deadlines = new Deadlines();
    const seen: number[] = [];
    const second = new Deadline((nowMs) => seen.push(nowMs));
    deadlines.set(new Deadline(() => deadlines.set(second, 5)), 1);
    deadlines.run(7);
    assert.deepEqual(seen, [7]);
  });
});
