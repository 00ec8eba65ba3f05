/** Something with a priority that waits for a task. */
export interface Waiting {
  /** Lower is better. */
  readonly priority: number;
}

/**
 * Those who wait for one task, in the order in which they came. Nearly always it is one, and there may be a hundred thousand tasks: one
 * takes no collection. Of a popular action it may be thousands, so nothing here costs by their number.
 */
export class Waiters<T extends Waiting> {
  #one: T | undefined;
  #all: Set<T> | undefined;
  #best = Number.POSITIVE_INFINITY;
  /** How many have the best priority. */
  #bestCount = 0;

  get size(): number {
    return this.#all?.size ?? (this.#one === undefined ? 0 : 1);
  }

  /** The one that came first. */
  get first(): T | undefined {
    if (this.#all === undefined) return this.#one;
    for (const item of this.#all) return item;
    return undefined;
  }

  /** The best priority; infinite if nobody waits. */
  get best(): number {
    return this.#best;
  }

  *[Symbol.iterator](): Iterator<T> {
    if (this.#all !== undefined) yield* this.#all;
    else if (this.#one !== undefined) yield this.#one;
  }

  add(item: T): void {
    if (this.size === 0 && this.#all === undefined) this.#one = item;
    else {
      this.#all ??= new Set(this);
      this.#all.add(item);
      this.#one = undefined;
    }
    if (item.priority < this.#best) {
      this.#best = item.priority;
      this.#bestCount = 1;
    } else if (item.priority === this.#best) this.#bestCount++;
  }

  /** Does nothing if it does not wait. */
  delete(item: T): void {
    if (this.#all === undefined) {
      if (this.#one !== item) return;
      this.#one = undefined;
    } else if (!this.#all.delete(item)) return;
    if (item.priority === this.#best) this.#bestCount--;
    if (this.#bestCount === 0) this.#findBest();
  }

  /** Takes all of them out. */
  take(): readonly T[] {
    const all = [...this];
    this.#one = undefined;
    this.#all = undefined;
    this.#findBest();
    return all;
  }

  #findBest(): void {
    this.#best = Number.POSITIVE_INFINITY;
    for (const { priority } of this) {
      if (priority < this.#best) this.#bestCount = 0;
      if (priority <= this.#best) this.#bestCount++;
      this.#best = Math.min(this.#best, priority);
    }
    if (this.size === 0) this.#bestCount = 0;
  }
}
