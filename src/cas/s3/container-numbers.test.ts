import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BugError } from '../../errors.ts';
import { ContainerNumbers } from './container-numbers.ts';
import type { ContainerId } from './object-names.ts';

const WRITER = '0123456789abcdef';
const NONCE = 'a1a2a3a4';

describe('ContainerNumbers', () => {
  it('gives ids of this writer and this start, one number after the other', () => {
    const numbers = new ContainerNumbers(WRITER, NONCE);
    assert.deepEqual([numbers.writer, numbers.nonce], [WRITER, NONCE]);
    assert.deepEqual(numbers.take(), { writer: WRITER, number: 0, nonce: NONCE });
    assert.deepEqual(numbers.take(), { writer: WRITER, number: 1, nonce: NONCE });
  });

  it('goes on above everything that was seen, of whichever writer', () => {
    const seen = { maxNumber: 7 };
    const numbers = new ContainerNumbers(WRITER, NONCE, seen);
    assert.equal(numbers.take().number, 8);
    seen.maxNumber = 90;
    assert.equal(numbers.take().number, 91);
    seen.maxNumber = 20;
    assert.equal(numbers.take().number, 92);
  });

  it('goes on above the floor that an earlier start published, which others do not look below', () => {
    const numbers = new ContainerNumbers(WRITER, NONCE, { maxNumber: 3 });
    numbers.sawFloor(12);
    assert.equal(numbers.floor, 12);
    assert.equal(numbers.take().number, 12);
  });

  it('keeps its floor at the lowest number whose object may still appear', () => {
    const numbers = new ContainerNumbers(WRITER, NONCE, { maxNumber: 4 });
    const [first, second, third] = [numbers.take(), numbers.take(), numbers.take()];
    numbers.settle(second);
    assert.equal(numbers.floor, 5);
    numbers.settle(first);
    assert.equal(numbers.floor, 7);
    numbers.settle(third);
    assert.equal(numbers.floor, 8);
  });

  it('refuses to settle a number twice', () => {
    const numbers = new ContainerNumbers(WRITER, NONCE);
    const id = numbers.take();
    numbers.settle(id);
    assert.throws(() => numbers.settle(id), BugError);
  });

  it('law: no number is given twice, and the floor never falls nor passes one in use', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('take' as const) }),
      fc.record({ kind: fc.constant('settle' as const), pick: fc.nat() }),
      fc.record({ kind: fc.constant('saw' as const), number: fc.nat({ max: 50 }) }),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const seen = { maxNumber: -1 };
        const numbers = new ContainerNumbers(WRITER, NONCE, seen);
        const inUse: ContainerId[] = [];
        const given = new Set<number>();
        let floor = 0;
        for (const step of steps) {
          if (step.kind === 'saw') seen.maxNumber = Math.max(seen.maxNumber, step.number);
          else if (step.kind === 'take') {
            const id = numbers.take();
            assert.ok(!given.has(id.number));
            given.add(id.number);
            inUse.push(id);
          } else {
            const [settled] = inUse.splice(step.pick % Math.max(1, inUse.length), 1);
            if (settled !== undefined) numbers.settle(settled);
          }
          assert.ok(numbers.floor >= floor);
          floor = numbers.floor;
          for (const { number } of inUse) assert.ok(floor <= number);
        }
      }),
    );
  });
});
