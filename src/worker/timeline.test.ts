import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { Timeline } from './timeline.ts';
import { durationOf, millisecondsOf, timestampOf } from './wire-time.ts';

describe('Timeline', () => {
  it('stays in order when the wall clock is set back meanwhile (R-EX-50)', () => {
    const clock = new FakeClock(10_000);
    const timeline = new Timeline(clock);
    clock.advance(1000);
    timeline.mark('executionStartTimestamp');
    clock.jump(-5000);
    clock.advance(1000);
    timeline.mark('executionCompletedTimestamp');
    const metadata = timeline.metadata('w', undefined);
    assert.deepEqual(metadata.executionStartTimestamp, timestampOf(11_000));
    assert.deepEqual(metadata.executionCompletedTimestamp, timestampOf(12_000));
    assert.deepEqual(metadata.workerCompletedTimestamp, timestampOf(12_000));
  });

  it('sets every moment, giving those never reached the time of the next that was', () => {
    const clock = new FakeClock(10_000);
    const timeline = new Timeline(clock);
    clock.advance(500);
    const metadata = timeline.metadata('w', undefined);
    assert.deepEqual(metadata.workerStartTimestamp, timestampOf(10_000));
    assert.deepEqual(metadata.inputFetchStartTimestamp, timestampOf(10_500));
    assert.deepEqual(metadata.outputUploadCompletedTimestamp, timestampOf(10_500));
  });

  it('never says that an action was queued after it started, whatever the scheduler’s clock', () => {
    const timeline = new Timeline(new FakeClock(10_000));
    assert.deepEqual(timeline.metadata('w', timestampOf(99_000)).queuedTimestamp, timestampOf(10_000));
    assert.deepEqual(timeline.metadata('w', timestampOf(9_000)).queuedTimestamp, timestampOf(9_000));
  });
});

describe('wire times', () => {
  it('keep fractions of milliseconds and never reach a whole second of nanoseconds', () => {
    assert.deepEqual(timestampOf(1500.25), { seconds: 1n, nanos: 500_250_000 });
    assert.equal(timestampOf(1999.9999999).nanos, 999_999_999);
    assert.equal(millisecondsOf(timestampOf(1500.25)), 1500.25);
    assert.deepEqual(durationOf(-1), { seconds: 0n, nanos: 0 });
  });
});
