import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type GroupMember, TargetGroups } from './target-groups.ts';

interface Member extends GroupMember<Member> {
  readonly name: number;
}

const member = (name: number): Member => ({ name, group: undefined, older: undefined, newer: undefined });

describe('TargetGroups', () => {
  it('law: keeps the order of last use in each group, and no empty groups, as a naive model does', () => {
    const steps = fc.array(fc.record({ member: fc.nat({ max: 7 }), target: fc.option(fc.nat({ max: 2 })) }));
    const law = fc.property(steps, (list) => {
      const groups = new TargetGroups<Member>();
      const members = Array.from({ length: 8 }, (_, index) => member(index));
      const model = new Map<string, number[]>();
      for (const step of list) {
        const moved = members[step.member];
        assert.ok(moved);
        for (const [target, names] of model)
          model.set(
            target,
            names.filter((name) => name !== moved.name),
          );
        if (step.target === null) groups.leave(moved);
        else {
          groups.move(moved, groups.open('', `${step.target}`, 'm'));
          model.set(`${step.target}`, [moved.name, ...(model.get(`${step.target}`) ?? [])]);
        }
        for (const [target, names] of model) if (names.length === 0) model.delete(target);
      }
      assert.equal(groups.size, model.size);
      for (const [target, names] of model) {
        const found: number[] = [];
        for (let at = groups.open('', target, 'm').newest; at !== undefined; at = at.older) found.push(at.name);
        assert.deepEqual(found, names);
      }
    });
    fc.assert(law, { numRuns: 100 });
  });

  it('keeps instance names, targets and mnemonics apart', () => {
    const groups = new TargetGroups<Member>();
    const names = [
      ['', 'a', 'm'],
      ['i', 'a', 'm'],
      ['', 'b', 'm'],
      ['', 'a', 'n'],
    ] as const;
    names.forEach(([instance, target, mnemonic], index) => {
      groups.move(member(index), groups.open(instance, target, mnemonic));
    });
    assert.equal(groups.size, 4);
    assert.equal(groups.open('', 'a', 'n').newest?.name, 3);
  });
});
