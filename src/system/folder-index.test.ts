import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BugError } from '../errors.ts';
import { FolderIndex } from './folder-index.ts';

const NONE: ReadonlyMap<string, unknown> = new Map();

function index(limits: { maxBytes?: number; maxFiles?: number; minRetentionMs?: number } = {}): FolderIndex {
  return new FolderIndex({ maxBytes: 100, maxFiles: 10, minRetentionMs: 0, blockBytes: 1, ...limits });
}

describe('FolderIndex', () => {
  it('offers the least recently used file, leaving out those that are held', () => {
    const files = index();
    for (const name of ['a', 'b', 'c']) files.add(name, 10, 0);
    files.touch('a', 1);
    files.peek('b');
    assert.equal(files.victim(5, NONE)?.name, 'b');
    assert.equal(files.victim(5, new Map([['b', 1]]))?.name, 'c');
    assert.equal(
      files.victim(
        5,
        new Map([
          ['a', 1],
          ['b', 1],
          ['c', 1],
        ]),
      ),
      undefined,
    );
    assert.equal(files.oldestTouchMs(), 0);
  });

  it('offers no file within the retention time', () => {
    const files = index({ minRetentionMs: 100 });
    files.add('a', 10, 1000);
    assert.equal(files.victim(1099, NONE), undefined);
    assert.equal(files.victim(1100, NONE)?.name, 'a');
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
