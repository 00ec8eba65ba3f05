import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { StoreProgress } from '../cas/segment/store-report.ts';
import { ReapiError } from '../errors.ts';
import { jobUpdates } from './job-updates.ts';

const TOTAL = { totalBytes: 100 };

function progress(doneBytes: number): { readonly type: 'progress'; readonly progress: StoreProgress } {
  return { type: 'progress', progress: { doneBytes, ...TOTAL } };
}

/** A job that a test moves by hand, and its updates. */
function startJob(clock: FakeClock, signal = noAbort()) {
  const end = Promise.withResolvers<string>();
  const job = { tell: (_: StoreProgress): void => undefined, signal, end };
  const updates = jobUpdates<string>(
    clock,
    (onProgress, given) => {
      job.tell = onProgress;
      job.signal = given;
      given.addEventListener('abort', () => end.reject(new ReapiError('cancelled', 'stopped')));
      return end.promise;
    },
    signal,
  );
  return { job, updates };
}

describe('jobUpdates', () => {
  let clock: FakeClock;

  beforeEach(() => {
    clock = new FakeClock();
  });

  it('tells the first progress at once, and at last the report', async () => {
    const { job, updates } = startJob(clock);
    const first = updates.next();
    job.tell({ doneBytes: 1, ...TOTAL });
    assert.deepEqual((await first).value, progress(1));
    const last = updates.next();
    job.end.resolve('done');
    assert.deepEqual((await last).value, { type: 'report', report: 'done' });
    assert.deepEqual(await updates.next(), { value: undefined, done: true });
  });

  it('leaves out progress that comes sooner than 250 ms after the last', async () => {
    const { job, updates } = startJob(clock);
    const first = updates.next();
    job.tell({ doneBytes: 1, ...TOTAL });
    await first;
    const second = updates.next();
    clock.advance(249);
    job.tell({ doneBytes: 2, ...TOTAL });
    clock.advance(1);
    job.tell({ doneBytes: 3, ...TOTAL });
    assert.deepEqual((await second).value, progress(3));
    job.end.resolve('done');
    await updates.next();
  });

  it('keeps only the latest for a consumer that is slower', async () => {
    const { job, updates } = startJob(clock);
    const first = updates.next();
    job.tell({ doneBytes: 1, ...TOTAL });
    await first;
    for (let doneBytes = 2; doneBytes < 10; doneBytes++) {
      clock.advance(1000);
      job.tell({ doneBytes, ...TOTAL });
    }
    assert.deepEqual((await updates.next()).value, progress(9));
    job.end.resolve('done');
    assert.equal((await updates.next()).value?.type, 'report');
  });

  it('throws what the job throws', async () => {
    const { job, updates } = startJob(clock);
    const first = updates.next();
    job.end.reject(new ReapiError('unavailable', 'the disk is gone'));
    await assert.rejects(first, ofKind('unavailable'));
  });

  it('stops the job and waits for its end when the consumer leaves', async () => {
    const { job, updates } = startJob(clock);
    const first = updates.next();
    job.tell({ doneBytes: 1, ...TOTAL });
    await first;
    assert.equal(job.signal.aborted, false);
    await updates.return();
    assert.equal(job.signal.aborted, true);
    await assert.rejects(job.end.promise, ofKind('cancelled'));
  });

  it('stops the job when the call is cancelled, also while nothing is told', async () => {
    const call = new AbortController();
    const { updates } = startJob(clock, call.signal);
    const first = updates.next();
    call.abort();
    await assert.rejects(first, ofKind('cancelled'));
  });

  it('ends without a timer of its own', async () => {
    const { job, updates } = startJob(clock);
    const first = updates.next();
    job.end.resolve('done');
    await first;
    assert.equal(clock.armed, 0);
  });
});
