import { type HeapItem, IndexedHeap } from '../../src/execution/scheduler/indexed-heap.ts';

interface Entry extends HeapItem {
  readonly atMs: number;
  readonly order: number;
  readonly act: () => void;
}

/** Time of the simulated world: it jumps from one thing that happens to the next. */
export class Timeline {
  nowMs = 0;
  #orders = 0;
  readonly #entries = new IndexedHeap<Entry>((a, b) => (a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs));

  /** Lets something happen `delayMs` from now. */
  after(delayMs: number, act: () => void): void {
    this.#entries.push({ heapIndex: -1, atMs: this.nowMs + delayMs, order: this.#orders++, act });
  }

  /** Moves to the next thing and lets it happen. False if nothing is left until `endMs`. */
  step(endMs: number): boolean {
    const next = this.#entries.peek();
    if (next === undefined || next.atMs > endMs) return false;
    this.#entries.remove(next);
    this.nowMs = next.atMs;
    next.act();
    return true;
  }
}
