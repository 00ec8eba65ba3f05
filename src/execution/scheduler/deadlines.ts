import { type HeapItem, IndexedHeap } from './indexed-heap.ts';

/** Something that happens at a time unless it is set to another or cleared. */
export class Deadline implements HeapItem {
  heapIndex = -1;
  atMs = 0;
  /** Arrival number: equal times fall due in the order in which they were set. */
  order = 0;
  readonly onDue: (nowMs: number) => void;

  constructor(onDue: (nowMs: number) => void) {
    this.onDue = onDue;
  }

  get isSet(): boolean {
    return this.heapIndex >= 0;
  }
}

/** All deadlines that are set, earliest first. */
export class Deadlines {
  readonly #heap = new IndexedHeap<Deadline>((a, b) => (a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs));
  #orders = 0;

  /** Sets it, or sets it anew. */
  set(deadline: Deadline, atMs: number): void {
    this.#heap.remove(deadline);
    deadline.atMs = atMs;
    deadline.order = this.#orders++;
    this.#heap.push(deadline);
  }

  clear(deadline: Deadline): void {
    this.#heap.remove(deadline);
  }

  /** Time of the earliest, or undefined if none is set. */
  get nextMs(): number | undefined {
    return this.#heap.peek()?.atMs;
  }

  /** Runs what is due, one after the other, including what that sets for a time not after `nowMs`. */
  run(nowMs: number): void {
    for (;;) {
      const first = this.#heap.peek();
      if (first === undefined || first.atMs > nowMs) return;
      this.#heap.remove(first);
      first.onDue(nowMs);
    }
  }
}
