import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fromWire, toWire, WireClock } from './wire-clock.ts';

describe('WireClock', () => {
  it('says when something was by the clock on the wall', () => {
    const clock = new WireClock((schedulerMs) => schedulerMs + 1_700_000_000_000);
    assert.deepEqual(clock.timestamp(1_234.5), { seconds: 1_700_000_001n, nanos: 234_500_000 });
  });

  it('says the same of the same moment while the clocks drift, and follows a jump', () => {
    let wallAtZeroMs = 5_000_000;
    const clock = new WireClock((schedulerMs) => schedulerMs + wallAtZeroMs);
    wallAtZeroMs += 999;
    clock.adjust();
    assert.equal(clock.microseconds(1), 5_000_001_000);
    wallAtZeroMs += 3_600_000;
    clock.adjust();
    assert.equal(clock.microseconds(1), 8_601_000_000);
  });
});

describe('toWire and fromWire', () => {
  it('take an absent time for 0', () => {
    assert.equal(fromWire(undefined), 0);
  });

  it('drop what is below a microsecond', () => {
    assert.equal(fromWire({ seconds: 1n, nanos: 1_999 }), 1_000_001);
  });

  it('law: every microsecond comes back', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e15, max: 4e15 }), (microseconds) => {
        const wire = toWire(microseconds);
        assert.ok(wire.nanos >= 0 && wire.nanos < 1e9 && Number.isInteger(wire.nanos));
        assert.equal(fromWire(wire), microseconds);
      }),
    );
  });
});
