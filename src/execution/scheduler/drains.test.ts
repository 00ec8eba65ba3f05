import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Drains, selects } from './drains.ts';
import type { DrainEvent, Labels } from './events.ts';

const drain = (pattern: Labels, facts: Partial<DrainEvent> = {}): DrainEvent => ({
  type: 'drain',
  pattern,
  on: true,
  ...facts,
});

const LABELS: fc.Arbitrary<Labels> = fc.dictionary(
  fc.constantFrom('host', 'pool', 'thread', '__proto__', 'toString'),
  fc.constantFrom('1', '2'),
);

describe('selects (R-BB-30)', () => {
  for (const [pattern, labels, expected] of [
    [{}, { host: 'a' }, true],
    [{ host: 'a' }, { host: 'a', thread: '0' }, true],
    [{ host: 'a' }, { host: 'b' }, false],
    [{ host: 'a', thread: '1' }, { host: 'a', thread: '0' }, false],
    [{ host: 'a' }, {}, false],
    [{ toString: 'a' }, {}, false],
  ] as const) {
    it(`${JSON.stringify(pattern)} ${expected ? 'selects' : 'leaves'} ${JSON.stringify(labels)}`, () => {
      assert.equal(selects(pattern, labels), expected);
    });
  }

  it('law: a pattern selects what has all of it, whatever else there is', () => {
    fc.assert(
      fc.property(LABELS, LABELS, (pattern, rest) => {
        assert.equal(selects(pattern, { ...rest, ...pattern }), true);
        assert.equal(selects({}, rest), true);
      }),
    );
  });

  it('law: a longer pattern selects no more', () => {
    fc.assert(
      fc.property(LABELS, LABELS, LABELS, (pattern, more, labels) => {
        if (selects({ ...more, ...pattern }, labels)) assert.equal(selects(pattern, labels), true);
      }),
    );
  });
});

describe('Drains', () => {
  it('are in force from begin to end, in the order in which they began', () => {
    const drains = new Drains(10);
    assert.equal(drains.change(drain({ host: 'a' }, { reason: 'kernel' }), 5), true);
    assert.equal(drains.change(drain({ host: 'b' }), 6), true);
    assert.deepEqual(drains.all(), [
      { pattern: { host: 'a' }, reason: 'kernel', isTermination: false, sinceMs: 5 },
      { pattern: { host: 'b' }, reason: '', isTermination: false, sinceMs: 6 },
    ]);
    assert.equal(drains.change(drain({ host: 'a' }, { on: false }), 7), true);
    assert.equal(drains.change(drain({ host: 'a' }, { on: false }), 8), false);
    assert.deepEqual(
      drains.all().map(({ pattern }) => pattern),
      [{ host: 'b' }],
    );
  });

  it('are the same one whatever the order of its labels', () => {
    const drains = new Drains(10);
    drains.change(drain({ host: 'a', thread: '0' }), 0);
    assert.equal(drains.change(drain({ thread: '0', host: 'a' }), 1), false);
    assert.equal(drains.all().length, 1);
  });

  it('keep time and what is not said anew when they are said again', () => {
    const drains = new Drains(10);
    drains.change(drain({ host: 'a' }, { reason: 'kernel' }), 5);
    assert.equal(drains.change(drain({ host: 'a' }, { isTermination: true }), 9), true);
    const [only] = drains.all();
    assert.deepEqual(only, { pattern: { host: 'a' }, reason: 'kernel', isTermination: true, sinceMs: 5 });
    assert.equal(drains.change(drain({ host: 'a' }, { reason: 'disk' }), 10), false);
    assert.equal(drains.all()[0]?.reason, 'disk');
    assert.equal(drains.change(drain({ host: 'a' }, { isTermination: false }), 11), true);
  });

  it('are not begun above their limit, but may still be changed and ended', () => {
    const drains = new Drains(1);
    drains.change(drain({ host: 'a' }), 0);
    assert.equal(drains.change(drain({ host: 'b' }), 0), false);
    assert.equal(drains.change(drain({ host: 'a' }, { isTermination: true }), 0), true);
    assert.equal(drains.change(drain({ host: 'a' }, { on: false }), 0), true);
    assert.equal(drains.change(drain({ host: 'b' }), 0), true);
  });

  it('count those that select a slot, one termination among them is enough', () => {
    const drains = new Drains(10);
    drains.change(drain({ host: 'a' }, { reason: 'first' }), 0);
    drains.change(drain({}, { isTermination: true, reason: 'all' }), 0);
    assert.deepEqual(drains.on({ host: 'a' }), { count: 2, isTerminating: true });
    assert.deepEqual(drains.on({ host: 'b' }), { count: 1, isTerminating: true });
    assert.deepEqual([drains.first({ host: 'a' })?.reason, drains.first({ host: 'b' })?.reason], ['first', 'all']);
    drains.change(drain({}, { on: false }), 0);
    assert.deepEqual(drains.on({ host: 'b' }), { count: 0, isTerminating: false });
    assert.equal(drains.first({ host: 'b' }), undefined);
  });
});
