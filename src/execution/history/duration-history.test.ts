import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DurationHistory, type HistoryKey, type Lesson } from './duration-history.ts';

const main: HistoryKey = { instance: parseInstanceName('main'), commandHash: 'c'.repeat(64) };
const other: HistoryKey = { ...main, instance: parseInstanceName('other') };
const about = (actionMnemonic: string, targetId = '') => RequestMetadata.fromPartial({ actionMnemonic, targetId });
const success = (ranMs: number, sizeClass = 0): Lesson => ({ ranMs, sizeClass, verdict: 'success' });

describe('DurationHistory', () => {
  it('knows nothing at first', () => {
    assert.deepEqual(new DurationHistory({ maxActions: 10 }).expect(about('A', '//a'), main), {});
  });

  it('expects of a target what it took before, and of an unknown one what its mnemonic took', () => {
    const history = new DurationHistory({ maxActions: 10 });
    history.learn(about('A', '//a'), main, success(100));
    history.learn(about('A', '//b'), main, success(300));
    assert.deepEqual(history.expect(about('A', '//a'), main), { expectedMs: 100 });
    assert.deepEqual(history.expect(about('A', '//b'), main), { expectedMs: 300 });
    assert.deepEqual(history.expect(about('A', '//c'), main), { expectedMs: 200 });
    assert.deepEqual(history.expect(about('A'), main), { expectedMs: 200 });
  });

  it('keeps mnemonics, targets and instance names apart', () => {
    const history = new DurationHistory({ maxActions: 10 });
    history.learn(about('A', '//a'), main, success(100));
    assert.deepEqual(history.expect(about('B', '//a'), main), {});
    assert.deepEqual(history.expect(about('A', '//a'), other), {});
    assert.deepEqual(history.expect(about('', '//a'), main), {});
  });

  it('goes by the command of clients that say nothing', () => {
    const history = new DurationHistory({ maxActions: 10 });
    history.learn(undefined, main, success(100));
    assert.deepEqual(history.expect(undefined, main), { expectedMs: 100 });
    assert.deepEqual(history.expect(about(''), main), { expectedMs: 100 });
    assert.deepEqual(history.expect(undefined, { ...main, commandHash: 'd' }), {});
    history.learn(undefined, { ...main, commandHash: '' }, success(100));
    assert.deepEqual(history.expect(undefined, { ...main, commandHash: '' }), {});
  });

  it('says what is unusually long once there are enough runs', () => {
    const history = new DurationHistory({ maxActions: 10 });
    for (const ms of [100, 110, 90, 105, 95]) history.learn(about('A', '//a'), main, success(ms));
    const { expectedMs = 0, highMs = 0 } = history.expect(about('A', '//a'), main);
    assert.ok(expectedMs > 95 && expectedMs < 105, `${expectedMs}`);
    assert.ok(highMs > 105 && highMs < 130, `${highMs}`);
  });

  it('learns from failures of the action how long it takes, not from exhaustion or the worker', () => {
    const history = new DurationHistory({ maxActions: 10 });
    for (const verdict of ['exhausted', 'worker-fault'] as const) {
      history.learn(about('A', '//a'), main, { ranMs: 5, sizeClass: 0, verdict });
    }
    assert.equal(history.expect(about('A', '//a'), main).expectedMs, undefined);
    history.learn(about('A', '//a'), main, { ranMs: 7, sizeClass: 0, verdict: 'failure' });
    assert.equal(history.expect(about('A', '//a'), main).expectedMs, 7);
  });

  it('asks for a larger size class for what ran out of room, but not for others with its mnemonic', () => {
    const history = new DurationHistory({ maxActions: 10 });
    history.learn(about('Link', '//small'), main, success(50));
    history.learn(about('Link', '//large'), main, { ranMs: 10, sizeClass: 1, verdict: 'exhausted' });
    assert.deepEqual(history.expect(about('Link', '//large'), main), { expectedMs: 50, sizeClass: 2 });
    assert.deepEqual(history.expect(about('Link', '//small'), main), { expectedMs: 50 });
    assert.deepEqual(history.expect(about('Link', '//new'), main), { expectedMs: 50 });
    history.learn(about('Link', '//large'), main, success(900, 2));
    assert.deepEqual(history.expect(about('Link', '//large'), main), { expectedMs: 900, sizeClass: 2 });
  });

  it('forgets what was used least recently, and remembers nothing if it may not', () => {
    const history = new DurationHistory({ maxActions: 3 });
    history.learn(about('A', '//a'), main, success(1));
    history.learn(about('A', '//b'), main, success(4));
    history.expect(about('A', '//a'), main);
    history.learn(about('A', '//c'), main, success(5));
    assert.equal(history.size, 3);
    assert.equal(history.expect(about('A', '//a'), main).expectedMs, 1);
    assert.notEqual(history.expect(about('A', '//b'), main).expectedMs, 4);
    const none = new DurationHistory({ maxActions: 0 });
    none.learn(about('A', '//a'), main, success(1));
    assert.deepEqual([none.expect(about('A', '//a'), main), none.size], [{}, 0]);
  });

  it('law: takes anything, and expects numbers that are not negative', () => {
    const number = fc.oneof(fc.double(), fc.integer());
    const lesson = fc.record({
      ranMs: fc.option(number, { nil: undefined }),
      sizeClass: number,
      verdict: fc.constantFrom('success', 'failure', 'exhausted', 'worker-fault'),
    });
    const text = fc.oneof(fc.constant(''), fc.string({ unit: 'binary', maxLength: 10 }));
    fc.assert(
      fc.property(fc.array(lesson, { maxLength: 30 }), text, text, (lessons, mnemonic, target) => {
        const history = new DurationHistory({ maxActions: 4 });
        const metadata = about(mnemonic, target);
        for (const each of lessons) history.learn(metadata, main, each);
        const { expectedMs = 0, highMs = 0, sizeClass = 1 } = history.expect(metadata, main);
        assert.ok(expectedMs >= 0 && highMs >= 0 && sizeClass > 0 && Number.isSafeInteger(sizeClass));
      }),
    );
  });
});
