import assert from 'node:assert/strict';
import fc from 'fast-check';
import { drivenKey } from '../../../test/support/scheduler-driver.ts';
import { Quarantine } from './quarantine.ts';

const of = (action: string, untilMs: number, instance = '') => ({
  key: drivenKey(action, instance),
  reason: `${action} takes workers down`,
  untilMs,
});

describe('Quarantine', () => {
  it('refuses an action until its time is over', () => {
    const quarantine = new Quarantine(10);
    quarantine.add(of('a', 100));
    assert.equal(quarantine.get(drivenKey('a'), 99)?.reason, 'a takes workers down');
    assert.equal(quarantine.get(drivenKey('b'), 99), undefined);
    assert.equal(quarantine.get(drivenKey('a'), 100), undefined);
    assert.equal(quarantine.get(drivenKey('a'), 99), undefined, 'it was forgotten');
  });

  it('is for one instance name', () => {
    const quarantine = new Quarantine(10);
    quarantine.add(of('a', 100, 'x'));
    assert.equal(quarantine.get(drivenKey('a', 'y'), 0), undefined);
  });

  it('lets an action go that is released', () => {
    const quarantine = new Quarantine(10);
    quarantine.add(of('a', 100));
    quarantine.release(drivenKey('b'));
    quarantine.release(drivenKey('a'));
    assert.deepEqual(quarantine.all(0), []);
  });

  it('lists what is in force, the oldest first; what comes again is new', () => {
    const quarantine = new Quarantine(10);
    for (const view of [of('a', 100), of('b', 50), of('c', 200), of('a', 300)]) quarantine.add(view);
    assert.deepEqual(
      quarantine.all(50).map(({ key, untilMs }) => [key.action.hash[0], untilMs]),
      [
        ['c', 200],
        ['a', 300],
      ],
    );
  });

  it('law: never holds more than its limit, and those that came last', () => {
    const actions = fc.array(fc.constantFrom(...'abcdef'), { maxLength: 30 });
    fc.assert(
      fc.property(actions, fc.integer({ min: 1, max: 4 }), (added, limit) => {
        const quarantine = new Quarantine(limit);
        for (const action of added) quarantine.add(of(action, 1));
        const last = added.filter((action, index) => added.lastIndexOf(action) === index).slice(-limit);
        assert.deepEqual(
          quarantine.all(0).map(({ key }) => key.action.hash[0]),
          last,
        );
      }),
    );
  });
});
