import type { ScalingView } from './scaling-pool.ts';
import { type PoolPlan, type ScalingOptions, type ScalingState, wantedWorkers } from './wanted-workers.ts';

/** A scheduler, as far as scaling looks at it. */
export interface FleetSource {
  readonly view: ScalingView;
  /** The scheduler's time. */
  nowMs(): number;
}

/** What a plan is made by, and how often. */
export interface FleetPlanOptions extends Omit<ScalingOptions, 'drain'> {
  /** Counted from the start: until then workers come back that another server knew, and nobody can say which are missing. */
  readonly settleMs: number;
  /** A plan is used for so long: looking costs by the number of slots. */
  readonly refreshMs: number;
}

/** Askers with a `drainMs` of their own whose plans are remembered; beyond it those not asked for longest start anew. */
const MAX_VARIANTS = 100;

interface Variant {
  readonly atMs: number;
  readonly plans: readonly PoolPlan[];
  readonly state: ScalingState;
}

/** What is wanted of the fleet right now: the same for all who ask at the same time, with the memory that `wantedWorkers` needs. */
export class FleetPlan {
  readonly #source: FleetSource;
  readonly #options: FleetPlanOptions;
  readonly #settledMs: number;
  readonly #variants = new Map<string, Variant>();

  constructor(source: FleetSource, options: FleetPlanOptions) {
    this.#source = source;
    this.#options = options;
    this.#settledMs = source.nowMs() + options.settleMs;
  }

  /** Before that nobody should act on `wantedWorkers`: it would stop workers that are just coming back. */
  get isSettled(): boolean {
    return this.#source.nowMs() >= this.#settledMs;
  }

  /** Every pool, configured ones first. */
  plans(drain?: ScalingOptions['drain']): readonly PoolPlan[] {
    const nowMs = this.#source.nowMs();
    const key = drain === undefined ? '' : `${drain.drainMs} ${drain.name}`;
    const before = this.#variants.get(key);
    const isSettled = this.isSettled;
    const wasSettled = before !== undefined && before.atMs >= this.#settledMs;
    if (before !== undefined && nowMs - before.atMs < this.#options.refreshMs && isSettled === wasSettled) {
      return before.plans;
    }
    const options = { pools: this.#options.pools, ...(drain === undefined ? {} : { drain }) };
    const state: ScalingState = before !== undefined && wasSettled ? before.state : new Map();
    const variant = { atMs: nowMs, ...wantedWorkers(this.#source.view, options, nowMs, state) };
    this.#variants.delete(key);
    this.#variants.set(key, variant);
    const [oldest] = this.#variants.keys();
    if (this.#variants.size > MAX_VARIANTS && oldest !== undefined) this.#variants.delete(oldest);
    return variant.plans;
  }
}
