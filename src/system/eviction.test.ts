import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/recording-log.ts';
import { isKind, ReapiError } from '../errors.ts';
import { Eviction } from './eviction.ts';
import { FolderIndex } from './folder-index.ts';

const NONE: ReadonlyMap<string, unknown> = new Map();

/** Files `f0` to `f<count - 1>`, used in that order, on a disk that refuses to remove some. */
function world(count: number, refuses: (name: string) => boolean, mayEvict?: (name: string) => boolean) {
  const clock = new FakeClock();
  const { log, lines } = recordingLog();
  const index = new FolderIndex({ maxBytes: 1e6, maxFiles: 10_000, minRetentionMs: 0, blockBytes: 1 });
  for (let n = 0; n < count; n++) index.add(`f${n}`, 10, clock.monotonicMs());
  const tried: string[] = [];
  const disk = { refuses };
  const unlink = (name: string): void => {
    tried.push(name);
    if (disk.refuses(name)) throw new ReapiError('unavailable', 'planned');
    index.remove(name);
  };
  const eviction = new Eviction(index, { clock, log, unlink, mayEvict });
  return { clock, lines, index, tried, disk, eviction };
}

function unavailable(error: unknown): boolean {
  return isKind(error, 'unavailable');
}

describe('Eviction', () => {
  it('goes on with the next file when the disk refuses one, which stays counted and is told of once', () => {
    const { clock, lines, index, tried, eviction } = world(4, (name) => name === 'f0');
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE)?.name, 'f1');
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE)?.name, 'f2');
    assert.deepEqual(tried.splice(0), ['f0', 'f1', 'f2']);
    assert.deepEqual([index.bytes, lines.length], [20, 1]);
    clock.advance(60_000);
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE)?.name, 'f3');
    assert.deepEqual([tried, index.bytes, lines.length], [['f0', 'f3'], 10, 1]);
  });

  it('throws when it tried and nothing could be removed, has nothing to try for a minute, and then tries again', () => {
    const { clock, disk, tried, eviction } = world(1, () => true);
    assert.throws(() => eviction.removeOldest({ sparing: 'none' }, NONE), unavailable);
    clock.advance(59_999);
    assert.equal(eviction.removeOldest({ sparing: 'none' }, NONE), undefined);
    assert.equal(tried.length, 1);
    disk.refuses = () => false;
    clock.advance(1);
    assert.equal(eviction.removeOldest({ sparing: 'none' }, NONE)?.name, 'f0');
  });

  it('tries only so many files in a row on a disk that refuses all, and comes to those behind them after pauses', () => {
    const { clock, tried, eviction } = world(40, (name) => name !== 'f39');
    for (const expected of [16, 32]) {
      assert.throws(() => eviction.removeOldest({ sparing: 'held' }, NONE), unavailable);
      assert.throws(() => eviction.removeOldest({ sparing: 'held' }, NONE), unavailable);
      assert.equal(tried.length, expected);
      clock.advance(1000);
    }
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE)?.name, 'f39');
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE), undefined);
  });

  it('spares what is being published', () => {
    const { eviction } = world(2, () => false);
    assert.equal(eviction.removeOldest({ sparing: 'none' }, new Map([['f0', 1]]))?.name, 'f1');
    assert.equal(eviction.removeOldest({ sparing: 'none' }, new Map([['f0', 1]])), undefined);
  });

  it('passes over what must not go, whatever the bounds, and says how many that were', () => {
    const held = new Set(['f0', 'f2']);
    const { eviction, index } = world(
      4,
      () => false,
      (name) => !held.has(name),
    );
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE)?.name, 'f1');
    assert.equal(eviction.passedOver, 1);
    assert.equal(eviction.removeOldest({ sparing: 'none' }, NONE)?.name, 'f3');
    assert.equal(eviction.removeOldest({ sparing: 'none' }, NONE), undefined);
    assert.deepEqual([eviction.passedOver, index.size], [2, 2]);
    held.delete('f2');
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE)?.name, 'f2');
  });

  it('asks about so many files at a time, no more', () => {
    let asked = 0;
    const { eviction } = world(
      5000,
      () => false,
      (name) => {
        asked++;
        return name === 'f4999';
      },
    );
    assert.equal(eviction.removeOldest({ sparing: 'held' }, NONE), undefined);
    assert.deepEqual([asked, eviction.passedOver], [4096, 4096]);
  });

  it('spares what was used at a given time or later', () => {
    const { clock, eviction, index } = world(1, () => false);
    clock.advance(10);
    index.add('later', 10, clock.monotonicMs());
    const usedBeforeMs = clock.monotonicMs();
    assert.equal(eviction.removeOldest({ sparing: 'none', usedBeforeMs }, NONE)?.name, 'f0');
    assert.equal(eviction.removeOldest({ sparing: 'none', usedBeforeMs }, NONE), undefined);
    assert.equal(eviction.removeOldest({ sparing: 'none', usedBeforeMs: usedBeforeMs + 1 }, NONE)?.name, 'later');
  });

  it('does not hide a broken invariant behind a refusal', () => {
    const { disk, eviction } = world(1, () => false);
    disk.refuses = () => {
      throw new TypeError('a bug');
    };
    assert.throws(() => eviction.removeOldest({ sparing: 'held' }, NONE), TypeError);
  });
});
