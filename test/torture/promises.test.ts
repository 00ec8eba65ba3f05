import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { Promises } from './promises.ts';
import { digestNumbered, entryKey, TORTURED } from './torture-load.ts';

const START_MS = 1000;

function heard(...lines: readonly string[]): Promises {
  const promises = new Promises(START_MS);
  promises.beginRound();
  for (const line of lines) promises.hear(line);
  return promises;
}

describe('Promises', () => {
  const gone = `gone blob ${digestNumbered(7).hash}`;
  const late = START_MS + TORTURED.minRetentionMs;

  it('misses a blob that was promised', () => {
    const promises = heard('1000 put 7');
    assert.deepEqual(promises.blobs, [7]);
    promises.missing(7);
    assert.equal(promises.violations.length, 1);
  });

  it('objects to an eviction within the retention time, and not to a later one', () => {
    assert.equal(heard('1000 put 7', `1500 ${gone}`).violations.length, 1);
    assert.equal(heard('1000 put 7', `${late} here 7`, `${late + 1} ${gone}`).violations.length, 1);
    const later = heard('1000 put 7', `${late} ${gone}`);
    assert.deepEqual([later.violations, later.blobs], [[], []]);
  });

  it('excuses one old blob a round whose eviction was not heard', () => {
    const promises = heard('1000 put 7', '1000 put 8', `${late} end`);
    promises.missing(7);
    assert.deepEqual(promises.violations, []);
    promises.missing(8);
    assert.equal(promises.violations.length, 1);
  });

  const evicted = `4 gone entry ${hash('sha256', entryKey(1))}`;
  for (const [title, lines, version, isRight] of [
    ['has the value that was acknowledged', ['1 try 1 5', '2 set 1 5'], 5, true],
    ['misses it', ['1 try 1 5', '2 set 1 5'], undefined, false],
    ['lets it go when it was evicted', ['1 try 1 5', '2 set 1 5', evicted], undefined, true],
    ['has no older value', ['1 try 1 5', '2 set 1 5', '3 try 1 6', '4 set 1 6'], 5, false],
    ['may have the value in flight', ['1 try 1 5', '2 set 1 5', '3 try 1 6'], 6, true],
    ['may have the value before the one in flight', ['1 try 1 5', '2 set 1 5', '3 try 1 6'], 5, true],
    ['has any of two that overlapped', ['1 try 1 5', '2 try 1 6', '3 set 1 6', '4 set 1 5'], 5, true],
    ['stays deleted', ['1 try 1 5', '2 set 1 5', '3 trydelete 1 6', '4 deleted 1 6'], 5, false],
    ['may be deleted', ['1 try 1 5', '2 set 1 5', '3 trydelete 1 6'], undefined, true],
    ['has no value that nobody put', ['1 try 1 5', '2 set 1 5'], 9, false],
    ['may be nothing at all', ['1 try 1 5'], undefined, true],
  ] as const) {
    it(`of an entry: ${title}`, () => {
      const promises = heard(...lines);
      promises.found(1, version);
      assert.equal(promises.violations.length === 0, isRight, promises.violations.join());
    });
  }

  it('objects to a read that went back', () => {
    assert.equal(heard('1 try 1 5', '2 set 1 5', '3 try 1 6', '4 set 1 6', '5 got 1 6 5').violations.length, 1);
    assert.deepEqual(heard('1 try 1 5', '2 try 1 6', '3 set 1 6', '5 got 1 6 5').violations, []);
  });

  it('passes on what a victim found bad', () => {
    assert.deepEqual(heard('1 bad it was torn').violations, ['it was torn']);
  });
});
