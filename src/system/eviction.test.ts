import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/recording-log.ts';
import { isKind, ReapiError } from '../errors.ts';
import { Eviction } from './eviction.ts';
import { FolderIndex } from './folder-index.ts';

const NONE: ReadonlyMap<string, unknown> = new Map();

/** Files `f0` to `f<count - 1>`, used in that order, on a disk that refuses to remove some. */
function world(count: number, refuses: (name: string) => boolean) {
  const clock = new FakeClock();
  const { log, lines } = recordingLog();
  const index = new FolderIndex({ maxBytes: 1e6, maxFiles: 1000, minRetentionMs: 0, blockBytes: 1 });
  for (let n = 0; n < count; n++) index.add(`f${n}`, 10, clock.monotonicMs());
  const tried: string[] = [];
  const disk = { refuses };
  const unlink = (name: string): void => {
    tried.push(name);
    if (disk.refuses(name)) throw new ReapiError('unavailable', 'planned');
    index.remove(name);
  };
  const eviction = new Eviction(index, { clock, log, unlink });
  return { clock, lines, index, tried, disk, eviction };
}

function unavailable(error: unknown): boolean {
  return isKind(error, 'unavailable');
}

describe('Eviction', () => {
  it('goes on with the next file when the disk refuses one, which stays counted and is told of once', () => {
    const { clock, lines, index, tried, eviction } = world(4, (name) => name === 'f0');
    assert.equal(eviction.removeOldest('held', NONE)?.name, 'f1');
    assert.equal(eviction.removeOldest('held', NONE)?.name, 'f2');
    assert.deepEqual(tried.splice(0), ['f0', 'f1', 'f2']);
    assert.deepEqual([index.bytes, lines.length], [20, 1]);
    clock.advance(60_000);
    assert.equal(eviction.removeOldest('held', NONE)?.name, 'f3');
    assert.deepEqual([tried, index.bytes, lines.length], [['f0', 'f3'], 10, 1]);
  });

  it('throws when it tried and nothing could be removed, has nothing to try for a minute, and then tries again', () => {
    const { clock, disk, tried, eviction } = world(1, () => true);
    assert.throws(() => eviction.removeOldest('none', NONE), unavailable);
    clock.advance(59_999);
    assert.equal(eviction.removeOldest('none', NONE), undefined);
    assert.equal(tried.length, 1);
    disk.refuses = () => false;
    clock.advance(1);
    assert.equal(eviction.removeOldest('none', NONE)?.name, 'f0');
  });

  it('tries only so many files in a row on a disk that refuses all, and comes to those behind them after pauses', () => {
    const { clock, tried, eviction } = world(40, (name) => name !== 'f39');
    for (const expected of [16, 32]) {
      assert.throws(() => eviction.removeOldest('held', NONE), unavailable);
      assert.throws(() => eviction.removeOldest('held', NONE), unavailable);
      assert.equal(tried.length, expected);
      clock.advance(1000);
    }
    assert.equal(eviction.removeOldest('held', NONE)?.name, 'f39');
    assert.equal(eviction.removeOldest('held', NONE), undefined);
  });

  it('spares what is being published', () => {
    const { eviction } = world(2, () => false);
    assert.equal(eviction.removeOldest('none', new Map([['f0', 1]]))?.name, 'f1');
    assert.equal(eviction.removeOldest('none', new Map([['f0', 1]])), undefined);
  });

  it('does not hide a broken invariant behind a refusal', () => {
    const { disk, eviction } = world(1, () => false);
    disk.refuses = () => {
      throw new TypeError('a bug');
    };
    assert.throws(() => eviction.removeOldest('held', NONE), TypeError);
  });
});
