import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type HeapItem, IndexedHeap } from './indexed-heap.ts';

interface Numbered extends HeapItem {
  value: number;
  readonly order: number;
}

const byValue = (a: Numbered, b: Numbered): boolean => (a.value === b.value ? a.order < b.order : a.value < b.value);

type Command = { readonly type: 'push' | 'remove' | 'change'; readonly at: number; readonly value: number };

const COMMANDS: fc.Arbitrary<readonly Command[]> = fc.array(
  fc.record({ type: fc.constantFrom('push', 'push', 'remove', 'change'), at: fc.nat(50), value: fc.nat(9) }),
  { maxLength: 60 },
);

describe('IndexedHeap', () => {
  it('law: the first item is the one a sorted list would have, after any pushes, removals and changes', () => {
    fc.assert(
      fc.property(COMMANDS, (commands) => {
        const heap = new IndexedHeap<Numbered>(byValue);
        let naive: Numbered[] = [];
        for (const [order, { type, at, value }] of commands.entries()) {
          const chosen = naive[at % Math.max(1, naive.length)];
          if (type === 'push') {
            const item = { heapIndex: -1, value, order };
            naive.push(item);
            heap.push(item);
          } else if (chosen !== undefined && type === 'remove') {
            naive = naive.filter((item) => item !== chosen);
            heap.remove(chosen);
            assert.equal(chosen.heapIndex, -1);
          } else if (chosen !== undefined) {
            chosen.value = value;
            heap.update(chosen);
          }
          assert.equal(heap.size, naive.length);
          assert.equal(heap.peek(), [...naive].sort((a, b) => (byValue(a, b) ? -1 : 1))[0]);
          assert.ok(heap.items().every((item, index) => item.heapIndex === index));
        }
      }),
    );
  });

  it('ignores the removal of an item that is not inside', () => {
    const heap = new IndexedHeap<Numbered>(byValue);
    heap.push({ heapIndex: -1, value: 1, order: 0 });
    heap.remove({ heapIndex: -1, value: 1, order: 1 });
    assert.equal(heap.size, 1);
  });
});
