import type { SchedulerView, TaskView } from '../scheduler/view.ts';
import { type QueueName, queueOfNeeds, queueOfOffer, queueText } from './queue-name.ts';
import { compareTexts } from './text-order.ts';

/** One queue at the moment of a request. */
export interface Queue {
  readonly name: QueueName;
  readonly text: string;
  /** Of all its pools. */
  readonly slots: number;
}

/**
 * The scheduler's pools and demands as Buildbarn's queues. A queue holds all pools of one prefix, platform and size class.
 * A task waits for any pool that fits, but is shown in one queue, so that no sum counts it twice: one that has workers
 * before one that has none, then the longest prefix (R-BB-15), then the smallest size class. What no pool could run has a queue without workers.
 */
export class Queues {
  readonly #view: Pick<SchedulerView<unknown>, 'slot'>;
  readonly #byText = new Map<string, { name: QueueName; text: string; slots: number }>();
  readonly #byPool = new Map<string, Queue>();
  readonly #byDemand = new Map<string, Queue>();

  constructor(view: Pick<SchedulerView<unknown>, 'pools' | 'demands' | 'slot'>) {
    this.#view = view;
    for (const { id, prefix, offer, slots } of view.pools()) {
      const queue = this.#open(queueOfOffer(prefix, offer));
      queue.slots += slots;
      this.#byPool.set(id, queue);
    }
    for (const { id, instance, needs, sizeClass, pools } of view.demands()) {
      const fitting = pools.flatMap((pool) => this.#byPool.get(pool) ?? []);
      const best = fitting.reduce<Queue | undefined>((a, b) => (a === undefined || isBetter(b, a) ? b : a), undefined);
      this.#byDemand.set(id, best ?? this.#open(queueOfNeeds(instance, needs, sizeClass)));
    }
  }

  /** Sorted by prefix, platform and size class. */
  all(): readonly Queue[] {
    return [...this.#byText.values()].sort(
      (a, b) =>
        compareTexts(a.name.prefix, b.name.prefix) || comparePlatforms(a, b) || a.name.sizeClass - b.name.sizeClass,
    );
  }

  find(name: QueueName): Queue | undefined {
    return this.#byText.get(queueText(name));
  }

  /** @param pool `PoolView.id`. */
  ofPool(pool: string): Queue | undefined {
    return this.#byPool.get(pool);
  }

  /** Where a task runs, ran, or is shown to wait. If its slot and pool are gone, a queue that is not among `all`. */
  ofTask(task: TaskView<unknown>): Queue {
    const known = task.state === 'queued' ? this.#byDemand.get(task.demand) : this.#byPool.get(this.#poolOf(task));
    if (known !== undefined) return known;
    const name = queueOfNeeds(task.key.instance, task.needs, task.sizeClass);
    return this.find(name) ?? { name, text: queueText(name), slots: 0 };
  }

  /** While its result is recorded, a task has left the slot it ran on. */
  #poolOf({ pool, attempts }: TaskView<unknown>): string {
    return pool ?? this.#view.slot(attempts.at(-1)?.slot ?? '')?.pool ?? '';
  }

  #open(name: QueueName): { name: QueueName; text: string; slots: number } {
    const text = queueText(name);
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const queue = { name, text, slots: 0 };
    this.#byText.set(text, queue);
    return queue;
  }
}

function isBetter(a: Queue, b: Queue): boolean {
  if (a.slots > 0 !== b.slots > 0) return a.slots > 0;
  if (a.name.prefix.length !== b.name.prefix.length) return a.name.prefix.length > b.name.prefix.length;
  if (a.name.sizeClass !== b.name.sizeClass) return a.name.sizeClass < b.name.sizeClass;
  return a.text < b.text;
}

function comparePlatforms(a: Queue, b: Queue): number {
  return compareTexts(JSON.stringify(a.name.properties), JSON.stringify(b.name.properties));
}
