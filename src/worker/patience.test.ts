import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { isKind, ReapiError } from '../errors.ts';
import { withPatience } from './patience.ts';

describe('withPatience', () => {
  const never = new AbortController().signal;
  const away = new ReapiError('unavailable', 'away');
  let clock: FakeClock;
  let attempts: number;

  beforeEach(() => {
    clock = new FakeClock();
    attempts = 0;
  });

  const failing =
    (times: number, error: Error = away) =>
    (): Promise<string> =>
      attempts++ < times ? Promise.reject(error) : Promise.resolve('done');

  async function pass(ms: number): Promise<void> {
    await nextTurn();
    clock.advance(ms);
    await nextTurn();
  }

  it('tries again every second while the peer is away', async () => {
    const result = withPatience(clock, 60_000, never, failing(2));
    await pass(1000);
    assert.equal(attempts, 2);
    await pass(1000);
    assert.equal(await result, 'done');
    assert.equal(clock.armed, 0);
  });

  it('gives up in the end, with the failure as it was', async () => {
    const result = assert.rejects(withPatience(clock, 2000, never, failing(9)), away);
    await pass(1000);
    await pass(1000);
    await result;
    assert.equal(attempts, 3);
  });

  it('has as much patience after an hour of transfers as at the start, each time the peer goes away', async () => {
    const hour = 3_600_000;
    const transfer = async (): Promise<string> => {
      const attempt = ++attempts;
      if (attempt % 2 === 1) clock.advance(hour);
      return attempt === 5 ? 'done' : Promise.reject(away);
    };
    const result = withPatience(clock, 2000, never, transfer);
    for (let count = 0; count < 4; count++) await pass(1000);
    assert.equal(await result, 'done');
    assert.equal(attempts, 5);
    assert.equal(clock.armed, 0);
  });

  it('passes every other failure on at once', async () => {
    const wrong = new ReapiError('invalid-argument', 'wrong');
    await assert.rejects(withPatience(clock, 60_000, never, failing(1, wrong)), wrong);
    assert.equal(attempts, 1);
  });

  it('stops when it is cancelled, during a pause as well', async () => {
    const abort = new AbortController();
    const result = withPatience(clock, 60_000, abort.signal, failing(9));
    await nextTurn();
    abort.abort();
    await assert.rejects(result, (error) => isKind(error, 'cancelled'));
    assert.equal(clock.armed, 0);
  });
});
