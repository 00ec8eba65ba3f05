import type { CacheSketch } from '../../platform/locality.ts';
import type { Amount } from '../../platform/platform.ts';
import type { Deadline } from './deadlines.ts';
import type { Demand } from './demand.ts';
import { NodeRecord } from './node-record.ts';
import type { IsolationOptions } from './options.ts';
import type { Pool, Slot } from './pool.ts';

/** Amounts have up to six decimals, and sums of them errors. */
const TOLERANCE = 1e-6;

/** One machine: its slots share what it has. */
export class FleetNode<Work, Result> {
  readonly name: string;
  readonly slots = new Set<Slot<Work, Result>>();
  /** What it has cached, as far as it said. */
  sketch: CacheSketch | undefined;
  /** The demand it is being emptied for. */
  reservation: Demand<Work, Result> | undefined;
  /** Why it gets nothing; undefined if it does. */
  isolation: { readonly reason: string; readonly sinceMs: number; readonly probation: Deadline } | undefined;
  #capacity: readonly Amount[] = [];
  readonly #taken = new Map<string, number>();
  readonly #record: NodeRecord;
  /** Where its results are counted too. */
  #recordPool: Pool<Work, Result> | undefined;

  constructor(name: string, isolation: IsolationOptions) {
    this.name = name;
    this.#record = new NodeRecord(isolation);
  }

  /** Takes note of how an attempt on one of its slots ended. Answers why the node looks broken, or undefined. */
  note(quality: 'good' | 'bad', action: string, pool: Pool<Work, Result>): string | undefined {
    // A node may have slots of several pools: they are counted with the first, as long as it has one of those.
    if (this.#recordPool !== pool && !this.#hasSlotOf(this.#recordPool)) {
      this.resetRecord();
      this.#recordPool = pool;
    }
    const { results } = this.#recordPool ?? pool;
    this.#record.note(quality, action, results);
    return this.#record.trouble(results);
  }

  #hasSlotOf(pool: Pool<Work, Result> | undefined): boolean {
    if (pool === undefined) return false;
    for (const slot of this.slots) if (slot.pool === pool) return true;
    return false;
  }

  /** Forgets how attempts ended. */
  resetRecord(): void {
    if (this.#recordPool !== undefined) this.#record.reset(this.#recordPool.results);
    this.#recordPool = undefined;
  }

  /** Sets what it has, as the newest offer says. Whether that is something else than before. */
  setCapacity(amounts: readonly Amount[]): boolean {
    const before = this.#capacity;
    this.#capacity = amounts;
    const isEqual = (amount: Amount, index: number): boolean =>
      before[index]?.name === amount.name && before[index].amount === amount.amount;
    return before.length !== amounts.length || !amounts.every(isEqual);
  }

  /** What is left of something; infinite if nobody said how much there is. */
  freeOf(name: string): number {
    return this.#has(name) - (this.#taken.get(name) ?? 0);
  }

  /** Whether so much is left. What needs more than the whole node is content with the whole node. */
  hasRoom(takes: readonly Amount[]): boolean {
    for (const { name, amount } of takes) {
      const taken = this.#taken.get(name) ?? 0;
      if (taken > 0 && taken + amount > this.#has(name) + TOLERANCE) return false;
    }
    return true;
  }

  take(takes: readonly Amount[]): void {
    for (const { name, amount } of takes) this.#taken.set(name, (this.#taken.get(name) ?? 0) + amount);
  }

  give(takes: readonly Amount[]): void {
    for (const { name, amount } of takes) {
      const left = (this.#taken.get(name) ?? 0) - amount;
      // Fractions must not add up to a rest that nobody holds.
      if (left > TOLERANCE) this.#taken.set(name, left);
      else this.#taken.delete(name);
    }
  }

  #has(name: string): number {
    return this.#capacity.find((amount) => amount.name === name)?.amount ?? Number.POSITIVE_INFINITY;
  }
}
