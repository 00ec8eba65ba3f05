import assert from 'node:assert/strict';
import { FakeClock } from './fake-clock.ts';

describe('FakeClock', () => {
  it('stands still until it is moved', () => {
    const clock = new FakeClock(5000);
    assert.deepEqual([clock.nowMs(), clock.monotonicMs()], [5000, 5000]);
    clock.advance(250);
    assert.deepEqual([clock.nowMs(), clock.monotonicMs()], [5250, 5250]);
  });

  it('moves wall time alone by jump, back as well', () => {
    const clock = new FakeClock(5000);
    clock.jump(-4000);
    assert.deepEqual([clock.nowMs(), clock.monotonicMs()], [1000, 5000]);
  });

  it('fires timers in order of their time, each at its time, and equal ones in order of arming', () => {
    const clock = new FakeClock(0);
    const fired: string[] = [];
    const note = (name: string) => () => fired.push(`${name}@${clock.monotonicMs()}`);
    clock.wakeAt(30, note('c'));
    clock.wakeAt(10, note('a'));
    clock.wakeAt(20, note('b1'));
    clock.wakeAt(20, note('b2'));
    clock.wakeAt(101, note('later'));
    clock.advance(100);
    assert.deepEqual(fired, ['a@10', 'b1@20', 'b2@20', 'c@30']);
    assert.equal(clock.monotonicMs(), 100);
    assert.equal(clock.armed, 1);
  });

  it('fires timers that a timer arms, if they are due in the same advance', () => {
    const clock = new FakeClock(0);
    const fired: number[] = [];
    const again = (): void => {
      fired.push(clock.monotonicMs());
      clock.wakeAt(clock.monotonicMs() + 10, again);
    };
    clock.wakeAt(10, again);
    clock.advance(35);
    assert.deepEqual(fired, [10, 20, 30]);
  });

  it('fires a timer of the past at the next advance without going back', () => {
    const clock = new FakeClock(1000);
    const fired: number[] = [];
    clock.wakeAt(10, () => fired.push(clock.monotonicMs()));
    assert.deepEqual(fired, []);
    clock.advance(0);
    assert.deepEqual(fired, [1000]);
  });

  it('forgets a cancelled timer, be it cancelled by another one of the same advance', () => {
    const clock = new FakeClock(0);
    const doomed = clock.wakeAt(20, () => assert.fail('cancelled'));
    clock.wakeAt(10, () => doomed.cancel());
    clock.advance(50);
    assert.equal(clock.armed, 0);
  });
});
