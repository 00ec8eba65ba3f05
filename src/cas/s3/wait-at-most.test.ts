import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { isKind } from '../../errors.ts';
import { S3Health } from './s3-health.ts';
import { waitAtMost } from './wait-at-most.ts';

const NEVER = new Promise<void>(() => undefined);

describe('waitAtMost', () => {
  it('resolves when it is stored, and leaves no timer', async () => {
    const clock = new FakeClock();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = waitAtMost(promise, 1000, { clock, signal: noAbort() });
    assert.equal(clock.armed, 1);
    resolve();
    await waiting;
    assert.equal(clock.armed, 0);
  });

  it('rejects with what storing rejected with, and leaves no timer', async () => {
    const clock = new FakeClock();
    const failure = new Error('no');
    const waiting = waitAtMost(Promise.reject(failure), 1000, { clock, signal: noAbort() });
    await assert.rejects(waiting, (error) => error === failure);
    assert.equal(clock.armed, 0);
  });

  it('gives up after its time and says when to try again; what storing ends with later does not matter', async () => {
    const clock = new FakeClock();
    const { promise, reject } = Promise.withResolvers<void>();
    const waiting = waitAtMost(promise, 1500, { clock, signal: noAbort() });
    clock.advance(1500);
    await assert.rejects(
      waiting,
      (error) => isKind(error, 'unavailable') && /within 2 s/.test(error.message) && error.facts.retryAfterMs === 5000,
    );
    reject(new Error('too late'));
    await assert.rejects(promise);
  });

  it('says what S3 fails with, if it does', async () => {
    const clock = new FakeClock();
    const health = new S3Health(clock);
    health.failed(new Error('the bucket does not exist'));
    const waiting = waitAtMost(NEVER, 1000, { clock, health, signal: noAbort() });
    clock.advance(1000);
    await assert.rejects(waiting, /it may still do: the bucket does not exist$/);
  });

  it('ends with cancelled when the caller aborts, and leaves no timer', async () => {
    const clock = new FakeClock();
    const abort = new AbortController();
    const waiting = waitAtMost(NEVER, 1000, { clock, signal: abort.signal });
    abort.abort();
    await assert.rejects(waiting, ofKind('cancelled'));
    assert.equal(clock.armed, 0);
  });

  it('does not wait for a caller that has aborted before', async () => {
    const clock = new FakeClock();
    await assert.rejects(waitAtMost(NEVER, 1000, { clock, signal: AbortSignal.abort() }), ofKind('cancelled'));
    assert.equal(clock.armed, 0);
  });
});
