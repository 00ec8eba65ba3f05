import { invariant } from '../../../errors.ts';

/** Above this share of buckets in use their number doubles: a miss then takes about 3 probes, in one or two cache lines. */
const MAX_LOAD = 0.6;
const MIN_BUCKETS = 1024;

/**
 * The buckets of an open-addressing table with linear probing. A bucket is two cells: a link (0 = empty), and the 32-bit hash it
 * was put in under, so that neither a probe that misses, nor growing, nor closing a gap looks at what is linked.
 *
 * Whoever looks for something probes: from `start(hash)` by `next` to the first link that is 0.
 */
export class HashBuckets {
  readonly #addend0: number;
  readonly #factor0: number;
  readonly #addend1: number;
  readonly #factor1: number;
  #cells: Int32Array;
  #mask: number;
  #used = 0;

  /** @param options seed: 32 bits nobody can guess, else keys could be chosen so that they all fall into one bucket. */
  constructor(options: { readonly seed: number; readonly expectedLinks: number }) {
    this.#addend0 = spread(options.seed, 1);
    this.#factor0 = spread(options.seed, 2) | 1;
    this.#addend1 = spread(options.seed, 3);
    this.#factor1 = spread(options.seed, 4) | 1;
    let count = MIN_BUCKETS;
    while (count * MAX_LOAD < options.expectedLinks) count *= 2;
    this.#cells = new Int32Array(count * 2);
    this.#mask = count - 1;
  }

  get count(): number {
    return this.#mask + 1;
  }

  get memoryBytes(): number {
    return this.#cells.byteLength;
  }

  /** The hash of two words. The factors are secret too: with secret addends alone, keys could be found that collide always. */
  hash(word0: number, word1: number): number {
    let mixed = Math.imul(word0 ^ this.#addend0, this.#factor0);
    mixed = Math.imul(mixed ^ (mixed >>> 15) ^ word1 ^ this.#addend1, this.#factor1);
    mixed = Math.imul(mixed ^ (mixed >>> 16), this.#factor0);
    return mixed ^ (mixed >>> 15);
  }

  /** The bucket where probing for a hash begins. */
  start(hash: number): number {
    return hash & this.#mask;
  }

  next(bucket: number): number {
    return (bucket + 1) & this.#mask;
  }

  link(bucket: number): number {
    return this.#cells[bucket * 2] ?? 0;
  }

  /** Of a bucket that is in use. */
  hashAt(bucket: number): number {
    return this.#cells[bucket * 2 + 1] ?? 0;
  }

  /** Puts in a link other than 0, which is not there yet. Now and then this takes time for all of them: the buckets double. */
  insert(link: number, hash: number): void {
    if (this.#used + 1 > this.count * MAX_LOAD) this.#grow();
    this.#used++;
    this.#place(link, hash);
  }

  /** Takes out what was put in. */
  remove(link: number, hash: number): void {
    let bucket = this.start(hash);
    while (this.link(bucket) !== link) {
      invariant(this.link(bucket) !== 0, 'what is removed was put in');
      bucket = this.next(bucket);
    }
    this.#used--;
    this.#empty(bucket);
  }

  /** Empties a bucket, after moving those behind it up that could no longer be found past the gap. */
  #empty(bucket: number): void {
    let gap = bucket;
    for (let at = this.next(gap); this.link(at) !== 0; at = this.next(at)) {
      const fromHome = (at - this.start(this.hashAt(at))) & this.#mask;
      if (fromHome < ((at - gap) & this.#mask)) continue;
      this.#cells.copyWithin(gap * 2, at * 2, at * 2 + 2);
      gap = at;
    }
    this.#cells.fill(0, gap * 2, gap * 2 + 2);
  }

  #grow(): void {
    const old = this.#cells;
    this.#cells = new Int32Array(old.length * 2);
    this.#mask = old.length - 1;
    for (let at = 0; at < old.length; at += 2) {
      const link = old[at] ?? 0;
      if (link !== 0) this.#place(link, old[at + 1] ?? 0);
    }
  }

  #place(link: number, hash: number): void {
    let bucket = this.start(hash);
    while (this.link(bucket) !== 0) bucket = this.next(bucket);
    this.#cells[bucket * 2] = link;
    this.#cells[bucket * 2 + 1] = hash;
  }
}

/** The `index`-th number of a counter-based generator. */
function spread(seed: number, index: number): number {
  let value = (seed + Math.imul(index, 0x9e3779b9)) | 0;
  value = Math.imul(value ^ (value >>> 16), 0x21f0aaad);
  value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
  return value ^ (value >>> 15);
}
