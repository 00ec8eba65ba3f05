import type { IsolationOptions } from './options.ts';

/** The last results of the nodes of a pool, together. */
export interface PoolResults {
  all: number;
  bad: number;
  /** Nodes with results, and those that failed the last times. */
  nodes: number;
  failing: number;
}

/** A node whose results are so much worse than those of the rest is isolated: at least this share is bad … */
const BAD_SHARE = 0.5;
/** … and it is so many times that of the rest, which is taken to be at least … */
const TIMES_WORSE = 4;
/** … this, so that one fault elsewhere does not decide. */
const LEAST_BAD_SHARE = 0.05;

/** So many failures in a row are a streak. */
const STREAK = 2;
/** When more than this share of the others is in one, it is not the machine. */
const MAX_FAILING_SHARE = 0.1;

/** The last results of one node that say something about machines, to tell a broken one from broken actions. */
export class NodeRecord {
  readonly #options: IsolationOptions;
  /** The last results, true for bad ones; the oldest is overwritten at `#next`. */
  readonly #results: boolean[] = [];
  #next = 0;
  #bad = 0;
  #badInARow = 0;
  #lastBad = '';
  #isCounted = false;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  /** Takes note of a result, here and in the results of the pool. @param action tells actions apart. */
  note(quality: 'good' | 'bad', action: string, pool: PoolResults): void {
    const isBad = quality === 'bad';
    if (!this.#isCounted) pool.nodes++;
    this.#isCounted = true;
    const wasFailing = this.#isFailing;
    if (!isBad) this.#badInARow = 0;
    else if (this.#lastBad !== action) {
      // The same action again says nothing new about the machine.
      this.#badInARow++;
      this.#lastBad = action;
    }
    pool.failing += Number(this.#isFailing) - Number(wasFailing);
    const { window } = this.#options;
    if (window === 0) return;
    if (this.#results.length === window) this.#forgetOldest(pool);
    this.#results[this.#next] = isBad;
    this.#next = (this.#next + 1) % window;
    pool.all++;
    if (!isBad) return;
    this.#bad++;
    pool.bad++;
  }

  /** Takes the results of a node that has gone out of those of its pool, and starts anew. */
  reset(pool: PoolResults): void {
    pool.all -= this.#results.length;
    pool.bad -= this.#bad;
    pool.nodes -= Number(this.#isCounted);
    pool.failing -= Number(this.#isFailing);
    this.#isCounted = false;
    this.#results.length = 0;
    this.#next = 0;
    this.#bad = 0;
    this.#badInARow = 0;
    this.#lastBad = '';
  }

  /** Why the node looks broken, or undefined. When all fail alike, none is to blame. */
  trouble(pool: PoolResults): string | undefined {
    const { faultsInARow, window } = this.#options;
    const all = this.#results.length;
    const [othersAll, othersBad] = [pool.all - all, pool.bad - this.#bad];
    const othersShare = othersAll === 0 ? 1 : Math.max(othersBad / othersAll, LEAST_BAD_SHARE);
    if (TIMES_WORSE * othersShare > 1 || this.#areOthersFailing(pool)) return undefined;
    if (faultsInARow > 0 && this.#badInARow >= faultsInARow) {
      return `it failed ${this.#badInARow} times in a row, with different actions`;
    }
    if (window === 0 || all < window / 2 || othersAll < window / 2) return undefined;
    const share = this.#bad / all;
    if (share < BAD_SHARE || share < TIMES_WORSE * othersShare) return undefined;
    return `${this.#bad} of its last ${all} actions failed by its fault, and ${othersBad} of ${othersAll} on the other machines of its kind`;
  }

  get #isFailing(): boolean {
    return this.#badInARow >= STREAK;
  }

  /** The share of bad results lags behind an outage that hits all at once. */
  #areOthersFailing({ nodes, failing }: PoolResults): boolean {
    return failing - Number(this.#isFailing) > MAX_FAILING_SHARE * (nodes - 1);
  }

  #forgetOldest(pool: PoolResults): void {
    if (this.#results[this.#next] === true) {
      this.#bad--;
      pool.bad--;
    }
    pool.all--;
  }
}
