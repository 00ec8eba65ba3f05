import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { BucketTime } from './bucket-time.ts';

describe('BucketTime', () => {
  it('is the wall clock at the start and goes on with monotonic time', () => {
    const clock = new FakeClock(5_000_000);
    clock.jump(1_700_000_000_000);
    const time = new BucketTime(clock);
    assert.equal(time.now(), 1_700_005_000);
    clock.advance(999);
    assert.equal(time.now(), 1_700_005_000);
    clock.advance(1);
    assert.equal(time.now(), 1_700_005_001);
  });

  it('does not follow the wall clock when that is set', () => {
    const clock = new FakeClock(5_000_000);
    const time = new BucketTime(clock);
    clock.jump(-4_000_000);
    assert.equal(time.now(), 5000);
    clock.jump(9_000_000);
    assert.equal(time.now(), 5000);
  });

  it('is at least 1, even if the wall clock is before 1970', () => {
    const clock = new FakeClock(5_000_000);
    clock.jump(-9_000_000);
    assert.equal(new BucketTime(clock).now(), 1);
  });
});
