import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { ReadAheadWindows } from './read-ahead.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

describe('ReadAheadWindows', () => {
  it('reads nothing ahead of the first read of an object', () => {
    const windows = new ReadAheadWindows(new FakeClock());
    assert.equal(windows.next('a', 0, 100), 0);
    assert.equal(windows.next('b', 100, 200), 0);
  });

  it('doubles the window with every read that follows, from 64 KiB to 4 MiB', () => {
    const windows = new ReadAheadWindows(new FakeClock());
    const seen: number[] = [];
    let offset = 0;
    for (let read = 0; read < 10; read++) {
      const windowBytes = windows.next('a', offset, offset + 100);
      seen.push(windowBytes / KIB);
      offset += 100 + windowBytes;
    }
    assert.deepEqual(seen, [0, 64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096]);
  });

  for (const [title, offset, isNext] of [
    ['at its end', 1 * MIB + 100, true],
    ['64 KiB after its end', 1 * MIB + 100 + 64 * KIB, true],
    ['further on', 1 * MIB + 101 + 64 * KIB, false],
    ['where it began', 1 * MIB, true],
    ['64 KiB before where it began', 1 * MIB - 64 * KIB, true],
    ['further back', 1 * MIB - 64 * KIB - 1, false],
  ] as const) {
    it(`${isNext ? 'counts' : 'does not count'} a read ${title} as one that follows`, () => {
      const windows = new ReadAheadWindows(new FakeClock());
      windows.next('a', 1 * MIB, 1 * MIB + 100);
      assert.equal(windows.next('a', offset, offset + 10) > 0, isNext);
    });
  }

  it('begins anew after a read elsewhere', () => {
    const windows = new ReadAheadWindows(new FakeClock());
    for (let read = 0; read < 5; read++) windows.next('a', read * 100, read * 100 + 100);
    assert.equal(windows.next('a', 30 * MIB, 30 * MIB + 1), 0);
    assert.equal(windows.next('a', 30 * MIB + 1, 30 * MIB + 2), 64 * KIB);
  });

  it('forgets a read after 10 seconds', () => {
    const clock = new FakeClock();
    const windows = new ReadAheadWindows(clock);
    windows.next('a', 0, 100);
    clock.advance(10_000);
    assert.equal(windows.next('a', 100, 200), 64 * KIB);
    clock.advance(10_001);
    assert.equal(windows.next('a', 200, 300), 0);
  });

  it('remembers a bounded number of objects, those read last', () => {
    const windows = new ReadAheadWindows(new FakeClock());
    for (let object = 0; object < 10_001; object++) windows.next(`${object}`, 0, 100);
    assert.equal(windows.next('1', 100, 200), 64 * KIB);
    assert.equal(windows.next('0', 100, 200), 0);
  });
});
