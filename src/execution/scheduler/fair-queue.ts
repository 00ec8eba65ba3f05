import { type HeapItem, IndexedHeap } from './indexed-heap.ts';
import { type ClaimListener, putBackOf, type Share } from './shares.ts';

/** What can be queued: it has a place in its innermost share. */
export interface Queueable extends HeapItem {
  readonly share: Share;
  /** Inside the share lower goes first; equal ones by `arrival`, which is unique. */
  readonly order: number;
  readonly arrival: number;
  /** What it adds to the claim of its share while it is the first there. */
  readonly seniority: number;
  readonly queuedAtMs: number;
}

/** A share in one queue. */
interface ShareNode<T extends Queueable> extends HeapItem {
  readonly share: Share;
  readonly parent: ShareNode<T> | undefined;
  readonly below: IndexedHeap<ShareNode<T>>;
  readonly tasks: IndexedHeap<T>;
  /** Seniority, arrival and time of queueing of the task that goes first below it. */
  seniority: number;
  arrival: number;
  queuedAtMs: number;
}

/**
 * Tasks with the same demands, in fair order: among siblings the share with the lowest claim plus seniority of its first task goes
 * first (put back by `putBackOf` since it was served), and in the innermost share the task with the lowest order. All terms are points that do not change as time
 * passes, so the order changes by events alone. Every change is O(levels · log n).
 */
export class FairQueue<T extends Queueable> implements ClaimListener {
  readonly #outermost = new IndexedHeap<ShareNode<T>>(comesBefore);
  readonly #nodes = new Map<Share, ShareNode<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** All tasks, in no useful order. */
  *items(): Iterable<T> {
    for (const { tasks } of this.#nodes.values()) yield* tasks.items();
  }

  push(task: T): void {
    const node = this.#node(task.share);
    node.tasks.push(task);
    this.#size++;
    this.#settle(node);
  }

  /** Does nothing if it is not queued. */
  remove(task: T): void {
    if (task.heapIndex < 0) return;
    const node = this.#nodes.get(task.share);
    if (node === undefined) return;
    node.tasks.remove(task);
    this.#size--;
    this.#settle(node);
  }

  /** To be called after the order of a queued task has changed. */
  update(task: T): void {
    const node = this.#nodes.get(task.share);
    if (node === undefined) return;
    node.tasks.update(task);
    this.#settle(node);
  }

  claimChanged(share: Share): void {
    const node = this.#nodes.get(share);
    if (node === undefined) return;
    this.#siblings(node).update(node);
    if (node.parent !== undefined) this.#settle(node.parent);
  }

  /** The share below `parent`, or the outermost one, that goes first here; undefined if none has tasks. */
  first(parent: Share | undefined): ShareNode<T> | undefined {
    if (parent === undefined) return this.#outermost.peek();
    return this.#nodes.get(parent)?.below.peek();
  }

  /** The first task of an innermost share. */
  firstTask(share: Share): T | undefined {
    return this.#nodes.get(share)?.tasks.peek();
  }

  #node(share: Share): ShareNode<T> {
    const known = this.#nodes.get(share);
    if (known !== undefined) return known;
    const node: ShareNode<T> = {
      heapIndex: -1,
      share,
      parent: share.parent === undefined ? undefined : this.#node(share.parent),
      below: new IndexedHeap<ShareNode<T>>(comesBefore),
      tasks: new IndexedHeap<T>(isEarlier),
      seniority: 0,
      arrival: 0,
      queuedAtMs: 0,
    };
    this.#nodes.set(share, node);
    share.queues.add(this);
    return node;
  }

  #siblings(node: ShareNode<T>): IndexedHeap<ShareNode<T>> {
    return node.parent === undefined ? this.#outermost : node.parent.below;
  }

  /** Takes note of what goes first below a node now, there and above. */
  #settle(from: ShareNode<T>): void {
    for (let node: ShareNode<T> | undefined = from; node !== undefined; node = node.parent) {
      const first = node.tasks.peek() ?? node.below.peek();
      const siblings = this.#siblings(node);
      if (first === undefined) {
        siblings.remove(node);
        this.#nodes.delete(node.share);
        node.share.queues.delete(this);
        continue;
      }
      if (node.heapIndex >= 0 && node.seniority === first.seniority && node.arrival === first.arrival) return;
      node.seniority = first.seniority;
      node.arrival = first.arrival;
      node.queuedAtMs = first.queuedAtMs;
      if (node.heapIndex < 0) siblings.push(node);
      else siblings.update(node);
    }
  }
}

/**
 * The task that goes first in several queues together: level by level, so that a share counts once however many queues
 * it has tasks in. O(levels · queues).
 */
export function firstOf<T extends Queueable>(queues: readonly FairQueue<T>[]): T | undefined {
  let share: Share | undefined;
  for (;;) {
    let next: ShareNode<T> | undefined;
    for (const queue of queues) {
      const first = queue.first(share);
      if (first !== undefined && (next === undefined || comesBefore(first, next))) next = first;
    }
    if (next === undefined) break;
    share = next.share;
  }
  if (share === undefined) return undefined;
  let best: T | undefined;
  for (const queue of queues) {
    const first = queue.firstTask(share);
    if (first !== undefined && (best === undefined || isEarlier(first, best))) best = first;
  }
  return best;
}

interface Claiming {
  readonly share: Share;
  readonly seniority: number;
  readonly arrival: number;
  readonly queuedAtMs: number;
}

function comesBefore(a: Claiming, b: Claiming): boolean {
  const [mine, theirs] = [claimOf(a), claimOf(b)];
  return mine === theirs ? a.arrival < b.arrival : mine < theirs;
}

function claimOf({ share, seniority, queuedAtMs }: Claiming): number {
  return share.claim + seniority + putBackOf(share, queuedAtMs);
}

function isEarlier(a: Queueable, b: Queueable): boolean {
  return a.order === b.order ? a.arrival < b.arrival : a.order < b.order;
}
