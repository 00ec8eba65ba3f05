import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { noAbort } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { untilDone } from './until-done.ts';

function world(fraction: number) {
  const clock = new FakeClock();
  const failures: unknown[] = [];
  const random = { fraction: () => fraction, uuid: () => '', token: () => '' };
  return { clock, failures, persistence: { clock, random, failed: (error: unknown) => void failures.push(error) } };
}

describe('untilDone', () => {
  it('gives what the first try gives, at once', async () => {
    const { clock, failures, persistence } = world(0);
    assert.equal(await untilDone(async () => 7, persistence, noAbort()), 7);
    assert.deepEqual([clock.armed, failures], [0, []]);
  });

  for (const { fraction, share } of [
    { fraction: 0, share: 0.5 },
    { fraction: 0.5, share: 0.75 },
  ]) {
    it(`tries again after growing pauses, ${share} of their full length with a draw of ${fraction}`, async () => {
      const { clock, failures, persistence } = world(fraction);
      const error = new Error('down');
      const triesAtMs: number[] = [];
      const startMs = clock.monotonicMs();
      const done = untilDone(
        async () => {
          triesAtMs.push(clock.monotonicMs() - startMs);
          if (triesAtMs.length < 8) throw error;
        },
        persistence,
        noAbort(),
      );
      const pauses = [500, 1000, 2000, 4000, 8000, 10_000, 10_000].map((pauseMs) => pauseMs * share);
      let atMs = 0;
      const expected = [0];
      for (const pauseMs of pauses) {
        await turn();
        assert.equal(clock.armed, 1);
        clock.advance(pauseMs);
        atMs += pauseMs;
        expected.push(atMs);
      }
      await done;
      assert.deepEqual(triesAtMs, expected);
      assert.deepEqual(failures, new Array(7).fill(error));
      assert.equal(clock.armed, 0);
    });
  }

  it('throws at once what trying again cannot change', async () => {
    const { clock, failures, persistence } = world(0);
    const refused = new Error('refused');
    const isFinal = (error: unknown): boolean => error === refused;
    const errors = [new Error('down'), refused];
    const done = untilDone(() => Promise.reject(errors.shift()), { ...persistence, isFinal }, noAbort());
    await turn();
    clock.advance(250);
    await assert.rejects(done, (error) => error === refused);
    assert.equal(failures.length, 1, 'only after the first was there another try');
    assert.equal(clock.armed, 0);
  });

  it('ends in a pause when it is told to, with the reason', async () => {
    const { clock, persistence } = world(0);
    const abort = new AbortController();
    const done = untilDone(() => Promise.reject(new Error('down')), persistence, abort.signal);
    await turn();
    const reason = new Error('closing');
    abort.abort(reason);
    await assert.rejects(done, (error) => error === reason);
    assert.equal(clock.armed, 0);
  });

  it('does not count a failure that comes after it was told to end', async () => {
    const { failures, persistence } = world(0);
    const abort = new AbortController();
    const attempt = async (): Promise<void> => {
      abort.abort();
      throw new Error('interrupted');
    };
    await assert.rejects(untilDone(attempt, persistence, abort.signal), /cancelled/);
    assert.deepEqual(failures, []);
  });
});
