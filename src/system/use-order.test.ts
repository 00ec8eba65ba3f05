import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Placed, UseOrder } from './use-order.ts';

interface Member extends Placed<Member> {
  readonly name: number;
}

function member(name: number): Member {
  return { name, older: undefined, newer: undefined, place: 0 };
}

function names(order: UseOrder<Member>, towards: 'older' | 'newer' = 'newer'): number[] {
  return [...order.walk(towards)].map(({ name }) => name);
}

describe('UseOrder', () => {
  it('keeps members in order of use, in both directions', () => {
    const order = new UseOrder<Member>();
    const members = [0, 1, 2, 3].map(member);
    for (const each of members) order.add(each);
    const [first, second, , last] = members;
    assert.ok(first && second && last);
    order.renew(first);
    order.remove(second);
    order.renew(last);
    assert.deepEqual([names(order), names(order, 'older'), order.oldest?.name], [[2, 0, 3], [3, 0, 2], 2]);
    for (const each of [first, last, ...members.slice(2, 3)]) order.remove(each);
    assert.deepEqual([names(order), order.oldest], [[], undefined]);
  });

  it('sorts, leaving equals as they were', () => {
    const order = new UseOrder<Member>();
    for (const name of [5, 2, 4, 1]) order.add(member(name));
    order.sort((a, b) => (a.name % 2) - (b.name % 2));
    assert.deepEqual(names(order), [2, 4, 5, 1]);
    order.add(member(7));
    assert.deepEqual(names(order, 'older'), [7, 1, 5, 4, 2]);
  });

  it('ends a walk although every member it gives is used again', () => {
    const order = new UseOrder<Member>();
    for (const name of [1, 2, 3]) order.add(member(name));
    const given: number[] = [];
    for (const each of order.walk('newer')) {
      given.push(each.name);
      order.renew(each);
    }
    assert.deepEqual(given, [1, 2, 3]);
    assert.deepEqual(names(order), [1, 2, 3]);
  });

  it('law: a walk gives what stays in place once, and what moves, leaves or comes at most once, whatever happens on the way', () => {
    const change = fc.record({ type: fc.constantFrom('add', 'remove', 'renew', 'pause'), at: fc.nat(7) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), fc.constantFrom('older', 'newer'), (changes, towards) => {
        const order = new UseOrder<Member>();
        const present = new Map(Array.from({ length: 8 }, (_, name) => [name, member(name)]));
        for (const each of present.values()) order.add(each);
        const untouched = new Set(present.keys());
        const left = [...changes];
        const given: number[] = [];
        for (const each of order.walk(towards)) {
          given.push(each.name);
          for (let next = left.shift(); next !== undefined && next.type !== 'pause'; next = left.shift()) {
            const known = present.get(next.at);
            untouched.delete(next.at);
            if (next.type === 'add' && known === undefined) {
              const added = member(next.at + 100);
              present.set(next.at, added);
              order.add(added);
            } else if (next.type === 'renew' && known !== undefined) {
              order.renew(known);
            } else if (next.type === 'remove' && known !== undefined) {
              order.remove(known);
              present.delete(next.at);
            }
          }
        }
        assert.equal(new Set(given).size, given.length);
        const kept = given.filter((name) => untouched.has(name));
        assert.deepEqual(kept, towards === 'newer' ? [...untouched] : [...untouched].reverse());
        assert.ok(given.every((name) => name < 100));
        assert.equal(names(order).length, present.size);
      }),
    );
  });
});
