import type { InstanceName } from '../../digest/instance-name.ts';
import { explainRefusal } from '../../platform/explain-refusal.ts';
import { heldBytes, type InputSketch } from '../../platform/locality.ts';
import type { PlatformMatcher } from '../../platform/platform.ts';
import type { Demand } from './demand.ts';
import { firstOf } from './fair-queue.ts';
import type { Fleet } from './fleet.ts';
import type { FleetNode } from './fleet-node.ts';
import type { PoolOptions } from './options.ts';
import type { Pool, Slot } from './pool.ts';
import type { Queue } from './queue.ts';
import type { Task } from './task.ts';

/** Nodes whose caches are compared for one task: enough to find a good one, and few enough to cost microseconds. */
const MAX_COMPARED_NODES = 16;

/** So many kinds of tasks that find no room on a node are passed over one after the other. Of more those without room are left out at once. */
const MAX_TURNS_IN_VAIN = 16;

/**
 * Who fits whom. A slot's question costs by the number of demands that fit it, a task's by the number of pools that wait
 * (and of waiting nodes, while they have too little left of what it takes).
 */
export class Placement<Work, Result> {
  readonly #matcher: PlatformMatcher;
  readonly #queue: Queue<Work, Result>;
  readonly #fleet: Fleet<Work, Result>;

  constructor(matcher: PlatformMatcher, queue: Queue<Work, Result>, fleet: Fleet<Work, Result>) {
    this.#matcher = matcher;
    this.#queue = queue;
    this.#fleet = fleet;
  }

