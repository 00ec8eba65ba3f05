import type { InstanceName } from '../../digest/instance-name.ts';
import { explainRefusal } from '../../platform/explain-refusal.ts';
import type { PlatformMatcher } from '../../platform/platform.ts';
import type { Fleet, OfferGroup, Slot } from './fleet.ts';
import { comesBefore, type Queue, type TaskGroup } from './queue.ts';
import type { Task } from './task.ts';

/**
 * Who fits whom. Answers questions about queue and fleet and changes neither.
 * A slot's question costs by the number of groups of queued tasks, a task's by the number of different offers that wait.
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

  /** Whether slots of this offer may run tasks of this group: instance name (R-BB-15) and platform. */
  fits(group: TaskGroup<Work, Result>, offers: OfferGroup<Work, Result>): boolean {
    const known = group.fits.get(offers);
    if (known !== undefined) return known;
    const fits = serves(offers.prefix, group.instance) && this.#matcher.match(offers.offer, group.needs).fits;
    group.fits.set(offers, fits);
    return fits;
  }

  /** The queued task this open slot should run, or undefined. */
  taskFor(slot: Slot<Work, Result>): Task<Work, Result> | undefined {
    let best: Task<Work, Result> | undefined;
    for (const group of this.#queue.groups) {
      if (!this.fits(group, slot.offers)) continue;
      const first = group.tasks.peek();
      if (first === undefined || (best !== undefined && !comesBefore(first, best))) continue;
      if (group.avoids.has(slot.node) && this.#hasOtherNode(group)) continue;
      best = first;
    }
    return best;
  }

  /** The waiting slot that should run the next task of this group: the one that has waited longest. */
  slotFor(group: TaskGroup<Work, Result>): Slot<Work, Result> | undefined {
    let avoided: Slot<Work, Result> | undefined;
    let found: Slot<Work, Result> | undefined;
    for (const offers of this.#fleet.waitingOffers) {
      if (!this.fits(group, offers)) continue;
      for (const slot of offers.waiting) {
        if (group.avoids.has(slot.node)) {
          avoided = earlier(avoided, slot);
        } else {
          found = earlier(found, slot);
          break;
        }
      }
    }
    if (found !== undefined || avoided === undefined) return found;
    return this.#hasOtherNode(group) ? undefined : avoided;
  }

  /** Whether some worker that fits is connected, or `remembered`, whether one was until a short while ago. */
  hasWorkers(group: TaskGroup<Work, Result>): boolean | 'remembered' {
    let isRemembered = false;
    for (const offers of this.#fleet.offers) {
      if (!this.fits(group, offers)) continue;
      if (offers.slots.size > 0) return true;
      isRemembered = true;
    }
    return isRemembered ? 'remembered' : false;
  }

  /** Why no connected worker can run the tasks of this group. */
  explain(group: TaskGroup<Work, Result>): string {
    const offers = [];
    let hasAny = false;
    for (const { slots, prefix, offer } of this.#fleet.offers) {
      for (const slot of slots) {
        hasAny = true;
        if (serves(prefix, group.instance)) offers.push({ name: slot.name, offer });
        break;
      }
    }
    if (hasAny && offers.length === 0) return `no connected worker serves the instance name "${group.instance}"`;
    return explainRefusal(this.#matcher, group.needs, offers);
  }

  /** Whether an open slot fits whose node the group need not avoid, busy or not: then waiting for it is worth while. */
  #hasOtherNode(group: TaskGroup<Work, Result>): boolean {
    for (const offers of this.#fleet.offers) {
      if (!this.fits(group, offers)) continue;
      for (const slot of offers.slots) {
        if (!group.avoids.has(slot.node) && this.#fleet.isOpen(slot)) return true;
      }
    }
    return false;
  }
}

/** Whether a worker with this prefix serves the instance name: it is the prefix or lies below it (R-BB-14). */
function serves(prefix: InstanceName, instance: InstanceName): boolean {
  return prefix === '' || instance === prefix || instance.startsWith(`${prefix}/`);
}

function earlier<Work, Result>(a: Slot<Work, Result> | undefined, b: Slot<Work, Result>): Slot<Work, Result> {
  return a === undefined || b.waitingSince < a.waitingSince ? b : a;
}
