import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Age, Ages } from './ages.ts';

interface Thing {
  readonly queuedAtMs: number;
  age: Age<Thing> | undefined;
}

describe('Ages', () => {
  it('law: knows the oldest, whatever comes, comes back and goes', () => {
    const step = fc.record({ isAddition: fc.boolean(), queuedAtMs: fc.nat(20), at: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ages = new Ages<Thing>();
        let naive: Thing[] = [];
        for (const { isAddition, queuedAtMs, at } of steps) {
          const thing: Thing = { queuedAtMs, age: undefined };
          if (isAddition) {
            ages.add(thing);
            naive.push(thing);
          } else {
            const gone = naive[at % Math.max(1, naive.length)] ?? thing;
            ages.remove(gone);
            assert.equal(gone.age, undefined);
            naive = naive.filter((other) => other !== gone);
          }
          const oldestMs = Math.min(Number.POSITIVE_INFINITY, ...naive.map((each) => each.queuedAtMs));
          assert.equal(ages.oldest?.queuedAtMs ?? Number.POSITIVE_INFINITY, oldestMs);
        }
      }),
    );
  });
});
