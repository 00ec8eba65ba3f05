import { selects } from '../scheduler/drains.ts';
import type { DrainView, SchedulerView } from '../scheduler/view.ts';
import { QUEUE_LABEL } from './queue-name.ts';
import type { Queue, Queues } from './queues.ts';

/**
 * The drains of each queue: those that were made for it, also while none of its workers matches, and those made for the
 * whole fleet by other means that select a worker of it. Terminations are none: they end by themselves.
 */
export class QueueDrains {
  readonly #byQueue = new Map<string, DrainView[]>();

  constructor(view: Pick<SchedulerView<unknown>, 'drains' | 'slots'>, queues: Queues) {
    const drained = [...view.slots()].filter(({ isDrained }) => isDrained);
    for (const drain of view.drains()) {
      if (drain.isTermination) continue;
      const owner = drain.pattern[QUEUE_LABEL];
      const selected = drained.filter(({ labels }) => owner === undefined && selects(drain.pattern, labels));
      const texts = owner === undefined ? selected.map(({ pool }) => queues.ofPool(pool)?.text ?? '') : [owner];
      for (const text of new Set(texts)) this.#add(text, drain);
    }
  }

  of(queue: Queue): readonly DrainView[] {
    return this.#byQueue.get(queue.text) ?? [];
  }

  #add(text: string, drain: DrainView): void {
    const known = this.#byQueue.get(text);
    if (known === undefined) this.#byQueue.set(text, [drain]);
    else known.push(drain);
  }
}
