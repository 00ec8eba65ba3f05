import type { Effect, Scheduler, SchedulerEvent, SyncEvent } from '../../../src/execution/scheduler/events.ts';
import type { WorkerOffer } from '../../../src/platform/platform.ts';
import { TRACE_MATCHER } from './trace-builder.ts';

type Submit = Extract<SchedulerEvent<number, number>, { readonly type: 'submit' }>;
type Effects = Effect<number, number>[];

interface Task {
  readonly submit: Submit;
  readonly queuedAtMs: number;
  attempts: number;
}

interface Slot {
  readonly name: string;
  readonly offer: WorkerOffer;
  task: Task | undefined;
}

/** First come, first served, and nothing else: what replays are tested with, so that what they measure can be told beforehand. Forgets shares and priorities, merges nothing. */
export class PlainScheduler implements Scheduler<number, number> {
  readonly #queue: Task[] = [];
  readonly #slots = new Map<string, Slot>();

  apply(event: SchedulerEvent<number, number>, nowMs: number): readonly Effect<number, number>[] {
    const effects: Effects = [];
    if (event.type === 'submit') this.#queue.push({ submit: event, queuedAtMs: nowMs, attempts: 0 });
    else if (event.type === 'sync') this.#sync(event, effects);
    else if (event.type === 'leave') this.#leave(event.slot);
    this.#assign(effects);
    return effects;
  }

  #sync({ slot: name, offer, holding, prefersIdle }: SyncEvent<number>, effects: Effects): void {
    const slot = this.#slots.get(name) ?? { name, offer, task: undefined };
    if (holding?.completed !== undefined && slot.task !== undefined) {
      const outcome = { type: 'result', result: holding.completed.result } as const;
      effects.push({ type: 'finish', operation: slot.task.submit.operation, outcome, attempts: [] });
      slot.task = undefined;
    }
    if (prefersIdle) this.#slots.delete(name);
    else this.#slots.set(name, slot);
    if (slot.task === undefined) effects.push({ type: 'orders', slot: name, waits: true });
  }

  #leave(name: string): void {
    const slot = this.#slots.get(name);
    this.#slots.delete(name);
    if (slot?.task !== undefined) this.#queue.unshift(slot.task);
  }

  #assign(effects: Effects): void {
    for (const slot of this.#slots.values()) {
      if (slot.task !== undefined) continue;
      const index = this.#queue.findIndex(({ submit }) => TRACE_MATCHER.match(slot.offer, submit.needs).fits);
      const [task] = index < 0 ? [] : this.#queue.splice(index, 1);
      if (task === undefined) continue;
      slot.task = task;
      task.attempts++;
      const { key, operation, work } = task.submit;
      const { queuedAtMs, attempts } = task;
      const hold = { lease: `${operation}/${attempts}`, key, attempt: attempts, queuedAtMs, work };
      effects.push(
        { type: 'orders', slot: slot.name, hold, waits: false },
        { type: 'stage', operation, stage: 'executing' },
      );
    }
  }
}
