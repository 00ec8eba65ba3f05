import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BugError } from '../errors.ts';
import { FolderIndex, type IndexLimits } from './folder-index.ts';

function index(limits: Partial<IndexLimits> = {}): FolderIndex {
  return new FolderIndex({ maxBytes: 100, maxFiles: 10, minRetentionMs: 0, blockBytes: 1, ...limits });
}

/** Names of the files that may go. */
function victims(files: FolderIndex, nowMs: number, held: ReadonlyMap<string, unknown> = new Map()): string[] {
  return [...files.victims(nowMs, nowMs, held)].map((file) => file.name);
}

describe('FolderIndex', () => {
  it('offers files from the least recently used one on, leaving out those that are held', () => {
    const files = index();
    for (const name of ['a', 'b', 'c']) files.add(name, 10, 0);
    files.touch('a', 1);
    files.peek('b');
    assert.deepEqual(victims(files, 5), ['b', 'c', 'a']);
    assert.deepEqual(victims(files, 5, new Map([['b', 1]])), ['c', 'a']);
    assert.deepEqual(files.oldestTouchMs(), 0);
    for (const { name } of files.victims(5, 5, new Map())) files.remove(name);
    assert.equal(files.size, 0);
    assert.equal(files.oldestTouchMs(), undefined);
  });

  it('offers no file within the retention time', () => {
    const files = index({ minRetentionMs: 100 });
    files.add('a', 10, 1000);
    assert.deepEqual(victims(files, 1099), []);
    assert.deepEqual(victims(files, 1100), ['a']);
    assert.deepEqual([...files.victims(1099, Number.POSITIVE_INFINITY, new Map())].length, 1);
  });

  it('leaves out for a time what the disk refused to remove, and knows whether that is news', () => {
    const files = index();
    for (const name of ['a', 'b']) files.add(name, 10, 0);
    assert.deepEqual([files.refuse('a', 50), files.refuse('a', 60), files.refuse('x', 60)], [true, false, false]);
    assert.deepEqual([victims(files, 59), victims(files, 60), files.bytes], [['b'], ['a', 'b'], 20]);
    files.add('a', 10, 0);
    assert.deepEqual([victims(files, 59), files.refuse('a', 70)], [['b', 'a'], true]);
  });

  it('gives each file that comes under a name a generation of its own', () => {
    const files = index();
    const generations = [1, 2, 3].map(() => {
      files.add('a', 10, 0);
      return files.peek('a')?.generation;
    });
    files.remove('a');
    files.add('a', 10, 0);
    assert.equal(new Set([...generations, files.peek('a')?.generation]).size, 4);
    const before = files.peek('a')?.generation;
    files.touch('a', 5);
    assert.equal(files.peek('a')?.generation, before);
  });

  it('lists what is promised from the newest on, while files come, go and are used', () => {
    const files = index({ minRetentionMs: 100 });
    for (const [at, name] of ['old', 'a', 'b', 'c', 'd', 'e'].entries()) files.add(name, 1, at * 10);
    const given: string[] = [];
    for (const { name } of files.heldNewestFirst(105)) {
      given.push(name);
      if (name !== 'd') continue;
      files.touch('d', 110);
      files.touch('c', 111);
      files.remove('b');
      files.add('new', 1, 112);
    }
    assert.deepEqual(given, ['e', 'd', 'a']);
    assert.deepEqual(
      [...files.all()].map((file) => file.name),
      ['old', 'a', 'c', 'd', 'e', 'new'],
    );
  });

  it('has no room beyond bytes or number, reservations included', () => {
    const files = index({ maxFiles: 2 });
    files.add('a', 60, 0);
    assert.deepEqual(
      [files.hasRoom(40), files.hasRoom(41), files.couldEverFit(100), files.couldEverFit(101)],
      [true, false, true, false],
    );
    files.reserve(10);
    assert.equal(files.hasRoom(0), false);
    files.release(10);
    assert.equal(files.hasRoom(40), true);
  });

  it('puts files in the order of restored times of use, those of equal times as they were', () => {
    const files = index({ minRetentionMs: 100 });
    for (const name of ['a', 'b', 'c', 'd']) files.add(name, 10, 0);
    assert.equal(files.restoreTouch('a', 50)?.touchedMs, 50);
    files.restoreTouch('c', 20);
    assert.equal(files.restoreTouch('c', 10)?.touchedMs, 20);
    assert.equal(files.restoreTouch('x', 10), undefined);
    const names = (): string[] => [...files.inOrder()].map((file) => file.name);
    assert.deepEqual(names(), ['b', 'd', 'c', 'a']);
    files.touch('d', 60);
    assert.deepEqual(names(), ['b', 'c', 'a', 'd']);
    assert.deepEqual([files.bytesHeld(115), files.bytesHeld(155)], [30, 10]);
  });

  it('stops at broken use: reserving without room, releasing twice', () => {
    const files = index();
    assert.throws(() => files.reserve(101), BugError);
    assert.throws(() => files.release(1), BugError);
  });

  it('law: known times lag behind the last use by less than the interval, and what is held and its order follow them', () => {
    const step = fc.record({ name: fc.constantFrom('a', 'b', 'c'), passMs: fc.nat(120), isNew: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(300), (steps, touchIntervalMs) => {
        const files = index({ minRetentionMs: 320, touchIntervalMs });
        const usedMs = new Map<string, number>();
        let nowMs = 0;
        for (const { name, passMs, isNew } of steps) {
          nowMs += passMs;
          if (isNew) files.add(name, 10, nowMs);
          if (files.touch(name, nowMs)) usedMs.set(name, nowMs);
          const known = [...files.inOrder()];
          for (const file of known) {
            const lagMs = (usedMs.get(file.name) ?? 0) - file.touchedMs;
            assert.ok(lagMs >= 0 && (lagMs === 0 || lagMs < touchIntervalMs), `${lagMs}`);
          }
          const times = known.map((file) => file.touchedMs);
          assert.deepEqual(
            times,
            [...times].sort((a, b) => a - b),
          );
          const held = known.filter((file) => nowMs - file.touchedMs < 320).map((file) => file.name);
          assert.deepEqual(
            [...files.heldNewestFirst(nowMs)].map((file) => file.name),
            held.reverse(),
          );
          const roughly = known.filter((file) => nowMs - file.touchedMs <= 330);
          assert.ok(files.bytesHeld(nowMs) >= held.length * 10 && files.bytesHeld(nowMs) <= roughly.length * 10);
          assert.equal(victims(files, nowMs).length, known.length - held.length);
        }
      }),
    );
  });

  it('law: bytes are the sum of what is there and the order is that of use, against a naive model', () => {
    const step = fc.record({
      type: fc.constantFrom('add', 'touch', 'remove'),
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      size: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
        const files = index();
        let model: { name: string; size: number }[] = [];
        for (const [nowMs, { type, name, size }] of steps.entries()) {
          const known = model.find((file) => file.name === name);
          const others = model.filter((file) => file.name !== name);
          if (type === 'add') {
            files.add(name, size, nowMs);
            model = [...others, { name, size }];
          } else if (type === 'touch') {
            assert.equal(files.touch(name, nowMs) !== undefined, known !== undefined);
            if (known) model = [...others, known];
          } else {
            assert.equal(files.remove(name), known !== undefined);
            model = others;
          }
          assert.deepEqual(
            [...files.inOrder()].map((file) => file.name),
            model.map((file) => file.name),
          );
          assert.equal(
            files.bytes,
            model.reduce((sum, file) => sum + file.size, 0),
          );
        }
      }),
    );
  });
});
