import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { StoreTime } from './store-time.ts';

describe('StoreTime', () => {
  it('goes on in whole seconds from where the run before left off', () => {
    const clock = new FakeClock();
    const time = new StoreTime(clock, 500);
    const seen = [0, 999, 1, 59_000].map((ms) => {
      clock.advance(ms);
      return time.now();
    });
    assert.deepEqual(seen, [500, 500, 501, 560]);
  });

  it('takes no notice of a wall clock that is set', () => {
    const clock = new FakeClock();
    const time = new StoreTime(clock, 7);
    for (const jumpMs of [1e12, -3e12]) {
      clock.jump(jumpMs);
      assert.equal(time.now(), 7);
    }
  });

  it('tells moments of the monotonic clock as store seconds and back, also those of earlier runs', () => {
    const clock = new FakeClock(2_000_000);
    const time = new StoreTime(clock, 500);
    for (const [seconds, monotonicMs] of [
      [500, 2_000_000],
      [560, 2_060_000],
      [0, 1_500_000],
    ] as const) {
      assert.equal(time.toMonotonicMs(seconds), monotonicMs);
      assert.equal(time.ofMonotonicMs(monotonicMs), seconds);
      assert.equal(time.ofMonotonicMs(monotonicMs + 999), seconds);
    }
  });

  it('has no second before 0', () => {
    assert.equal(new StoreTime(new FakeClock(1000), 5).ofMonotonicMs(-1_000_000), 0);
  });
});
