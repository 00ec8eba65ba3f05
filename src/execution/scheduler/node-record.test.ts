import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NodeRecord, type PoolResults } from './node-record.ts';
import { DEFAULT_OPTIONS } from './options.ts';

type Quality = 'good' | 'bad';

const OPTIONS = { ...DEFAULT_OPTIONS.isolation, faultsInARow: 3, window: 10 };

function record(results: readonly Quality[], pool: PoolResults, options = OPTIONS): NodeRecord {
  const made = new NodeRecord(options);
  for (const [index, quality] of results.entries()) made.note(quality, `action ${index}`, pool);
  return made;
}

const none = (): PoolResults => ({ all: 0, bad: 0, nodes: 0, failing: 0 });

const times = (count: number, quality: Quality): Quality[] => Array<Quality>(count).fill(quality);

describe('NodeRecord', () => {
  it('finds trouble after so many bad results in a row, of different actions, where others do well', () => {
    const pool = none();
    record(['good'], pool);
    const made = record(times(2, 'bad'), pool);
    assert.equal(made.trouble(pool), undefined);
    made.note('bad', 'another', pool);
    assert.equal(made.trouble(pool), 'it failed 3 times in a row, with different actions');
  });

  it('blames no machine for one action that fails over and over', () => {
    const pool = none();
    record(['good'], pool);
    const made = new NodeRecord(OPTIONS);
    for (let time = 0; time < 4; time++) made.note('bad', 'the same', pool);
    assert.equal(made.trouble(pool), undefined);
  });

  it('counts anew after a good one', () => {
    const pool = none();
    record(['good'], pool);
    assert.equal(record([...times(2, 'bad'), 'good', ...times(2, 'bad')], pool).trouble(pool), undefined);
  });

  it('finds none in a row if that is switched off', () => {
    const pool = none();
    record(['good'], pool);
    assert.equal(record(times(4, 'bad'), pool, { ...OPTIONS, faultsInARow: 0 }).trouble(pool), undefined);
  });

  it('blames none when there is nothing to compare with, or all fail alike', () => {
    const alone = none();
    assert.equal(record(times(9, 'bad'), alone).trouble(alone), undefined);
    const sick = none();
    record([...times(7, 'good'), ...times(3, 'bad')], sick);
    assert.equal(record(times(9, 'bad'), sick).trouble(sick), undefined);
  });

  it('blames none while others have just begun to fail too: the share of bad results lags behind', () => {
    const pool = none();
    const others = [record(times(50, 'good'), pool), record(times(50, 'good'), pool)];
    for (const action of ['x', 'y']) for (const other of others) other.note('bad', action, pool);
    const made = record(times(4, 'bad'), pool);
    assert.equal(made.trouble(pool), undefined);
    for (const other of others) other.note('good', 'z', pool);
    assert.match(made.trouble(pool) ?? '', /4 times in a row/);
  });

  it('finds trouble where a node fails far more often than the rest of its pool', () => {
    const pool = none();
    const rest = record(times(10, 'good'), pool);
    const sick = record([...times(5, 'bad'), ...times(5, 'good')], pool);
    assert.equal(
      sick.trouble(pool),
      '5 of its last 10 actions failed by its fault, and 0 of 10 on the other machines of its kind',
    );
    assert.equal(rest.trouble(pool), undefined);
  });

  for (const [why, own, others] of [
    ['it has too few results', ['bad', 'bad', 'good', 'good'], times(10, 'good')],
    ['the rest has too few results to compare', [...times(5, 'bad'), ...times(5, 'good')], times(4, 'good')],
    ['less than half of its results are bad', [...times(4, 'bad'), ...times(6, 'good')], times(10, 'good')],
  ] as const) {
    it(`finds none where ${why}`, () => {
      const pool = none();
      record(others, pool);
      assert.equal(record(own, pool).trouble(pool), undefined);
    });
  }

  it('compares nothing without a window', () => {
    const pool = none();
    const options = { ...OPTIONS, window: 0 };
    record(times(10, 'good'), pool, options);
    assert.equal(record(times(10, 'bad'), pool, options).trouble(pool), undefined);
    assert.deepEqual(pool, { all: 0, bad: 0, nodes: 2, failing: 1 });
  });

  it('starts anew after a reset, and takes its results out of those of the pool', () => {
    const pool = none();
    record(times(7, 'good'), pool);
    const made = record(times(10, 'bad'), pool);
    assert.deepEqual(pool, { all: 17, bad: 10, nodes: 2, failing: 1 });
    made.reset(pool);
    assert.deepEqual(pool, { all: 7, bad: 0, nodes: 1, failing: 0 });
    assert.equal(made.trouble(pool), undefined);
    made.note('bad', 'action 9', pool);
    assert.deepEqual(pool, { all: 8, bad: 1, nodes: 2, failing: 0 });
  });

  it('law: the pool has the last results of every node, as many as the window holds', () => {
    const notes = fc.array(fc.tuple(fc.nat(2), fc.constantFrom<Quality>('good', 'bad')), { maxLength: 80 });
    fc.assert(
      fc.property(notes, (all) => {
        const pool = none();
        const nodes = [0, 1, 2].map(() => ({ made: new NodeRecord(OPTIONS), seen: [] as Quality[] }));
        for (const [index, [at, quality]] of all.entries()) {
          nodes[at]?.made.note(quality, `action ${index}`, pool);
          nodes[at]?.seen.push(quality);
        }
        const last = nodes.flatMap(({ seen }) => seen.slice(-OPTIONS.window));
        const failing = nodes.filter(({ seen }) => seen.length > 1 && seen.slice(-2).every((each) => each === 'bad'));
        assert.deepEqual(pool, {
          all: last.length,
          bad: last.filter((quality) => quality === 'bad').length,
          nodes: nodes.filter(({ seen }) => seen.length > 0).length,
          failing: failing.length,
        });
        for (const { made } of nodes) made.reset(pool);
        assert.deepEqual(pool, none());
      }),
    );
  });
});
