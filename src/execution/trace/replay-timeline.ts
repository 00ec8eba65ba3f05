interface Entry {
  readonly atMs: number;
  /** What was planned first happens first. */
  readonly order: number;
  readonly act: () => void;
}

/** Simulated time: it jumps from one thing that happens to the next. */
export class ReplayTimeline {
  #nowMs = 0;
  #orders = 0;
  /** A binary heap. */
  readonly #entries: Entry[] = [];

  /** Milliseconds since the start of the trace. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Lets something happen at a time, or now if that is over. O(log n). */
  at(atMs: number, act: () => void): void {
    const entry = { atMs: Math.max(atMs, this.#nowMs), order: this.#orders++, act };
    let index = this.#entries.push(entry) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = this.#entries[above];
      if (parent === undefined || !comesBefore(entry, parent)) break;
      this.#entries[index] = parent;
      index = above;
    }
    this.#entries[index] = entry;
  }

  /** Moves to the next thing and lets it happen; false if there is none until `endMs`. O(log n). */
  step(endMs: number): boolean {
    const [next] = this.#entries;
    if (next === undefined || next.atMs > endMs) return false;
    const last = this.#entries.pop();
    if (last !== undefined && last !== next) this.#sink(last);
    this.#nowMs = next.atMs;
    next.act();
    return true;
  }

  /** Puts an entry at the top and lets it down to its place. */
  #sink(entry: Entry): void {
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const [one, other] = [this.#entries[left], this.#entries[left + 1]];
      if (one === undefined) break;
      const isOther = other !== undefined && comesBefore(other, one);
      const child = isOther ? other : one;
      if (!comesBefore(child, entry)) break;
      this.#entries[index] = child;
      index = isOther ? left + 1 : left;
    }
    this.#entries[index] = entry;
  }
}

function comesBefore(a: Entry, b: Entry): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
}
