import assert from 'node:assert/strict';
import fc from 'fast-check';
import { goesBefore, pathOf, putBackOf, type Share, Shares } from './shares.ts';

const FAIRNESS = { pointsPerDoubling: 100, ageingMsPerPoint: 60_000 };

const one = (id: string, weight = 1) => ({ id, weight });
const idsOf = (share: Share): readonly string[] => pathOf(share).map(({ id }) => id);
const all = (shares: Shares): readonly string[] => [...shares.all()].map((share) => idsOf(share).join('/'));

describe('Shares', () => {
  it('are one tree for equal paths, and count the tasks of each', () => {
    const shares = new Shares(FAIRNESS);
    const first = shares.enter([one('alice'), one('build')]);
    const second = shares.enter([one('alice'), one('build')]);
    const other = shares.enter([one('alice'), one('test')]);
    assert.equal(first, second);
    assert.equal(first.parent, other.parent);
    assert.deepEqual([first.tasks, other.tasks, first.parent?.tasks], [2, 1, 3]);
    assert.deepEqual(idsOf(other), ['alice', 'test']);
    assert.deepEqual(all(shares), ['alice', 'alice/build', 'alice/test']);
  });

  it('are forgotten with their last task', () => {
    const shares = new Shares(FAIRNESS);
    const build = shares.enter([one('alice'), one('build')]);
    const test = shares.enter([one('alice'), one('test')]);
    shares.leave(build);
    assert.deepEqual(all(shares), ['alice', 'alice/test']);
    shares.leave(test);
    assert.deepEqual(all(shares), []);
  });

  it('claim less the more they weigh, and `pointsPerDoubling` more for each doubling of what they run', () => {
    const shares = new Shares(FAIRNESS);
    const share = shares.enter([one('alice', 2)]);
    assert.equal(share.claim, -100);
    shares.ran(share, 1);
    assert.equal(share.claim, 0);
    shares.ran(share, 1);
    shares.ran(share, 1);
    assert.equal(share.claim, 100);
    shares.ran(share, -1);
    shares.ran(share, -1);
    assert.equal(share.claim, 0);
  });

  it('take the newest weight above 0, and keep the old one otherwise', () => {
    const shares = new Shares(FAIRNESS);
    const share = shares.enter([one('alice', 2)]);
    shares.enter([one('alice', 4)]);
    assert.deepEqual([share.weight, share.claim], [4, -200]);
    for (const weight of [0, -1, Number.NaN]) shares.enter([one('alice', weight)]);
    assert.equal(share.weight, 4);
  });

  it('count what runs at every level', () => {
    const shares = new Shares(FAIRNESS);
    const build = shares.enter([one('alice'), one('build')]);
    const test = shares.enter([one('alice'), one('test')]);
    shares.ran(build, 1);
    assert.deepEqual([build.running, test.running, build.parent?.running], [1, 0, 1]);
    assert.deepEqual([build.claim, test.claim, build.parent?.claim], [100, 0, 100]);
  });

  it('remember at every level when something began last', () => {
    const shares = new Shares(FAIRNESS);
    const build = shares.enter([one('alice'), one('build')]);
    const test = shares.enter([one('alice'), one('test')]);
    shares.ran(build, 1, 7);
    shares.ran(build, -1);
    assert.deepEqual([build.servedMs, test.servedMs, build.parent?.servedMs], [7, Number.NEGATIVE_INFINITY, 7]);
  });

  it('have one place for everyone who does not say who asks', () => {
    const shares = new Shares(FAIRNESS);
    assert.equal(shares.enter(undefined), shares.enter([]));
    assert.deepEqual(all(shares), ['']);
  });

  it('tell the queues that have tasks of it when a claim changes', () => {
    const shares = new Shares(FAIRNESS);
    const share = shares.enter([one('alice')]);
    const told: Share[] = [];
    share.queues.add({ claimChanged: (changed) => told.push(changed) });
    shares.ran(share, 1);
    shares.enter([one('alice', 3)]);
    shares.enter([one('alice', 3)]);
    assert.deepEqual(told, [share, share]);
  });

  it('never take paths of different lengths for one, nor ids with odd characters', () => {
    const shares = new Shares(FAIRNESS);
    const paths = [['a'], ['a', 'b'], ['a', 'b', 'c'], ['a', 'b\0c', 'd'], ['a\0b', 'c', 'd'], ['a', 'b', 'c\0d']];
    const entered = paths.map((path) => shares.enter(path.map((id) => one(id))));
    assert.equal(new Set(entered).size, paths.length);
    for (const [index, share] of entered.entries()) assert.deepEqual(idsOf(share), paths[index]);
    for (const share of entered) shares.leave(share);
    assert.deepEqual(all(shares), []);
  });

  it('cut endless ids, which come from outside', () => {
    const shares = new Shares(FAIRNESS);
    assert.equal(shares.enter([one('x'.repeat(10_000))]).id.length, 256);
  });

  it('law: tasks and leases of a share are those of what is below it, and nothing is left in the end', () => {
    const path = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 2, maxLength: 2 });
    fc.assert(
      fc.property(fc.array(fc.tuple(path, fc.nat(3)), { maxLength: 30 }), (entries) => {
        const shares = new Shares(FAIRNESS);
        const entered: { readonly share: Share; readonly leases: number }[] = [];
        for (const [ids, leases] of entries) {
          const share = shares.enter(ids.map((id) => one(id)));
          for (let lease = 0; lease < leases; lease++) shares.ran(share, 1);
          entered.push({ share, leases });
        }
        for (const share of shares.all()) {
          const own = entered.filter((entry) => pathOf(entry.share).includes(share));
          assert.equal(share.tasks, own.length);
          assert.equal(
            share.running,
            own.reduce((sum, { leases }) => sum + leases, 0),
          );
        }
        for (const { share, leases } of entered) {
          for (let lease = 0; lease < leases; lease++) shares.ran(share, -1);
          shares.leave(share);
        }
        assert.deepEqual(all(shares), []);
      }),
    );
  });
});

describe('putBackOf', () => {
  it('is the time between queueing and the last start, in points: so shares take turns though they run nothing', () => {
    const shares = new Shares(FAIRNESS);
    const share = shares.enter([one('alice')]);
    assert.equal(putBackOf(share, 0), 0);
    shares.ran(share, 1, 180_000);
    assert.deepEqual([putBackOf(share, 60_000), putBackOf(share, 180_000), putBackOf(share, 200_000)], [2, 0, 0]);
  });
});

describe('goesBefore', () => {
  it('compares shares where their paths part: who runs less, and of equals who was not served since', () => {
    const shares = new Shares(FAIRNESS);
    const [build, test] = [shares.enter([one('alice'), one('build')]), shares.enter([one('alice'), one('test')])];
    const bob = shares.enter([one('bob'), one('build')]);
    shares.ran(build, 1, 60_000);
    assert.deepEqual([goesBefore(test, build, 0), goesBefore(build, test, 0)], [true, false]);
    assert.deepEqual([goesBefore(bob, test, 0), goesBefore(test, bob, 0)], [true, false], 'alice runs something');
    shares.ran(build, -1);
    assert.deepEqual([goesBefore(bob, test, 0), goesBefore(bob, test, 60_000)], [true, false]);
    assert.equal(goesBefore(bob, bob, 0), false);
  });

  it('compares paths of different lengths as siblings', () => {
    const shares = new Shares(FAIRNESS);
    const [long, short] = [shares.enter([one('alice'), one('build')]), shares.enter([one('alice', 2)])];
    assert.deepEqual([goesBefore(short, long, 0), goesBefore(long, short, 0)], [true, false]);
  });
});
