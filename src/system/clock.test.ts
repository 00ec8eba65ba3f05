import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SystemClock, sleep } from './clock.ts';

describe('SystemClock', () => {
  it('tells wall time in epoch milliseconds and a monotonic time that never goes back', () => {
    const clock = new SystemClock();
    assert.ok(clock.nowMs() > Date.UTC(2026, 0, 1));
    const first = clock.monotonicMs();
    assert.ok(clock.monotonicMs() >= first);
  });

  it('wakes at once for a moment that is past, but not before wakeAt has returned', async () => {
    const clock = new SystemClock();
    let isReturned = false;
    await new Promise<void>((resolve, reject) => {
      clock.wakeAt(clock.monotonicMs() - 1000, () => (isReturned ? resolve() : reject(new Error('too early'))));
      isReturned = true;
    });
  });

  it('does not wake before the moment, in fractions of a millisecond', async () => {
    const clock = new SystemClock();
    const atMs = clock.monotonicMs() + 1.5;
    await new Promise<void>((resolve) => clock.wakeAt(atMs, resolve));
    assert.ok(clock.monotonicMs() >= atMs);
  });

  it('does not wake at once for a moment beyond the range of a Node timer, nor for the end of time', async () => {
    const clock = new SystemClock();
    const woken: string[] = [];
    const timers = [
      clock.wakeAt(clock.monotonicMs() + 2 ** 31 + 5000, () => woken.push('after 25 days')),
      clock.wakeAt(Number.POSITIVE_INFINITY, () => woken.push('never')),
    ];
    await new Promise<void>((resolve) => clock.wakeAt(clock.monotonicMs() + 3, resolve));
    for (const timer of timers) timer.cancel();
    assert.deepEqual(woken, []);
  });

  it('does not wake after cancel, which may be called twice', async () => {
    const clock = new SystemClock();
    const woken: string[] = [];
    const timer = clock.wakeAt(clock.monotonicMs(), () => woken.push('cancelled'));
    timer.cancel();
    timer.cancel();
    await new Promise<void>((resolve) => clock.wakeAt(clock.monotonicMs() + 2, resolve));
    assert.deepEqual(woken, []);
  });

  for (const unref of [true, false]) {
    it(`${unref ? 'lets the process end in spite of' : 'keeps the process alive for'} a timer with unref ${unref}`, () => {
      const clock = new SystemClock({ unref });
      const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      const timer = clock.wakeAt(clock.monotonicMs() + 60_000, () => assert.fail('cancelled'));
      const after = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      timer.cancel();
      assert.equal(after - before, unref ? 0 : 1);
    });
  }
});

describe('sleep', () => {
  it('resolves when the time has come and leaves no listener on the signal', async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    let isAwake = false;
    const sleeping = sleep(clock, 1000, abort.signal).then(() => {
      isAwake = true;
    });
    clock.advance(999);
    await Promise.resolve();
    assert.equal(isAwake, false);
    clock.advance(1);
    await sleeping;
    assert.equal(clock.armed, 0);
    abort.abort();
  });

  it('rejects with the reason as soon as the signal aborts, and cancels its timer', async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    const sleeping = sleep(clock, 1000, abort.signal);
    assert.equal(clock.armed, 1);
    const reason = new Error('enough');
    abort.abort(reason);
    await assert.rejects(sleeping, reason);
    assert.equal(clock.armed, 0);
  });

  it('arms no timer if the signal is aborted already', async () => {
    const clock = new FakeClock();
    const reason = new Error('before');
    await assert.rejects(sleep(clock, 1000, AbortSignal.abort(reason)), reason);
    assert.equal(clock.armed, 0);
  });
});
