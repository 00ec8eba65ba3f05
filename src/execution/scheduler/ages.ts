import { type HeapItem, IndexedHeap } from './indexed-heap.ts';

/** Something queued at a time, and its place among others by that. */
export interface Age<T> extends HeapItem {
  readonly item: T;
  readonly queuedAtMs: number;
}

/** What is ordered by age. */
export interface Aged<T> {
  readonly queuedAtMs: number;
  /** Kept by `Ages`; undefined outside. */
  age: Age<T> | undefined;
}

/** Things by the time since which they are queued. */
export class Ages<T extends Aged<T>> {
  readonly #heap = new IndexedHeap<Age<T>>((a, b) => a.queuedAtMs < b.queuedAtMs);

  get oldest(): T | undefined {
    return this.#heap.peek()?.item;
  }

  add(item: T): void {
    item.age = { heapIndex: -1, item, queuedAtMs: item.queuedAtMs };
    this.#heap.push(item.age);
  }

  /** Does nothing if it is not inside. */
  remove(item: T): void {
    if (item.age === undefined) return;
    this.#heap.remove(item.age);
    item.age = undefined;
  }
}
