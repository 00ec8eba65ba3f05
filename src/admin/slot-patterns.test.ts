import assert from 'node:assert/strict';
import { ofKind } from '../../test/support/expectations.ts';
import { FakeSchedulerView } from '../../test/support/scheduler-view.ts';
import { checkedReason, isSamePattern, matchingSlots, patternFromWire, patternText } from './slot-patterns.ts';

describe('patternFromWire', () => {
  it('takes labels, or the word that everything is meant', () => {
    assert.deepEqual(patternFromWire({ labels: { host: 'a' }, everything: false }), { host: 'a' });
    assert.deepEqual(patternFromWire({ labels: {}, everything: true }), {});
  });

  const many = Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`label${index}`, '']));
  for (const [what, pattern] of [
    ['no pattern', undefined],
    ['a pattern without labels', { labels: {}, everything: false }],
    ['labels and everything', { labels: { a: 'b' }, everything: true }],
    ['33 labels', { labels: many, everything: false }],
    ['a long name', { labels: { ['x'.repeat(1_025)]: '' }, everything: false }],
    ['a long value', { labels: { x: 'x'.repeat(1_025) }, everything: false }],
  ] as const) {
    it(`refuses ${what}`, () => assert.throws(() => patternFromWire(pattern), ofKind('invalid-argument')));
  }
});

describe('checkedReason', () => {
  it('bounds reasons', () => {
    assert.equal(checkedReason('x'.repeat(500)).length, 500);
    assert.throws(() => checkedReason('x'.repeat(501)), ofKind('invalid-argument'));
  });
});

describe('isSamePattern', () => {
  for (const [a, b, isSame] of [
    [{}, {}, true],
    [{ a: '1', b: '2' }, { b: '2', a: '1' }, true],
    [{ a: '1' }, { a: '2' }, false],
    [{ a: '1' }, {}, false],
    [{ a: '1' }, { b: '1' }, false],
    [{ toString: '1' }, { a: '1' }, false],
  ] as const) {
    it(`is ${isSame} for ${patternText(a)} and ${patternText(b)}`, () => assert.equal(isSamePattern(a, b), isSame));
  }
});

describe('matchingSlots', () => {
  it('counts slots that have all labels, and names nodes that are busy', () => {
    const view = new FakeSchedulerView<string>();
    const pool = view.addPool({});
    for (const [host, rack, isBusy] of [
      ['a', '1', true],
      ['a', '1', false],
      ['b', '1', false],
      ['c', '2', true],
    ] as const) {
      const thread = String(view.counts.slots);
      const task = isBusy ? { task: view.addTask() } : {};
      view.addSlot({ pool, node: host, labels: { host, rack, thread }, ...task });
    }
    const count = (pattern: Record<string, string>) => matchingSlots(view, pattern);
    assert.deepEqual(count({ rack: '1' }), { nodes: 2, slots: 3, busySlots: 1, busyNodes: ['a'] });
    assert.deepEqual(count({ rack: '1', host: 'b' }), { nodes: 1, slots: 1, busySlots: 0, busyNodes: [] });
    assert.deepEqual(count({ rack: '2', host: 'b' }), { nodes: 0, slots: 0, busySlots: 0, busyNodes: [] });
    assert.equal(count({}).slots, 4);
    assert.equal(count({ toString: '' }).slots, 0);
  });

  it('names ten busy nodes at most', () => {
    const view = new FakeSchedulerView<string>();
    const pool = view.addPool({});
    for (let node = 0; node < 15; node++) view.addSlot({ pool, task: view.addTask() });
    const { busySlots, busyNodes } = matchingSlots(view, {});
    assert.deepEqual([busySlots, busyNodes.length], [15, 10]);
  });
});

describe('patternText', () => {
  it('is for people', () => {
    assert.equal(patternText({}), 'everything');
    assert.equal(patternText({ host: 'a', thread: '1' }), 'host=a thread=1');
  });
});
