import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DEFAULT_OPTIONS } from './options.ts';
import { type OrderFacts, orderOf, seniorityOf } from './order.ts';

const { fairness } = DEFAULT_OPTIONS;
const usual: OrderFacts = { priority: 0, queuedAtMs: 0, expectedMs: undefined };

const FACTS: fc.Arbitrary<OrderFacts> = fc.record({
  priority: fc.integer({ min: -2_000, max: 2_000 }),
  queuedAtMs: fc.nat(10_000_000),
  expectedMs: fc.option(fc.nat(5_000_000), { nil: undefined }),
});

describe('seniorityOf', () => {
  it('is the priority, and a point later for each minute that something came later (ageing)', () => {
    assert.equal(seniorityOf({ ...usual, priority: 7 }, fairness), 7);
    assert.equal(seniorityOf({ ...usual, queuedAtMs: 60_000 }, fairness), 1);
    assert.equal(seniorityOf({ ...usual, priority: -5, queuedAtMs: 120_000 }, fairness), -3);
  });

  it('takes extreme priorities for the limit, so that nothing waits for ever (R-EX-24)', () => {
    assert.equal(seniorityOf({ ...usual, priority: 2 ** 31 - 1 }, fairness), fairness.maxPriority);
    assert.equal(seniorityOf({ ...usual, priority: -(2 ** 31) }, fairness), -fairness.maxPriority);
  });

  it('law: whoever waited long enough is before everyone who comes later, whatever their priorities', () => {
    const boundMs = 2 * fairness.maxPriority * fairness.ageingMsPerPoint;
    fc.assert(
      fc.property(FACTS, FACTS, (first, other) => {
        const late = { ...other, queuedAtMs: first.queuedAtMs + boundMs + 1 };
        assert.ok(seniorityOf(first, fairness) < seniorityOf(late, fairness));
      }),
    );
  });

  it('law: does not depend on what is expected', () => {
    fc.assert(
      fc.property(FACTS, (facts) => {
        assert.equal(seniorityOf(facts, fairness), seniorityOf({ ...facts, expectedMs: undefined }, fairness));
      }),
    );
  });
});

describe('orderOf', () => {
  it('puts those first that are expected to take longest', () => {
    const [long, short] = [
      { ...usual, expectedMs: 60_000 },
      { ...usual, expectedMs: 1_000 },
    ];
    assert.ok(orderOf(long, fairness) < orderOf(short, fairness));
    assert.equal(orderOf(long, fairness), -fairness.longestFirst);
  });

  it('takes a task without history for one of `unknownMs`', () => {
    const known = { ...usual, expectedMs: fairness.unknownMs };
    assert.equal(orderOf(usual, fairness), orderOf(known, fairness));
  });

  it('believes no expectation above an hour', () => {
    const hour = { ...usual, expectedMs: 3_600_000 };
    assert.equal(orderOf({ ...usual, expectedMs: 1e12 }, fairness), orderOf(hour, fairness));
  });

  it('law: is the seniority where length does not count', () => {
    const blind = { ...fairness, longestFirst: 0 };
    fc.assert(
      fc.property(FACTS, (facts) => {
        assert.equal(orderOf(facts, blind), seniorityOf(facts, blind));
      }),
    );
  });

  it('law: the order of two tasks stays the same when both came later by the same time', () => {
    fc.assert(
      fc.property(
        FACTS,
        FACTS,
        fc.nat(1_000).map((minutes) => minutes * 60_000),
        (a, b, byMs) => {
          const later = (facts: OrderFacts): OrderFacts => ({ ...facts, queuedAtMs: facts.queuedAtMs + byMs });
          const before = orderOf(a, fairness) - orderOf(b, fairness);
          const after = orderOf(later(a), fairness) - orderOf(later(b), fairness);
          assert.ok(Math.abs(before - after) < 1e-6);
        },
      ),
    );
  });
});
