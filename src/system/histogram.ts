/** Upper bounds of the times a store takes, in seconds: from a lookup in memory to a disk that hangs. */
export const FAST_SECONDS: readonly number[] = [
  ...[0.000_002, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005],
  ...[0.01, 0.025, 0.05, 0.1, 0.25, 1, 10],
];

/** Sorts values into buckets. An observation costs some nanoseconds and allocates nothing, so hot paths may have one. */
export class Histogram {
  readonly #bounds: Float64Array;
  /** By bucket, not cumulative; the last one is for what is above every bound. */
  readonly #counts: Float64Array;
  /** A field of a typed array: a sum in a plain field would be allocated anew whenever it changes. */
  readonly #sum = new Float64Array(1);

  /** @param bounds upper bounds, ascending, each part of its bucket. */
  constructor(bounds: readonly number[]) {
    this.#bounds = Float64Array.from(bounds);
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Counts one value, which is a number. */
  observe(value: number): void {
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= (bounds[middle] ?? Number.POSITIVE_INFINITY)) high = middle;
      else low = middle + 1;
    }
    this.#counts[low] = (this.#counts[low] ?? 0) + 1;
    this.#sum[0] = this.sum + value;
  }

  /** Total of all values. */
  get sum(): number {
    return this.#sum[0] ?? 0;
  }

  /** Number of all values. */
  get count(): number {
    return this.#counts.reduce((total, count) => total + count, 0);
  }

  /** Each upper bound with the number of values up to it; the last one is infinite. */
  *cumulative(): Iterable<readonly [bound: number, count: number]> {
    let total = 0;
    for (const [index, count] of this.#counts.entries()) {
      total += count;
      yield [this.#bounds[index] ?? Number.POSITIVE_INFINITY, total];
    }
  }
}
