import assert from 'node:assert/strict';
import { type Fault, type FaultRates, seededPlan } from './faulty-s3-plan.ts';

const DRAWS = 10_000;

const RATES: FaultRates = {
  status: 0.1,
  'fail-after': 0.1,
  reset: 0.1,
  stall: 0.1,
  'slow-first-byte': 0.1,
  truncate: 0.1,
  shorten: 0.1,
  corrupt: 0.1,
};

function draws(seed: number, rates: FaultRates): readonly (Fault | undefined)[] {
  const plan = seededPlan(seed, rates);
  return Array.from({ length: DRAWS }, (_, index) =>
    plan({ method: 'GET', path: '/bucket/key', query: new URLSearchParams(), operation: 'GetObject', index }),
  );
}

describe('seededPlan', () => {
  it('draws the same for the same seed and other things for another', () => {
    assert.deepEqual(draws(1, RATES), draws(1, RATES));
    assert.notDeepEqual(draws(1, RATES), draws(2, RATES));
  });

  it('draws each kind as often as told, and lets the others pass', () => {
    const all = draws(3, RATES);
    for (const kind of Object.keys(RATES)) {
      const share = all.filter((fault) => fault?.kind === kind).length / DRAWS;
      assert.ok(share > 0.09 && share < 0.11, `${kind}: ${share}`);
    }
    assert.ok(draws(3, {}).every((fault) => fault === undefined));
    assert.ok(draws(3, { reset: 1 }).every((fault) => fault?.kind === 'reset'));
  });

  it('draws one fault for one number, whatever came before', () => {
    const plan = seededPlan(4, RATES);
    const alone = plan({ method: 'PUT', path: '/', query: new URLSearchParams(), operation: 'Other', index: 77 });
    assert.deepEqual(alone, draws(4, RATES)[77]);
  });

  it('cuts both messages, near their beginning and far into them', () => {
    const cuts = draws(5, { reset: 1 }).flatMap((fault) => (fault?.kind === 'reset' ? [fault] : []));
    const shareOf = (isSo: (cut: (typeof cuts)[number]) => boolean): number => cuts.filter(isSo).length / DRAWS;
    assert.ok(Math.abs(shareOf(({ of }) => of === 'request') - 0.5) < 0.05);
    assert.ok(Math.abs(shareOf(({ afterBytes }) => afterBytes < 2 ** 11) - 0.5) < 0.05);
    assert.ok(cuts.every(({ afterBytes }) => Number.isInteger(afterBytes) && afterBytes >= 0 && afterBytes < 2 ** 22));
  });

  it('refuses only with what passes', () => {
    const refusals = draws(6, { status: 1 }).flatMap((fault) => (fault?.kind === 'status' ? [fault.code] : []));
    const codes = ['InternalError', 'RequestTimeout', 'ServiceUnavailable', 'SlowDown'];
    assert.deepEqual([...new Set(refusals)].toSorted(), codes);
  });
});
