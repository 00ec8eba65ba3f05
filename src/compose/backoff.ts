import type { Random } from '../system/random.ts';

/** Shape of a growing pause between attempts. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** An attempt that lasted this long starts the series anew. */
  readonly healthyMs: number;
}

/** Pauses that double with every quick failure, with a tenth of jitter. */
export class Backoff {
  readonly #random: Random;
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(random: Random, options: BackoffOptions) {
    this.#random = random;
    this.#options = options;
  }

  /** The pause after an attempt that lasted `ranMs`, in milliseconds. */
  next(ranMs: number): number {
    const { firstMs, maxMs, healthyMs } = this.#options;
    this.#failures = ranMs >= healthyMs ? 1 : this.#failures + 1;
    const pauseMs = Math.min(maxMs, firstMs * 2 ** (this.#failures - 1));
    return pauseMs * (0.9 + 0.2 * this.#random.fraction());
  }
}
