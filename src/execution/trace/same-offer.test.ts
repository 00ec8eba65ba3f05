import assert from 'node:assert/strict';
import type { WorkerOffer } from '../../platform/platform.ts';
import { sameOffer } from './same-offer.ts';

const offer = (changes: Partial<WorkerOffer> = {}): WorkerOffer => ({
  alternatives: [{ properties: [{ name: 'ISA', values: ['x86-64', 'x86-avx2'] }] }],
  digestFunctions: ['sha256'],
  legacyOutputs: true,
  capacity: [{ name: 'cores', amount: 4 }],
  sizeClass: 2,
  ...changes,
});

describe('sameOffer', () => {
  it('holds for another object that says the same', () => {
    assert.equal(sameOffer(offer(), offer()), true);
    const { capacity, sizeClass, ...rest } = offer();
    assert.equal(sameOffer(rest, { ...rest, capacity: [], sizeClass: 0 }), true);
  });

  for (const [what, changes] of [
    ['a value', { alternatives: [{ properties: [{ name: 'ISA', values: ['x86-64'] }] }] }],
    ['a name', { alternatives: [{ properties: [{ name: 'cpu', values: ['x86-64', 'x86-avx2'] }] }] }],
    ['an alternative', { alternatives: [...offer().alternatives, { properties: [] }] }],
    ['the digest functions', { digestFunctions: [] }],
    ['legacy outputs', { legacyOutputs: false }],
    ['the capacity', { capacity: [{ name: 'cores', amount: 8 }] }],
    ['what is counted', { capacity: [{ name: 'gpus', amount: 4 }] }],
    ['the size class', { sizeClass: 3 }],
  ] satisfies [string, Partial<WorkerOffer>][]) {
    it(`does not hold when ${what} differs`, () => {
      assert.equal(sameOffer(offer(), offer(changes)), false);
    });
  }
});
