import type { ReapiError } from '../errors.ts';
import type { Clock, Timer } from '../system/clock.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';
import type { Effect, LeaseOrder, Outcome, Scheduler, SchedulerEvent } from './scheduler/events.ts';

type Event = SchedulerEvent<ExecutionWork, ExecutionReport>;
type HostEffect = Effect<ExecutionWork, ExecutionReport>;
type Orders = Extract<HostEffect, { type: 'orders' }>;
type SyncEvent = Extract<Event, { type: 'sync' }>;

/** What the host does for the scheduler, beside answering slots. */
export interface SchedulerEffects {
  /** Keeps a result; rejects if it cannot be kept. */
  record(work: ExecutionWork, report: ExecutionReport): Promise<void>;
  stage(operation: string, stage: 'queued' | 'executing', message: string): void;
  finish(operation: string, outcome: Outcome<ExecutionReport>): void;
  /** The scheduler broke one of its own laws: a wrong queue is worse than an empty one, so the process has to end. */
  broken(error: unknown): void;
}

interface Poll {
  readonly answer: (order: LeaseOrder<ExecutionWork> | undefined) => void;
}

/** Owns the scheduler: the only place that gives it events and time, performs its effects, and arms its timer. */
export class SchedulerHost {
  readonly #scheduler: Scheduler<ExecutionWork, ExecutionReport>;
  readonly #effects: SchedulerEffects;
  readonly #clock: Clock;
  /** Slots whose long poll is open. */
  readonly #polls = new Map<string, Poll>();
  readonly #recording = new Set<Promise<void>>();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(scheduler: Scheduler<ExecutionWork, ExecutionReport>, effects: SchedulerEffects, clock: Clock) {
    this.#scheduler = scheduler;
    this.#effects = effects;
    this.#clock = clock;
  }

  /** Gives the scheduler an event that needs no answer. */
  apply(event: Exclude<Event, { type: 'sync' }>): void {
    this.#perform(event);
  }

  /**
   * One Synchronize of a slot. With `pollMs` it waits for work that long; a newer call of the same slot ends an older one.
   * @returns what the slot should hold.
   */
  async synchronize(
    event: SyncEvent,
    pollMs: number,
    signal: AbortSignal,
  ): Promise<LeaseOrder<ExecutionWork> | undefined> {
    const { slot } = event;
    this.#polls.get(slot)?.answer(undefined);
    let orders: Orders | undefined;
    for (const effect of this.#perform(event)) {
      if (effect.type === 'orders' && effect.slot === slot) orders = effect;
    }
    if (orders?.waits && pollMs > 0) return this.#poll(slot, pollMs, signal);
    if (orders?.waits) this.#perform({ type: 'answered', slot });
    return orders?.hold;
  }

  /** Number of slots that wait for work in an open call. */
  get pollingSlots(): number {
    return this.#polls.size;
  }

  /** Answers every waiting slot, and waits for results being recorded. No event may follow. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    for (const poll of [...this.#polls.values()]) poll.answer(undefined);
    await Promise.allSettled(this.#recording);
  }

  #poll(slot: string, pollMs: number, signal: AbortSignal): Promise<LeaseOrder<ExecutionWork> | undefined> {
    return new Promise((resolve) => {
      const end = (order: LeaseOrder<ExecutionWork> | undefined): void => {
        if (this.#polls.get(slot) === poll) this.#polls.delete(slot);
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
        resolve(order);
      };
      const onAbort = (): void => {
        end(undefined);
        this.#tell({ type: 'leave', slot });
      };
      const onTimeout = (): void => {
        end(undefined);
        this.#tell({ type: 'answered', slot });
      };
      const timer = this.#clock.wakeAt(this.#clock.monotonicMs() + pollMs, onTimeout);
      const poll: Poll = { answer: end };
      this.#polls.set(slot, poll);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** An event that has no caller: a timer or a listener that throws would end the process before it could stop in order. */
  #tell(event: Event): void {
    try {
      this.#perform(event);
    } catch {
      // `broken` knows.
    }
  }

  #perform(event: Event): readonly HostEffect[] {
    if (this.#isStopped) return [];
    let effects: readonly HostEffect[];
    try {
      effects = this.#scheduler.apply(event, this.#clock.monotonicMs());
    } catch (error) {
      this.#isStopped = true;
      this.#effects.broken(error);
      throw error;
    }
    for (const effect of effects) this.#performOne(effect);
    return effects;
  }

  #performOne(effect: HostEffect): void {
    switch (effect.type) {
      case 'orders':
        if (effect.hold !== undefined) this.#polls.get(effect.slot)?.answer(effect.hold);
        return;
      case 'record':
        this.#record(effect.lease, effect.work, effect.result);
        return;
      case 'stage':
        this.#effects.stage(effect.operation, effect.stage, effect.message ?? '');
        return;
      case 'finish':
        this.#effects.finish(effect.operation, effect.outcome);
        return;
      case 'wake':
        this.#armTimer(effect.atMs);
        return;
    }
  }

  #record(lease: string, work: ExecutionWork, report: ExecutionReport): void {
    const tracked: Promise<void> = this.#effects
      .record(work, report)
      .then(
        () => this.#tell({ type: 'recorded', lease }),
        (failed: ReapiError) => this.#tell({ type: 'recorded', lease, failed }),
      )
      .finally(() => this.#recording.delete(tracked));
    this.#recording.add(tracked);
  }

  #armTimer(atMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.wakeAt(atMs, () => {
      this.#tell({ type: 'tick' });
    });
  }
}
