import assert from 'node:assert/strict';
import fc from 'fast-check';
import { millisecondsOf, timestampOf } from './wire-times.ts';

describe('wire times', () => {
  it('have seconds and nanoseconds, also before 1970', () => {
    assert.deepEqual(timestampOf(1_500.25), { seconds: 1n, nanos: 500_250_000 });
    assert.deepEqual(timestampOf(-0.5), { seconds: -1n, nanos: 999_500_000 });
    assert.equal(millisecondsOf({ seconds: 3n, nanos: 1_000_000 }), 3_001);
  });

  it('law: come back as they went, and nanoseconds are in their range', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (ms) => {
        const time = timestampOf(ms);
        assert.ok(time.nanos >= 0 && time.nanos < 1e9);
        assert.ok(Math.abs(millisecondsOf(time) - ms) < 0.001);
      }),
    );
  });
});
