import type { Any } from '../../gen/google/protobuf/any.ts';
import type { InvocationState } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { FairnessOptions } from '../scheduler/options.ts';
import { orderOf, seniorityOf } from '../scheduler/order.ts';
import type { SchedulerView, SlotView, TaskView } from '../scheduler/view.ts';
import { type InvocationIds, invocationKey } from './invocation-id.ts';
import type { Queue, Queues } from './queues.ts';

/** A share in one queue: what Buildbarn calls an invocation. The root has no id. */
export interface Place {
  readonly id: Any | undefined;
  readonly children: ReadonlyMap<string, Place>;
  /** Queued operations of this very place, and of all below it. */
  readonly direct: number;
  readonly indirect: number;
  /** Tasks that run or are being recorded, here and below. */
  readonly tasks: number;
  /** Slots, here and below. */
  readonly executing: number;
  readonly idle: number;
  readonly idleSynchronizing: number;
}

interface GrowingPlace extends Place {
  readonly children: Map<string, GrowingPlace>;
  /** Of the share, among its siblings. */
  weight: number;
  /** Of its queued task that goes first; infinite without one. */
  order: number;
  seniority: number;
  direct: number;
  indirect: number;
  tasks: number;
  executing: number;
  idle: number;
  idleSynchronizing: number;
}

/** The tree of shares of each queue, as it is now. O(tasks + slots) to make. */
export class InvocationTrees {
  readonly #roots = new Map<string, GrowingPlace>();
  readonly #ids: InvocationIds;
  readonly #fairness: FairnessOptions;

  constructor(view: SchedulerView<unknown>, queues: Queues, ids: InvocationIds, fairness: FairnessOptions) {
    this.#ids = ids;
    this.#fairness = fairness;
    for (const task of view.tasks()) this.#addTask(task, queues.ofTask(task));
    for (const slot of view.slots()) {
      const queue = queues.ofPool(slot.pool);
      if (queue !== undefined) this.#addSlot(slot, queue);
    }
  }

  /** Where everything of a queue is below. */
  root(queue: Queue): Place {
    return this.#root(queue);
  }

  /** The place that ids lead to, if anything is there. */
  find(queue: Queue, ids: readonly Any[]): Place | undefined {
    return descend(this.#root(queue), ids.map(invocationKey));
  }

  /** The places below one that have anything queued, whose turn it is first. */
  inTurn(queue: Queue, ids: readonly Any[]): readonly Place[] {
    const keys = ids.map(invocationKey);
    const place = descend(this.#root(queue), keys);
    if (place === undefined) return [];
    const children = [...place.children].filter(([, child]) => hasQueued(child));
    const ranks = children.map(([key, child]) => ({ key, child, ...this.#rank(child, [...keys, key]) }));
    ranks.sort((a, b) => a.claim - b.claim || (a.key < b.key ? -1 : 1));
    return ranks.map(({ child }) => child);
  }

  #addTask(task: TaskView<unknown>, queue: Queue): void {
    const operations = task.operations.length;
    const isQueued = task.state === 'queued';
    const places = this.#path(queue, task.shares);
    for (const place of places) {
      if (isQueued) place.indirect += operations;
      else place.tasks++;
    }
    const last = places.at(-1);
    if (last === undefined || !isQueued) return;
    last.indirect -= operations;
    last.direct += operations;
    const order = orderOf(task, this.#fairness);
    if (order >= last.order) return;
    last.order = order;
    last.seniority = seniorityOf(task, this.#fairness);
  }

  #addSlot(slot: SlotView<unknown>, queue: Queue): void {
    const isBusy = slot.hold !== undefined;
    const isWaiting = isFree(slot);
    for (const place of this.#path(queue, isBusy ? (slot.task?.shares ?? []) : slot.lastShares)) {
      if (isBusy) place.executing++;
      else place.idle++;
      if (isWaiting) place.idleSynchronizing++;
    }
  }

  /** From the root to the place of these shares; what is missing is made. */
  #path(queue: Queue, shares: TaskView<unknown>['shares']): readonly GrowingPlace[] {
    let place = this.#root(queue);
    const path = [place];
    for (const [index, { key, any }] of this.#ids.of(shares).entries()) {
      let child = place.children.get(key);
      if (child === undefined) {
        child = emptyPlace(any);
        place.children.set(key, child);
      }
      child.weight = shares[index]?.weight ?? child.weight;
      path.push(child);
      place = child;
    }
    return path;
  }

  #root(queue: Queue): GrowingPlace {
    const known = this.#roots.get(queue.text);
    if (known !== undefined) return known;
    const root = emptyPlace(undefined);
    this.#roots.set(queue.text, root);
    return root;
  }

  /**
   * Where a place with queued tasks comes among its siblings, as the scheduler has it: half the claim for each doubling of what runs in
   * all queues, and the seniority of the task that goes first, which is its own or that of the child whose turn it is.
   */
  #rank(place: GrowingPlace, keys: readonly string[]): Rank {
    let seniority = place.direct > 0 ? place.seniority : Number.POSITIVE_INFINITY;
    let best = Number.POSITIVE_INFINITY;
    for (const [key, child] of place.direct > 0 ? [] : place.children) {
      if (!hasQueued(child)) continue;
      const rank = this.#rank(child, [...keys, key]);
      if (rank.claim >= best) continue;
      best = rank.claim;
      seniority = rank.seniority;
    }
    let running = 0;
    for (const root of this.#roots.values()) running += descend(root, keys)?.executing ?? 0;
    const { pointsPerDoubling } = this.#fairness;
    return { claim: pointsPerDoubling * Math.log2((running + 1) / place.weight) + seniority, seniority };
  }
}

/** Lower claims go first. */
interface Rank {
  readonly claim: number;
  readonly seniority: number;
}

/** Whether work can reach this slot at once. */
export function isFree(slot: SlotView<unknown>): boolean {
  return slot.isPolling && slot.hold === undefined && !slot.isDrained && !slot.isTerminating && !slot.prefersIdle;
}

/** Whether anything of a place is queued. */
export function hasQueued(place: Place): boolean {
  return place.direct + place.indirect > 0;
}

/** Whether anything of a place is queued or runs. */
export function isActive(place: Place): boolean {
  return hasQueued(place) || place.tasks > 0 || place.executing > 0;
}

/** The numbers of a place. */
export function placeToWire(place: Place): InvocationState {
  const children = [...place.children.values()];
  return {
    queuedOperationsCount: { direct: place.direct, indirect: place.indirect },
    executingWorkersCount: place.executing,
    idleWorkersCount: place.idle,
    idleSynchronizingWorkersCount: place.idleSynchronizing,
    childrenCount: children.length,
    activeChildrenCount: children.filter(isActive).length,
    queuedChildrenCount: children.filter(hasQueued).length,
  };
}

function descend(root: GrowingPlace, keys: readonly string[]): GrowingPlace | undefined {
  let place: GrowingPlace | undefined = root;
  for (const key of keys) place = place?.children.get(key);
  return place;
}

function emptyPlace(id: Any | undefined): GrowingPlace {
  return {
    id,
    children: new Map(),
    weight: 1,
    order: Number.POSITIVE_INFINITY,
    seniority: Number.POSITIVE_INFINITY,
    direct: 0,
    indirect: 0,
    tasks: 0,
    executing: 0,
    idle: 0,
    idleSynchronizing: 0,
  };
}
