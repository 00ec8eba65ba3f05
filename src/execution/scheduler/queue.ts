import type { InstanceName } from '../../digest/instance-name.ts';
import type { Requirement } from '../../platform/platform.ts';
import type { OfferGroup } from './fleet.ts';
import { IndexedHeap } from './indexed-heap.ts';
import type { Task } from './task.ts';

/** Groups without tasks that are kept for the matches they remember. */
const MAX_IDLE_GROUPS = 256;

/** Queued tasks that any slot treats alike: same instance name, same requirement, same nodes to avoid. */
export interface TaskGroup<Work, Result> {
  readonly text: string;
  readonly instance: InstanceName;
  readonly needs: Requirement;
  /** Nodes that failed these tasks through their own fault: used only if no other node would do. */
  readonly avoids: ReadonlySet<string>;
  /** Best priority first, then earliest arrival. */
  readonly tasks: IndexedHeap<Task<Work, Result>>;
  /** Whether an offer fits, once it was asked. */
  readonly fits: WeakMap<OfferGroup<Work, Result>, boolean>;
}

/** The tasks that wait for a slot, in groups, so that deciding costs by the number of groups and not of tasks. */
export class Queue<Work, Result> {
  readonly #groups = new Map<string, TaskGroup<Work, Result>>();
  readonly #busy = new Set<TaskGroup<Work, Result>>();
  readonly #wary = new Set<TaskGroup<Work, Result>>();
  #size = 0;

  /** Number of queued tasks. */
  get size(): number {
    return this.#size;
  }

  /** Groups with at least one task, in the order in which they got their first. */
  get groups(): ReadonlySet<TaskGroup<Work, Result>> {
    return this.#busy;
  }

  /** Those of them that avoid a node. */
  get waryGroups(): ReadonlySet<TaskGroup<Work, Result>> {
    return this.#wary;
  }

  /** The group of tasks with these demands. */
  groupOf(instance: InstanceName, needs: Requirement, avoids: readonly string[]): TaskGroup<Work, Result> {
    const text = JSON.stringify([
      instance,
      needs.properties.map(({ name, values }) => [name, values]),
      needs.digestFunction,
      needs.legacyOutputs,
      avoids,
    ]);
    const known = this.#groups.get(text);
    if (known !== undefined) return known;
    if (this.#groups.size - this.#busy.size >= MAX_IDLE_GROUPS) this.#forgetIdle();
    const group: TaskGroup<Work, Result> = {
      text,
      instance,
      needs,
      avoids: new Set(avoids),
      tasks: new IndexedHeap<Task<Work, Result>>(comesBefore),
      fits: new WeakMap(),
    };
    this.#groups.set(text, group);
    return group;
  }

  /** Queues a task in its group, or in the one that took its place while the task was away. */
  push(task: Task<Work, Result>): void {
    task.group = this.#groups.get(task.group.text) ?? task.group;
    this.#groups.set(task.group.text, task.group);
    task.group.tasks.push(task);
    this.#busy.add(task.group);
    if (task.group.avoids.size > 0) this.#wary.add(task.group);
    this.#size++;
  }

  /** Takes a queued task out. */
  remove(task: Task<Work, Result>): void {
    task.group.tasks.remove(task);
    if (task.group.tasks.size === 0) {
      this.#busy.delete(task.group);
      this.#wary.delete(task.group);
    }
    this.#size--;
  }

  #forgetIdle(): void {
    for (const group of this.#groups.values()) {
      if (!this.#busy.has(group)) this.#groups.delete(group.text);
    }
  }
}

/** Lower priority values run sooner (R-EX-24), then whoever came first. */
export function comesBefore(
  a: { readonly priority: number; readonly arrival: number },
  b: { readonly priority: number; readonly arrival: number },
): boolean {
  return a.priority === b.priority ? a.arrival < b.arrival : a.priority < b.priority;
}
