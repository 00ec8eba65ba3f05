import type { ActionKey } from '../digest/action-key.ts';
import { ReapiError } from '../errors.ts';
import type { Clock, Timer } from '../system/clock.ts';
import type { ExecutionReport, ExecutionWork } from './execution-work.ts';
import type {
  AttemptRecord,
  Completion,
  Effect,
  LeaseHint,
  LeaseOrder,
  Notice,
  Outcome,
  SchedulerEvent,
  SyncEvent,
} from './scheduler/events.ts';
import type { ViewedScheduler } from './scheduler/scheduler.ts';
import type { SchedulerView } from './scheduler/view.ts';
import { SteadyTime } from './steady-time.ts';

/** What the scheduler of a host is told. */
export type HostEvent = SchedulerEvent<ExecutionWork, ExecutionReport>;

/** What it answers. */
export type HostEffect = Effect<ExecutionWork, ExecutionReport>;
type Orders = Extract<HostEffect, { type: 'orders' }>;

/** What a slot is told. */
export interface SlotOrders {
  /** What it should hold; absent: nothing. */
  readonly hold?: LeaseOrder<ExecutionWork>;
  /** What it may fetch the inputs of. */
  readonly next?: LeaseHint<ExecutionWork>;
  /** It holds nothing and is to exit. */
  readonly exits?: boolean;
}

/** What the host does for the scheduler, beside answering slots. */
export interface SchedulerEffects {
  /** Keeps a result; rejects if it cannot be kept. `work` is unknown for what a former server began. */
  record(key: ActionKey, work: ExecutionWork | undefined, report: ExecutionReport): Promise<void>;
  stage(operation: string, stage: 'queued' | 'executing', message: string, slot: string | undefined): void;
  finish(operation: string, outcome: Outcome<ExecutionReport>, attempts: readonly AttemptRecord[]): void;
  /** An attempt is over: what it teaches. */
  learn(work: ExecutionWork, completion: Completion<ExecutionReport>, sizeClass: number): void;
  notice(notice: Notice): void;
  /** The scheduler broke one of its own laws: a wrong queue is worse than an empty one, so the process has to end. */
  broken(error: unknown): void;
}

/** Is told of every event and what it led to. Must not throw, nor apply events of its own. */
export type SchedulerObserver = (event: HostEvent, effects: readonly HostEffect[], nowMs: number) => void;

interface Poll {
  readonly answer: (orders: SlotOrders) => void;
}

const NOTHING: SlotOrders = {};

/** Results of commands that ran for so long are stored before their worker may forget them. */
const MIN_KEPT_MS = 10_000;

/** Longest that a worker is kept waiting for that: below the deadline of its call. */
const MAX_RECORD_WAIT_MS = 10_000;

/** Long polls end at multiples of this, never later than asked: with a thousand idle slots it is waking up that costs, not answering. */
const POLL_END_STEP_MS = 250;

