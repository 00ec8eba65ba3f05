import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { BucketTime } from './bucket-time.ts';
import { type Container, Containers } from './containers.ts';
import { deadAfterMs, Promises, type PromisesOptions } from './promises.ts';

const OURS = '00'.repeat(8);
const THEIRS = 'ff'.repeat(8);
const NOW = 1000;

function world(options: Partial<PromisesOptions> = {}) {
  const clock = new FakeClock(NOW * 1000);
  const time = new BucketTime(clock);
  const all = { writer: OURS, refreshMs: 60_000, retentionSeconds: 600, wasUnclean: false, ...options };
  return { clock, promises: new Promises(clock, time, all) };
}

function containerOf(writer: string): Container {
  return new Containers().add({ id: { writer, number: 1, nonce: 'a1a2a3a4' } }, 1, 1);
}

describe('Promises', () => {
  it('promises nothing before the first refresh', () => {
    const { promises } = world();
    assert.equal(promises.staleMs, undefined);
    assert.equal(promises.mayPromise(containerOf(OURS)), false);
    assert.equal(promises.mayPromise(containerOf(THEIRS)), false);
  });

  it('relies on what it knows of others for one refresh, counted from its beginning', () => {
    const { promises, clock } = world();
    const startedMs = clock.monotonicMs();
    clock.advance(10_000);
    promises.refreshed(startedMs);
    assert.equal(promises.staleMs, 10_000);
    clock.advance(49_999);
    assert.equal(promises.mayPromise(containerOf(THEIRS)), true);
    clock.advance(1);
    assert.equal(promises.mayPromise(containerOf(THEIRS)), false);
    promises.refreshed(clock.monotonicMs());
    assert.equal(promises.mayPromise(containerOf(THEIRS)), true);
  });

  it('relies on its own containers for half the time after which others think it dead', () => {
    const { promises, clock } = world();
    promises.refreshed(clock.monotonicMs());
    clock.advance(899_999);
    assert.equal(promises.mayPromise(containerOf(OURS)), true);
    clock.advance(1);
    assert.equal(promises.mayPromise(containerOf(OURS)), false);
  });

  it('relies on its own containers between two refreshes, however far apart they are', () => {
    const { promises, clock } = world({ refreshMs: 3_600_000 });
    promises.refreshed(clock.monotonicMs());
    clock.advance(3_600_000);
    assert.equal(promises.mayPromise(containerOf(OURS)), true);
  });

  for (const writer of [OURS, THEIRS]) {
    it(`promises what a condemned container of ${writer} holds for one refresh after it was learned`, () => {
      const { promises, clock } = world();
      const container = containerOf(writer);
      container.condemned = {
        keepSinceSeconds: 0,
        learnedMs: clock.monotonicMs(),
        isAnnounced: false,
        publishedMs: undefined,
      };
      promises.refreshed(clock.monotonicMs());
      clock.advance(59_999);
      assert.equal(promises.mayPromise(container), true);
      clock.advance(1);
      promises.refreshed(clock.monotonicMs());
      assert.equal(promises.mayPromise(container), false);
    });
  }

  it('holds a row longer than it promises, by what may pass before a use is noted', () => {
    const { promises } = world();
    assert.deepEqual([promises.slackSeconds, promises.leaseSeconds], [300, 900]);
    assert.equal(promises.isLeased(NOW), true);
    assert.equal(promises.isLeased(NOW - 899), true);
    assert.equal(promises.isLeased(NOW - 900), false);
    assert.equal(promises.isLeased(0), false);
  });

  it('holds nothing if nothing is promised', () => {
    const { promises } = world({ retentionSeconds: 0 });
    assert.equal(promises.leaseSeconds, 0);
    assert.equal(promises.isLeased(NOW), false);
  });

  it('holds everything for the time of a lease after an unclean stop', () => {
    const { promises, clock } = world({ wasUnclean: true });
    assert.equal(promises.isLeased(0), true);
    clock.advance(899_999);
    assert.equal(promises.isLeased(0), true);
    clock.advance(1);
    assert.equal(promises.isLeased(0), false);
  });
});

describe('deadAfterMs', () => {
  it('is half an hour, or four refreshes if that is longer', () => {
    assert.equal(deadAfterMs(60_000), 1_800_000);
    assert.equal(deadAfterMs(450_000), 1_800_000);
    assert.equal(deadAfterMs(3_600_000), 14_400_000);
  });
});
