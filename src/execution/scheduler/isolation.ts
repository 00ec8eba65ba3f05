import type { Effects } from './effects.ts';
import type { Verdict } from './events.ts';
import type { Fleet } from './fleet.ts';
import type { FleetNode } from './fleet-node.ts';
import type { SchedulerOptions } from './options.ts';
import type { Pool } from './pool.ts';

/** Failures that may turn out to be the machine's; the oldest of more are believed. */
const MAX_DOUBTED = 1_000;

/** How an attempt ended on a node. */
export interface Ending<Work, Result> {
  readonly node: FleetNode<Work, Result>;
  readonly pool: Pool<Work, Result>;
  readonly verdict: Verdict;
  /** Tells actions apart. */
  readonly action: string;
}

/**
 * Finds nodes that fail differently from the rest, and gives them nothing more. A fault of the machinery counts at once. An action
 * that fails says nothing about the machine until the same action succeeds on another one.
 */
export class Isolation<Work, Result> {
  readonly #fleet: Fleet<Work, Result>;
  readonly #effects: Effects<Work, Result>;
  readonly #options: SchedulerOptions['isolation'];
  /** By action, the node it failed on. */
  readonly #doubted = new Map<string, string>();

  constructor(fleet: Fleet<Work, Result>, effects: Effects<Work, Result>, options: SchedulerOptions['isolation']) {
    this.#fleet = fleet;
    this.#effects = effects;
    this.#options = options;
  }

  note({ node, pool, verdict, action }: Ending<Work, Result>, nowMs: number): void {
    switch (verdict) {
      case 'worker-fault':
        this.#judge(node, node.note('bad', action, pool), nowMs);
        return;
      case 'success':
        node.note('good', action, pool);
        this.#clear({ node, pool, verdict, action }, nowMs);
        return;
      case 'failure':
        this.#doubt(action, node);
        return;
      case 'exhausted':
        return;
    }
  }

  #doubt(action: string, { name }: FleetNode<Work, Result>): void {
    this.#doubted.delete(action);
    this.#doubted.set(action, name);
    if (this.#doubted.size <= MAX_DOUBTED) return;
    for (const oldest of this.#doubted.keys()) {
      this.#doubted.delete(oldest);
      return;
    }
  }

  /** The action is good: if it failed on another node of the same kind, that was the machine, or chance. */
  #clear({ action, node, pool }: Ending<Work, Result>, nowMs: number): void {
    const name = this.#doubted.get(action);
    if (name === undefined) return;
    this.#doubted.delete(action);
    const other = name === node.name ? undefined : this.#fleet.node(name);
    const isAlike = other !== undefined && [...other.slots].some((slot) => slot.pool === pool);
    if (isAlike) this.#judge(other, other.note('bad', action, pool), nowMs);
  }

  #judge(node: FleetNode<Work, Result>, reason: string | undefined, nowMs: number): void {
    if (reason === undefined || node.isolation !== undefined) return;
    const mayBeIsolated = Math.max(1, Math.floor(this.#options.maxShare * this.#fleet.nodeCount));
    if (this.#fleet.isolatedCount >= mayBeIsolated || !this.#hasOthers(node)) return;
    this.#fleet.isolate(node, reason, nowMs + this.#options.forMs, nowMs);
    const text = `node ${node.name} gets no more work: ${reason}`;
    this.#effects.notice({ kind: 'node-isolated', node: node.name, text });
  }

  /** Whether another node takes work in every pool that this one has slots of. */
  #hasOthers(node: FleetNode<Work, Result>): boolean {
    const pools = new Set([...node.slots].map(({ pool }) => pool));
    for (const { slots } of pools) {
      if (![...slots].some((slot) => slot.node !== node && this.#fleet.isOpen(slot))) return false;
    }
    return true;
  }
}
