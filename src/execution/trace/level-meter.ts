/** Most bins of a meter: about a point a pixel of a picture. */
const MAX_BINS = 512;

/** Width of the bins at first. */
const FIRST_BIN_MS = 100;

/** Remembers a level that goes up and down, as its mean in bins of time that get wider as time goes on. O(1) a change, on average. */
export class LevelMeter {
  #binMs = FIRST_BIN_MS;
  /** Level times milliseconds. */
  #sums: number[] = [];
  /** Where the first bin begins; all other times here are counted from it. */
  #originMs = 0;
  #level = 0;
  #sinceMs = 0;
  #most = 0;

  /** The level now. */
  get level(): number {
    return this.#level;
  }

  /** The highest level so far. */
  get most(): number {
    return this.#most;
  }

  /** Forgets what was before: the level stays, and means are of what comes. */
  restart(nowMs: number): void {
    this.#originMs = nowMs;
    this.#sinceMs = 0;
    this.#sums = [];
    this.#binMs = FIRST_BIN_MS;
    this.#most = this.#level;
  }

  /** The level is another by so much from now on. Time never goes back. */
  add(by: number, nowMs: number): void {
    this.#fill(nowMs - this.#originMs);
    this.#level += by;
    this.#most = Math.max(this.#most, this.#level);
  }

  /** Means until `endMs`, in so many bins. */
  means(endMs: number, bins: number): readonly number[] {
    const lengthMs = endMs - this.#originMs;
    this.#fill(lengthMs);
    const width = lengthMs / bins;
    return Array.from({ length: bins }, (_, at) => this.#between(at * width, (at + 1) * width) / width);
  }

  #fill(untilMs: number): void {
    while (untilMs > this.#binMs * MAX_BINS) this.#widen();
    for (let at = this.#sinceMs; at < untilMs; ) {
      const bin = Math.floor(at / this.#binMs);
      const end = Math.min(untilMs, (bin + 1) * this.#binMs);
      this.#sums[bin] = (this.#sums[bin] ?? 0) + this.#level * (end - at);
      at = end;
    }
    this.#sinceMs = Math.max(this.#sinceMs, untilMs);
  }

  #widen(): void {
    const pairs = Math.ceil(this.#sums.length / 2);
    this.#sums = Array.from({ length: pairs }, (_, at) => (this.#sums[2 * at] ?? 0) + (this.#sums[2 * at + 1] ?? 0));
    this.#binMs *= 2;
  }

  /** Level times milliseconds in a span; within a bin the level is taken to be its mean. */
  #between(startMs: number, endMs: number): number {
    let sum = 0;
    for (let bin = Math.floor(startMs / this.#binMs); bin * this.#binMs < endMs; bin++) {
      const from = bin * this.#binMs;
      // The newest bin is not full yet.
      const to = Math.min(from + this.#binMs, this.#sinceMs);
      const overlap = Math.min(endMs, to) - Math.max(startMs, from);
      if (overlap > 0) sum += ((this.#sums[bin] ?? 0) * overlap) / (to - from);
    }
    return sum;
  }
}
