import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SteadyTime } from './steady-time.ts';

describe('SteadyTime', () => {
  let clock: FakeClock;
  let time: SteadyTime;

  beforeEach(() => {
    clock = new FakeClock();
    time = new SteadyTime(clock);
  });

  it('passes as the clock does while the process runs', () => {
    const startMs = time.nowMs();
    clock.advance(600_000);
    assert.equal(time.nowMs() - startMs, 600_000);
  });

  it('stands still but for a beat while the process does not run', () => {
    clock.advance(10_000);
    const beforeMs = time.nowMs();
    clock.pause(120_000);
    assert.equal(time.nowMs() - beforeMs, 500);
    clock.advance(3_000);
    assert.equal(time.nowMs() - beforeMs, 3_500);
  });

  it('takes a few seconds without a beat for a busy process', () => {
    const beforeMs = time.nowMs();
    clock.pause(1_900);
    assert.equal(time.nowMs() - beforeMs, 1_900);
  });

  it('calls back at its own time after a pause, and early for what was to come during one', () => {
    clock.pause(60_000);
    const nowMs = time.nowMs();
    const called: number[] = [];
    time.wakeAt(nowMs + 20_000, () => called.push(time.nowMs()));
    clock.advance(19_999);
    assert.equal(called.length, 0);
    clock.advance(1);
    assert.deepEqual(called, [nowMs + 20_000]);
    const soonMs = time.nowMs();
    time.wakeAt(soonMs + 30_000, () => called.push(time.nowMs()));
    clock.pause(60_000);
    clock.advance(0);
    const [, second = Number.NaN] = called;
    assert.ok(second < soonMs + 30_000);
  });

  it('keeps no timer once it is stopped', () => {
    time.stop();
    assert.equal(clock.armed, 0);
  });
});
