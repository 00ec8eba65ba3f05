import type { Clock } from '../../system/clock.ts';
import type { InvocationTrees } from './invocation-tree.ts';

/** Trees that were made faster than this are made again for whoever asks. */
const CHEAP_MS = 10;

/** Others are given to all who ask within so many times as long as they took: the scheduler has nearly all of the time. */
const KEPT_PER_COST = 20;

/** But never for longer. */
const MAX_KEPT_MS = 10_000;

/** The trees of shares, as they are now or were a moment ago: with 100,000 tasks in the queue, making them holds up everything else. */
export class KeptTrees {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #kept: { readonly trees: InvocationTrees; readonly untilMs: number } | undefined;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  get(make: () => InvocationTrees): InvocationTrees {
    const startMs = this.#clock.monotonicMs();
    if (this.#kept !== undefined && startMs < this.#kept.untilMs) return this.#kept.trees;
    const trees = make();
    const endMs = this.#clock.monotonicMs();
    const costMs = endMs - startMs;
    const keptMs = Math.min(KEPT_PER_COST * costMs, MAX_KEPT_MS);
    this.#kept = costMs < CHEAP_MS ? undefined : { trees, untilMs: endMs + keptMs };
    return trees;
  }
}
