import assert from 'node:assert/strict';
import { HealthState } from './health-state.ts';

describe('HealthState', () => {
  it('knows nothing of a service until it is set', () => {
    const state = new HealthState();
    assert.equal(state.isServing('a'), undefined);
    state.set('a', true);
    assert.equal(state.isServing('a'), true);
    assert.deepEqual([...state.all()], [['a', true]]);
  });

  it('tells subscribers of a service about its changes, and of nothing else', () => {
    const state = new HealthState();
    let calls = 0;
    const unsubscribe = state.subscribe('a', () => calls++);
    state.set('a', true);
    state.set('a', true);
    state.set('b', true);
    assert.equal(calls, 1);
    state.set('a', false);
    assert.equal(calls, 2);
    unsubscribe();
    unsubscribe();
    state.set('a', true);
    assert.equal(calls, 2);
  });

  it('lets a subscriber leave while it is being told', () => {
    const state = new HealthState();
    const told: string[] = [];
    const leave = state.subscribe('a', () => {
      told.push('first');
      leave();
    });
    state.subscribe('a', () => told.push('second'));
    state.set('a', true);
    state.set('a', false);
    assert.deepEqual(told, ['first', 'second', 'second']);
  });

  it('stops serving for good when it drains', () => {
    const state = new HealthState();
    state.set('', true);
    state.set('a', true);
    let calls = 0;
    state.subscribe('a', () => calls++);
    state.drain();
    state.set('a', true);
    assert.deepEqual(
      [...state.all()],
      [
        ['', false],
        ['a', false],
      ],
    );
    assert.equal(calls, 1);
  });
});
