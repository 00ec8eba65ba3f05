import { ReapiError } from '../../src/errors.ts';
import type { LeaseOrder, Scheduler } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { Invariants } from './invariants.ts';
import { Model } from './model.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Timeline } from './timeline.ts';
import type { SimEffect, SimEvent, SimOffer, SimResult, SimWork } from './vocabulary.ts';

/** How many events the account of a failure shows. */
const HISTORY_LENGTH = 40;

/** What a call of a slot is answered with. */
export type Reply = (hold: LeaseOrder<SimWork> | undefined) => void;

/** Rates of what goes wrong in the host; all between 0 and 1, none while `isCalm`. */
export interface HostFaults {
  isCalm: boolean;
  readonly recordFails: number;
  readonly recordHangs: number;
}

/** Owns the scheduler as the real host does: performs effects, keeps polls open, ticks. Checks the laws after each event. */
export class SimHost {
  readonly model: Model;
  readonly invariants: Invariants;
  /** Events so far. */
  steps = 0;
  /** Called when an operation is finished. */
  onFinished: (operation: string, hasResult: boolean) => void = () => undefined;
  readonly #scheduler: Scheduler<SimWork, SimResult>;
  readonly #timeline: Timeline;
  readonly #random: SeededRandom;
  readonly #faults: HostFaults;
  readonly #polls = new Map<string, { readonly reply: Reply }>();
  readonly #history: string[] = [];
  #wakeMs: number | undefined;

  constructor(
    scheduler: Scheduler<SimWork, SimResult>,
    world: { readonly timeline: Timeline; readonly random: SeededRandom; readonly faults: HostFaults },
    offers: ReadonlyMap<unknown, SimOffer>,
    options: SchedulerOptions,
  ) {
    this.#scheduler = scheduler;
    this.#timeline = world.timeline;
    this.#random = world.random;
    this.#faults = world.faults;
    this.model = new Model(offers, options);
    this.invariants = new Invariants(this.model, options);
  }

  /** The last events and what they led to, one a line. */
  get history(): readonly string[] {
    return this.#history;
  }

  /** Applies an event now. What is due comes first, as an event of its own, so that the model sees it in order. */
  send(event: SimEvent): void {
    if (event.type !== 'tick' && this.#wakeMs !== undefined && this.#wakeMs <= this.#timeline.nowMs) {
      this.send({ type: 'tick' });
    }
    const { nowMs } = this.#timeline;
    this.steps++;
    this.model.note(event, nowMs);
    const effects = this.#scheduler.apply(event, nowMs);
    this.#remember(event, effects);
    if (event.type === 'tick') this.#wakeMs = undefined;
    this.invariants.step(event, effects, nowMs);
    for (const effect of effects) this.#perform(effect);
  }

  /** A slot calls. A newer call replaces the one that is open. */
  call(event: Extract<SimEvent, { type: 'sync' }>, reply: Reply): void {
    this.#polls.set(event.slot, { reply });
    this.send(event);
  }

  /** The connection of a slot broke, and the host has noticed: only a poll that is open can be noticed. */
  broken(slot: string): void {
    if (this.#polls.delete(slot)) this.send({ type: 'leave', slot });
  }

  #perform(effect: SimEffect): void {
    switch (effect.type) {
      case 'orders':
        this.#answer(effect);
        break;
      case 'record':
        this.#record(effect.lease);
        break;
      case 'wake':
        this.#wakeAt(effect.atMs);
        break;
      case 'finish':
        this.onFinished(effect.operation, effect.outcome.type === 'result');
        break;
      case 'stage':
        break;
    }
  }

  #answer({ slot, hold, waits }: Extract<SimEffect, { type: 'orders' }>): void {
    const poll = this.#polls.get(slot);
    if (poll === undefined) return;
    if (hold !== undefined || !waits) {
      this.#polls.delete(slot);
      poll.reply(hold);
      return;
    }
    this.#timeline.after(this.#random.between(20_000, 60_000), () => {
      if (this.#polls.get(slot) !== poll) return;
      this.#polls.delete(slot);
      this.send({ type: 'answered', slot });
      poll.reply(undefined);
    });
  }

  #record(lease: string): void {
    const isFaulty = !this.#faults.isCalm;
    if (isFaulty && this.#random.chance(this.#faults.recordHangs)) return;
    const hasFailed = isFaulty && this.#random.chance(this.#faults.recordFails);
    const failed = new ReapiError('unavailable', 'the store is away');
    const answer: SimEvent = { type: 'recorded', lease, ...(hasFailed ? { failed } : {}) };
    this.#timeline.after(this.#random.between(1, isFaulty ? 40_000 : 50), () => this.send(answer));
  }

  #wakeAt(atMs: number): void {
    this.#wakeMs = atMs;
    this.#timeline.after(Math.max(0, atMs - this.#timeline.nowMs), () => {
      if (this.#wakeMs === atMs) this.send({ type: 'tick' });
    });
  }

  #remember(event: SimEvent, effects: readonly SimEffect[]): void {
    this.#history.push(`${this.#timeline.nowMs} ${brief(event)} → ${effects.map(brief).join('; ')}`);
    if (this.#history.length > HISTORY_LENGTH) this.#history.shift();
  }
}

function brief(item: SimEvent | SimEffect): string {
  switch (item.type) {
    case 'submit':
      return `submit ${item.operation} ${item.merge} ${item.key.action.hash.slice(-2)} priority ${item.priority}`;
    case 'sync': {
      const { holding: held } = item;
      const what = held === undefined ? 'idle' : `${held.completed ? 'completed' : 'executing'} ${held.lease ?? '?'}`;
      return `sync ${item.slot} ${what}${item.prefersIdle ? ' prefers idle' : ''}`;
    }
    case 'orders':
      return `orders ${item.slot} ${item.hold?.lease ?? (item.waits ? 'wait' : 'nothing')}`;
    case 'finish':
      return `finish ${item.operation} ${item.outcome.type === 'failed' ? item.outcome.error.message : 'result'}`;
    case 'record':
    case 'recorded':
      return `${item.type} ${item.lease}`;
    case 'stage':
      return `${item.operation} ${item.stage}`;
    case 'drain':
      return `drain ${item.node} ${item.on}`;
    case 'wake':
      return `wake ${item.atMs}`;
    case 'tick':
      return 'tick';
    case 'attach':
    case 'detach':
    case 'cancel':
      return `${item.type} ${item.operation}`;
    case 'answered':
    case 'leave':
      return `${item.type} ${item.slot}`;
  }
}