  /** Tells a new demand which pools fit. */
  linkDemand(demand: Demand<Work, Result>): void {
    for (const pool of this.#fleet.pools) this.#link(demand, pool);
  }

  /** Tells all demands of a new pool. */
  linkPool(pool: Pool<Work, Result>): void {
    pool.home ??= this.#homeOf(pool);
    for (const demand of this.#queue.allDemands) this.#link(demand, pool);
  }

  /** Tells all demands that a pool is gone. */
  unlinkPool(pool: Pool<Work, Result>): void {
    for (const demand of this.#queue.allDemands) demand.pools.delete(pool);
  }

  /** The queued task this open slot should run, or undefined. */
  taskFor(slot: Slot<Work, Result>): Task<Work, Result> | undefined {
    let candidates: Demand<Work, Result>[] = [];
    for (const demand of slot.pool.demands) {
      if (!this.#isAvoided(demand, slot)) candidates.push(demand);
    }
    const { node } = slot;
    let barred: ReadonlySet<string> | undefined;
    for (let turn = 1; ; turn++) {
      const task = firstOf(candidates.map(({ queue }) => queue));
      if (task === undefined) return undefined;
      const { demand } = task;
      const hasRoom = (other: Demand<Work, Result>): boolean => node.hasRoom(other.takes) && !isBarred(other, barred);
      if (hasRoom(demand)) return task;
      if (this.#reserve(demand, node)) barred = new Set(demand.takes.map(({ name }) => name));
      candidates = candidates.filter((other) => {
        return other !== demand && (turn < MAX_TURNS_IN_VAIN || hasRoom(other) || this.#mayReserve(other, node));
      });
    }
  }

  /** What this slot would probably get next, whatever its node has left now. */
  nextFor(slot: Slot<Work, Result>): Task<Work, Result> | undefined {
    return firstOf([...slot.pool.demands].map(({ queue }) => queue));
  }

  /**
   * The waiting slot that should run this queued task: of the pools that satisfy most preferences the one of the smallest size class, there
   * the node that holds most of its inputs, and among equals the slot that has waited longest.
   */
  slotFor(demand: Demand<Work, Result>, inputs: InputSketch | undefined): Slot<Work, Result> | undefined {
    if (demand.lookedInVain === this.#fleet.version) return undefined;
    let avoided: Slot<Work, Result> | undefined;
    for (const pool of waitingPools(demand)) {
      const found = this.#slotIn(pool, demand, inputs);
      if (found === undefined) continue;
      if (!demand.avoids.has(found.node.name)) return found;
      avoided ??= found;
    }
    if (avoided !== undefined && !this.#hasOtherNode(demand)) return avoided;
    // A demand that avoids nodes gets one also when another goes away, which the version does not tell.
    if (demand.avoids.size === 0) demand.lookedInVain = this.#fleet.version;
    return undefined;
  }

  /** A waiting slot for a second attempt of a task that runs, on another node. */
  hedgeFor({ demand, leases }: Task<Work, Result>): Slot<Work, Result> | undefined {
    if (demand.lookedInVain === this.#fleet.version) return undefined;
    const taken = new Set(leases.map(({ node }) => node.name));
    let isAnyUsable = false;
    for (const pool of waitingPools(demand)) {
      for (const slot of pool.waiting) {
        if (!isUsable(slot.node, demand)) continue;
        if (!taken.has(slot.node.name)) return slot;
        isAnyUsable = true;
      }
    }
    // Stragglers may be many, and alike.
    if (!isAnyUsable) demand.lookedInVain = this.#fleet.version;
    return undefined;
  }

  /** Whether the slot fits, and its node has enough left. */
  couldRun(demand: Demand<Work, Result>, { node, pool }: Slot<Work, Result>): boolean {
    return this.fits(demand, pool) && isUsable(node, demand);
  }

  /** Whether some worker that fits is connected, a configured pool fits, or, `remembered`, one was connected a short while ago. */
  hasWorkers(demand: Demand<Work, Result>): 'connected' | 'configured' | 'remembered' | 'none' {
    let best: 'configured' | 'remembered' | 'none' = 'none';
    for (const { slots, configured } of demand.pools.keys()) {
      if (slots.size > 0) return 'connected';
      if (configured !== undefined) best = 'configured';
      else if (best === 'none') best = 'remembered';
    }
    return best;
  }

  /**
   * The largest size class that could run it, whatever its own; 0 if there are none.
   * @param isWorthWaiting counts configured pools without workers too; else there is a slot that takes work.
   */
  largestClass({ instance, needs }: Pick<Demand<Work, Result>, 'instance' | 'needs'>, isWorthWaiting: boolean): number {
    let largest = 0;
    for (const pool of this.#fleet.pools) {
      const { prefix, offer, sizeClass } = pool;
      if (sizeClass <= largest || !serves(prefix, instance)) continue;
      if (!this.#matcher.match(offer, needs).fits) continue;
      if (this.#isOpen(pool) || (isWorthWaiting && pool.configured !== undefined)) largest = sizeClass;
    }
    return largest;
  }

  #isOpen({ slots }: Pool<Work, Result>): boolean {
    for (const slot of slots) if (this.#fleet.isOpen(slot)) return true;
    return false;
  }

  /** Why no connected worker can run the tasks of this demand. */
  explain(demand: Demand<Work, Result>): string {
    const offers = [];
    let hasAny = false;
    for (const { slots, prefix, offer, sizeClass } of this.#fleet.pools) {
      for (const slot of slots) {
        hasAny = true;
        if (serves(prefix, demand.instance) && isLargeEnough(sizeClass, demand))
          offers.push({ name: slot.name, offer });
        break;
      }
    }
    if (hasAny && offers.length === 0) {
      const size = demand.sizeClass === 0 ? '' : ` in size class ${demand.sizeClass} or above`;
      return `no connected worker serves the instance name "${demand.instance}"${size}`;
    }
    return explainRefusal(this.#matcher, demand.needs, offers);
  }

  #homeOf({ prefix, offer, sizeClass }: Pool<Work, Result>): PoolOptions | undefined {
    for (const { configured } of this.#fleet.pools) {
      if (configured === undefined || configured.prefix !== prefix) continue;
      if ((configured.offer.sizeClass ?? 0) !== sizeClass) continue;
      if (this.#matcher.match(offer, configured.needs).fits) return configured;
    }
    return undefined;
  }

  #link(demand: Demand<Work, Result>, pool: Pool<Work, Result>): void {
    if (!this.fits(demand, pool)) return;
    demand.pools.set(pool, this.#matcher.preferred(pool.offer, demand.needs));
    if (demand.queue.size > 0) pool.demands.add(demand);
  }

  /** Whether slots of this pool may run tasks of this demand: instance name (R-BB-15), size class (R-BB-22) and platform. */
  fits(demand: Demand<Work, Result>, { prefix, offer, sizeClass }: Pool<Work, Result>): boolean {
    if (!serves(prefix, demand.instance) || !isLargeEnough(sizeClass, demand)) return false;
    return this.#matcher.match(offer, demand.needs).fits;
  }

  #slotIn(
    pool: Pool<Work, Result>,
    demand: Demand<Work, Result>,
    inputs: InputSketch | undefined,
  ): Slot<Work, Result> | undefined {
    const looked = new Set<FleetNode<Work, Result>>();
    let best: Slot<Work, Result> | undefined;
    let mostHeld = 0;
    let avoided: Slot<Work, Result> | undefined;
    let compared = 0;
    for (const slot of pool.waiting) {
      const { node } = slot;
      if (looked.has(node)) continue;
      looked.add(node);
      if (!isUsable(node, demand)) continue;
      if (demand.avoids.has(node.name)) {
        avoided ??= slot;
        continue;
      }
      best ??= slot;
      if (inputs === undefined || inputs.length === 0) break;
      const held = node.sketch === undefined ? 0 : heldBytes(node.sketch, inputs);
      if (held > mostHeld) {
        best = slot;
        mostHeld = held;
      }
      compared++;
      if (compared === MAX_COMPARED_NODES) break;
    }
    return best ?? avoided;
  }

  /** Begins to empty the node for the demand whose turn it is. Whether the node is being emptied for it. */
  #reserve(demand: Demand<Work, Result>, node: FleetNode<Work, Result>): boolean {
    if (!this.#mayReserve(demand, node)) return false;
    demand.reservation = node;
    node.reservation = demand;
    return true;
  }

  /** Whether `#reserve` would be answered with yes. */
  #mayReserve(demand: Demand<Work, Result>, node: FleetNode<Work, Result>): boolean {
    return node.reservation === demand || (node.reservation === undefined && demand.reservation === undefined);
  }

  #isAvoided(demand: Demand<Work, Result>, slot: Slot<Work, Result>): boolean {
    return demand.avoids.has(slot.node.name) && this.#hasOtherNode(demand);
  }

  /** Whether an open slot fits whose node the demand need not avoid, busy or not: then waiting for it is worth while. */
  #hasOtherNode(demand: Demand<Work, Result>): boolean {
    for (const { slots } of demand.pools.keys()) {
      for (const slot of slots) {
        if (!demand.avoids.has(slot.node.name) && this.#fleet.isOpen(slot)) return true;
      }
    }
    return false;
  }
}

/** Pools with waiting slots: first those with most preferences, then the smallest size class. */
function waitingPools<Work, Result>(demand: Demand<Work, Result>): readonly Pool<Work, Result>[] {
  const waiting = [...demand.pools].filter(([{ waiting }]) => waiting.size > 0);
  if (waiting.length > 1) {
    waiting.sort(([a, preferredA], [b, preferredB]) =>
      preferredA === preferredB ? comparePools(a, b) : preferredB - preferredA,
    );
  }
  return waiting.map(([pool]) => pool);
}

/** The longest prefix first (R-BB-15), then smaller machines; among equals the pool whose slot has waited longest. */
function comparePools<Work, Result>(a: Pool<Work, Result>, b: Pool<Work, Result>): number {
  return b.prefix.length - a.prefix.length || a.sizeClass - b.sizeClass || waitingSince(a) - waitingSince(b);
}

function waitingSince<Work, Result>({ waiting }: Pool<Work, Result>): number {
  for (const slot of waiting) return slot.waitingSince;
  return Number.POSITIVE_INFINITY;
}

/** Whether the node has enough left, and is not being emptied for others. */
export function isUsable<Work, Result>(node: FleetNode<Work, Result>, demand: Demand<Work, Result>): boolean {
  if (!node.hasRoom(demand.takes)) return false;
  const { reservation } = node;
  if (reservation === undefined || reservation === demand) return true;
  return !isBarred(demand, new Set(reservation.takes.map(({ name }) => name)));
}

/** Whether it takes something that is being kept for others. */
function isBarred<Work, Result>({ takes }: Demand<Work, Result>, names: ReadonlySet<string> | undefined): boolean {
  return names !== undefined && takes.some(({ name }) => names.has(name));
}

function isLargeEnough<Work, Result>(sizeClass: number, demand: Demand<Work, Result>): boolean {
  return demand.sizeClass === 0 || sizeClass >= demand.sizeClass;
}

/** Whether a worker with this prefix serves the instance name: it is the prefix or lies below it (R-BB-14). */
export function serves(prefix: InstanceName, instance: InstanceName): boolean {
  return prefix === '' || instance === prefix || instance.startsWith(`${prefix}/`);
}
