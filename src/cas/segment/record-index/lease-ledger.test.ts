import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BugError } from '../../../errors.ts';
import { LeaseLedger } from './lease-ledger.ts';

describe('LeaseLedger', () => {
  it('holds bytes until the lease time after they were touched', () => {
    const ledger = new LeaseLedger({ leaseSeconds: 60 });
    ledger.hold(100, 5);
    ledger.hold(10, 20);
    assert.equal(ledger.heldBytes(5), 110);
    assert.equal(ledger.heldBytes(64), 110);
    assert.equal(ledger.heldBytes(65), 10);
    assert.equal(ledger.heldBytes(79), 10);
    assert.equal(ledger.heldBytes(80), 0);
  });

  it('says when the next bytes become free', () => {
    const ledger = new LeaseLedger({ leaseSeconds: 60 });
    assert.equal(ledger.secondsUntilRelease(0), 0);
    ledger.hold(1, 5);
    ledger.hold(1, 30);
    assert.equal(ledger.secondsUntilRelease(10), 55);
    assert.equal(ledger.secondsUntilRelease(65), 25);
    assert.equal(ledger.secondsUntilRelease(90), 0);
  });

  it('forgets what is dropped, and takes a drop after the end for nothing', () => {
    const ledger = new LeaseLedger({ leaseSeconds: 60 });
    ledger.hold(100, 5);
    ledger.hold(10, 5);
    ledger.drop(100, 5);
    assert.equal(ledger.heldBytes(5), 10);
    assert.equal(ledger.heldBytes(65), 0);
    ledger.drop(10, 5);
    assert.equal(ledger.heldBytes(65), 0);
  });

  it('holds nothing that was touched too long ago, nor anything without a lease time', () => {
    const ledger = new LeaseLedger({ leaseSeconds: 60 });
    assert.equal(ledger.heldBytes(1000), 0);
    ledger.hold(100, 940);
    ledger.hold(10, 941);
    assert.equal(ledger.heldBytes(1000), 10);
    const none = new LeaseLedger({ leaseSeconds: 0 });
    none.hold(100, 5);
    assert.equal(none.heldBytes(5), 0);
    assert.equal(none.secondsUntilRelease(5), 0);
    none.drop(100, 5);
    assert.equal(none.heldBytes(5), 0);
  });

  it('is exact to a 64th of a long lease time, on the side of holding', () => {
    const day = 86_400;
    const step = day / 64;
    const ledger = new LeaseLedger({ leaseSeconds: day });
    ledger.hold(1, step + 1);
    assert.equal(ledger.heldBytes(day + step + 1), 1);
    assert.equal(ledger.secondsUntilRelease(day + step + 1), step - 1);
    assert.equal(ledger.heldBytes(day + 2 * step), 0);
  });

  it('takes years of history in its stride', () => {
    const ledger = new LeaseLedger({ leaseSeconds: 60 });
    for (const touched of [0, 10, 1_000_000, 2 ** 32 - 61]) ledger.hold(7, touched);
    assert.equal(ledger.heldBytes(2 ** 32 - 61), 7);
    assert.equal(ledger.heldBytes(2 ** 32 - 1), 0);
  });

  it('counts what was touched up to a lease time ahead of the clock without releasing others', () => {
    const ledger = new LeaseLedger({ leaseSeconds: 64 });
    ledger.hold(1, 1000);
    ledger.hold(2, 1064);
    assert.equal(ledger.heldBytes(1000), 3);
    assert.equal(ledger.heldBytes(1064), 2);
  });

  it('takes dropping more than is held for a bug', () => {
    const ledger = new LeaseLedger({ leaseSeconds: 60 });
    ledger.hold(1, 5);
    assert.throws(() => ledger.drop(2, 5), BugError);
  });

  it('law: agrees with a list of all holds, up to a step too long and never too short', () => {
    const step = fc.record({
      act: fc.constantFrom('hold' as const, 'drop' as const, 'wait' as const),
      bytes: fc.nat(1000),
      ago: fc.nat(400),
      pick: fc.nat(),
      seconds: fc.oneof(fc.nat(20), fc.nat(2000)),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.array(step, { maxLength: 60 }), (leaseSeconds, steps) => {
        const ledger = new LeaseLedger({ leaseSeconds });
        const granule = Math.max(1, Math.ceil(leaseSeconds / 64));
        const holds: { bytes: number; touched: number }[] = [];
        let now = 0;
        for (const { act, bytes, ago, pick, seconds } of steps) {
          if (act === 'wait') now += seconds;
          if (act === 'hold') {
            const hold = { bytes, touched: Math.max(0, now - ago) };
            holds.push(hold);
            ledger.hold(hold.bytes, hold.touched);
          }
          if (act === 'drop') {
            const [hold] = holds.length === 0 ? [] : holds.splice(pick % holds.length, 1);
            if (hold !== undefined) ledger.drop(hold.bytes, hold.touched);
          }
          const heldAt = (time: number): number =>
            holds.filter(({ touched }) => time < touched + leaseSeconds).reduce((sum, hold) => sum + hold.bytes, 0);
          const held = ledger.heldBytes(now);
          assert.ok(held >= heldAt(now), 'nothing is free too early');
          assert.ok(held <= heldAt(now - granule + 1), 'nothing is held longer than a step');
          const wait = ledger.secondsUntilRelease(now);
          assert.equal(wait > 0, held > 0);
        }
      }),
    );
  });
});