/** Owns the scheduler: the only place that gives it events and time, performs its effects, and arms its timer. */
export class SchedulerHost {
  readonly #scheduler: ViewedScheduler<ExecutionWork, ExecutionReport>;
  readonly #effects: SchedulerEffects;
  readonly #clock: Clock;
  readonly #time: SteadyTime;
  /** Slots whose long poll is open. */
  readonly #polls = new Map<string, Poll>();
  readonly #recording = new Set<Promise<void>>();
  readonly #observers: SchedulerObserver[] = [];
  #newestRecord: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(scheduler: ViewedScheduler<ExecutionWork, ExecutionReport>, effects: SchedulerEffects, clock: Clock) {
    this.#scheduler = scheduler;
    this.#effects = effects;
    this.#clock = clock;
    this.#time = new SteadyTime(clock);
  }

  /** What may be known of the scheduler. */
  get view(): SchedulerView<ExecutionWork> {
    return this.#scheduler.view;
  }

  /** The scheduler's time: it stands still while the process does. */
  nowMs(): number {
    return this.#time.nowMs();
  }

  /** Wall time of a time of the scheduler. */
  wallMs(atMs: number): number {
    return this.#clock.nowMs() - (this.#time.nowMs() - atMs);
  }

  /** Tells of every event from now on. */
  observe(observer: SchedulerObserver): void {
    this.#observers.push(observer);
  }

  /** Gives the scheduler an event that needs no answer. */
  apply(event: Exclude<HostEvent, { type: 'sync' }>): void {
    this.#perform(event);
  }

  /**
   * One Synchronize of a slot. With `pollMs` it waits for work that long; a newer call of the same slot ends an older one.
   * @returns what the slot should hold and do.
   * @throws unavailable after the stop: "hold nothing" would make a worker drop its action, or a result nobody has taken.
   */
  async synchronize(event: SyncEvent<ExecutionReport>, pollMs: number, signal: AbortSignal): Promise<SlotOrders> {
    const { slot } = event;
    if (this.#isStopped) throw new ReapiError('unavailable', 'the scheduler has stopped', { retryAfterMs: 1_000 });
    this.#polls.get(slot)?.answer(NOTHING);
    this.#learn(event);
    this.#newestRecord = undefined;
    let orders: Orders | undefined;
    for (const effect of this.#perform(event)) {
      if (effect.type === 'orders' && effect.slot === slot) orders = effect;
    }
    const recorded = this.#newestRecord;
    // At once: until the poll is open, no orders can reach the slot.
    const answer = this.#answer(orders, slot, pollMs, signal);
    if ((event.holding?.completed?.ranMs ?? 0) >= MIN_KEPT_MS) await this.#unlessTooLong(recorded);
    return answer;
  }

  #answer(
    orders: Orders | undefined,
    slot: string,
    pollMs: number,
    signal: AbortSignal,
  ): SlotOrders | Promise<SlotOrders> {
    if (orders?.waits && pollMs > 0) return this.#poll(slot, pollMs, signal);
    if (orders?.waits) this.#perform({ type: 'answered', slot });
    return orders === undefined ? NOTHING : slotOrders(orders);
  }

  /**
   * The worker drops a result when its report is answered. One that took long is safe by then, so that no crash of the server
   * makes the action run again; short ones are not worth the wait.
   */
  async #unlessTooLong(recorded: Promise<void> | undefined): Promise<void> {
    if (recorded === undefined) return;
    const tooLong = Promise.withResolvers<void>();
    const timer = this.#clock.wakeAt(this.#clock.monotonicMs() + MAX_RECORD_WAIT_MS, () => tooLong.resolve());
    await Promise.race([recorded, tooLong.promise]);
    timer.cancel();
  }

  /** Number of slots that wait for work in an open call. */
  get pollingSlots(): number {
    return this.#polls.size;
  }

  /** Answers every waiting slot, and waits for results being recorded. No event may follow. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#time.stop();
    for (const poll of [...this.#polls.values()]) poll.answer(NOTHING);
    await Promise.allSettled(this.#recording);
  }

  /** Before the event, while the scheduler still knows what the report is about. */
  #learn({ slot, holding, offer }: SyncEvent<ExecutionReport>): void {
    if (holding?.completed === undefined || this.#isStopped) return;
    const hold = this.view.slot(slot)?.hold;
    if (hold?.work === undefined) return;
    if (hold.key.action.hash !== holding.action.hash) return;
    this.#effects.learn(hold.work, holding.completed, offer.sizeClass ?? 0);
  }

  #poll(slot: string, pollMs: number, signal: AbortSignal): Promise<SlotOrders> {
    return new Promise((resolve) => {
      const end = (orders: SlotOrders): void => {
        if (this.#polls.get(slot) === poll) this.#polls.delete(slot);
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
        resolve(orders);
      };
      const onAbort = (): void => {
        end(NOTHING);
        this.#tell({ type: 'leave', slot });
      };
      const onTimeout = (): void => {
        // What becomes due by now may still be for this poll.
        this.#tell({ type: 'answered', slot });
        end(NOTHING);
      };
      const timer = this.#clock.wakeAt(pollEndMs(this.#clock.monotonicMs(), pollMs), onTimeout);
      const poll: Poll = { answer: end };
      this.#polls.set(slot, poll);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** An event that has no caller: a timer or a listener that throws would end the process before it could stop in order. */
  #tell(event: HostEvent): void {
    try {
      this.#perform(event);
    } catch {
      // `broken` knows.
    }
  }

  #perform(event: HostEvent): readonly HostEffect[] {
    if (this.#isStopped) return [];
    const nowMs = this.#time.nowMs();
    let effects: readonly HostEffect[];
    try {
      effects = this.#scheduler.apply(event, nowMs);
    } catch (error) {
      this.#isStopped = true;
      this.#effects.broken(error);
      throw error;
    }
    for (const effect of effects) this.#performOne(effect);
    for (const observe of this.#observers) observe(event, effects, nowMs);
    return effects;
  }

  #performOne(effect: HostEffect): void {
    switch (effect.type) {
      case 'orders':
        if (effect.hold !== undefined || effect.exits === true)
          this.#polls.get(effect.slot)?.answer(slotOrders(effect));
        return;
      case 'record':
        this.#record(effect);
        return;
      case 'stage':
        this.#effects.stage(effect.operation, effect.stage, effect.message ?? '', effect.slot);
        return;
      case 'finish':
        this.#effects.finish(effect.operation, effect.outcome, effect.attempts);
        return;
      case 'notice':
        this.#effects.notice(effect.notice);
        return;
      case 'wake':
        this.#armTimer(effect.atMs);
        return;
    }
  }

  #record({ lease, key, work, result }: Extract<HostEffect, { type: 'record' }>): void {
    const tracked: Promise<void> = this.#effects
      .record(key, work, result)
      .then(
        () => this.#tell({ type: 'recorded', lease }),
        (failed: ReapiError) => this.#tell({ type: 'recorded', lease, failed }),
      )
      .finally(() => this.#recording.delete(tracked));
    this.#recording.add(tracked);
    this.#newestRecord = tracked;
  }

  #armTimer(atMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#time.wakeAt(atMs, () => {
      this.#tell({ type: 'tick' });
    });
  }
}

function pollEndMs(nowMs: number, pollMs: number): number {
  const endMs = nowMs + pollMs;
  return pollMs < 2 * POLL_END_STEP_MS ? endMs : endMs - (endMs % POLL_END_STEP_MS);
}

function slotOrders({ hold, next, exits }: Orders): SlotOrders {
  return { ...(hold && { hold }), ...(next && { next }), ...(exits && { exits }) };
}
