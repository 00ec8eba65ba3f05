import { ReapiError } from '../../src/errors.ts';
import type { LeaseOrder, Notice } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import type { ViewedScheduler } from '../../src/execution/scheduler/scheduler.ts';
import { brief } from './brief.ts';
import { Invariants } from './invariants.ts';
import { Model, type WorldFacts } from './model.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Timeline } from './timeline.ts';
import { ViewLaws } from './view-laws.ts';
import type { SimEffect, SimEvent, SimResult, SimSync, SimWork } from './vocabulary.ts';

/** How many events the account of a failure shows. */
const HISTORY_LENGTH = 60;

/** The view is looked at after so many events. */
const STEPS_PER_LOOK = 16;

/** What a call of a slot is answered with. */
export interface Answer {
  readonly hold?: LeaseOrder<SimWork>;
  readonly exits?: boolean;
}

/** A call of a slot that is open. */
export interface Call {
  readonly reply: (answer: Answer) => void;
  /** The connection ended without an answer. */
  readonly broken: () => void;
}

/** Rates of what goes wrong in the host; all between 0 and 1, none while `isCalm`. */
export interface HostFaults {
  isCalm: boolean;
  readonly recordFails: number;
  readonly recordHangs: number;
}

/** A scheduler with a life of its own: what it is told, it forgets when the server is killed. */
interface Life {
  readonly scheduler: ViewedScheduler<SimWork, SimResult>;
  readonly model: Model;
  readonly invariants: Invariants;
  readonly viewLaws: ViewLaws;
}

/** Makes a scheduler with these options. */
export type Start = (options: SchedulerOptions) => ViewedScheduler<SimWork, SimResult>;

/**
 * Owns the scheduler as the real host does: performs effects, keeps polls open, ticks. Checks the laws after each event. It can be killed
 * and started again, and it can stand still for a while: then everything that comes has to wait.
 */
export class SimHost {
  /** Events so far. */
  steps = 0;
  /** Called when an operation is finished. */
  onFinished: (operation: string, hasResult: boolean) => void = () => undefined;
  /** Called when an operator should know something. */
  onNotice: (notice: Notice) => void = () => undefined;
  readonly #start: Start;
  readonly #timeline: Timeline;
  readonly #random: SeededRandom;
  readonly #faults: HostFaults;
  readonly #facts: WorldFacts;
  readonly #options: SchedulerOptions;
  readonly #polls = new Map<string, Call>();
  readonly #history: { readonly nowMs: number; readonly event: SimEvent; readonly effects: readonly SimEffect[] }[] =
    [];
  #life: Life;
  #lives = 0;
  #isDown = false;
  #pausedUntilMs = 0;
  #wakeMs: number | undefined;

  constructor(
    start: Start,
    world: { readonly timeline: Timeline; readonly random: SeededRandom; readonly faults: HostFaults },
    facts: WorldFacts,
    options: SchedulerOptions,
  ) {
    this.#start = start;
    this.#timeline = world.timeline;
    this.#random = world.random;
    this.#faults = world.faults;
    this.#facts = facts;
    this.#options = options;
    this.#life = this.#begin();
  }

  get model(): Model {
    return this.#life.model;
  }

  get invariants(): Invariants {
    return this.#life.invariants;
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  /** The last events and what they led to, one a line. */
  get history(): readonly string[] {
    return this.#history.map(
      ({ nowMs, event, effects }) => `${nowMs} ${brief(event)} → ${effects.map(brief).join('; ')}`,
    );
  }

  /** The server is killed, and everything it knew is gone; after a while another one starts. */
  kill(forMs: number): void {
    if (this.#isDown) return;
    this.#isDown = true;
    this.#wakeMs = undefined;
    const calls = [...this.#polls.values()];
    this.#polls.clear();
    for (const call of calls) call.broken();
    this.#timeline.after(forMs, () => {
      this.#isDown = false;
      this.#life = this.#begin();
    });
  }

  /** The whole process stands still. */
  pause(forMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#timeline.nowMs + forMs);
  }

  /** Applies an event now, or when the process goes on. What is due comes first, as an event of its own, so that the model sees it in order. */
  send(event: SimEvent): void {
    if (this.#isDown) return;
    const { nowMs } = this.#timeline;
    if (nowMs < this.#pausedUntilMs) {
      const life = this.#life;
      // Between whole milliseconds, as in `World`.
      const offsetMs = event.type === 'detach' ? 0.5 : 0;
      this.#timeline.after(this.#pausedUntilMs - nowMs + offsetMs, () => {
        if (life === this.#life) this.send(event);
      });
      return;
    }
    if (event.type !== 'tick' && this.#wakeMs !== undefined && this.#wakeMs <= nowMs) this.send({ type: 'tick' });
    this.#apply(event, nowMs);
  }

  /** A slot calls. A newer call replaces the one that is open. */
  call(event: SimSync, call: Call): void {
    if (this.#isDown) {
      call.broken();
      return;
    }
    this.#polls.set(event.slot, call);
    this.send(event);
  }

  /** The connection of a slot broke, and the host has noticed: only a poll that is open can be noticed. */
  broken(slot: string): void {
    if (this.#polls.delete(slot)) this.send({ type: 'leave', slot });
  }

  #begin(): Life {
    const options = { ...this.#options, leasePrefix: `life${this.#lives++}-` };
    const scheduler = this.#start(options);
    const model = new Model(this.#facts, options);
    const invariants = new Invariants(model, options);
    return { scheduler, model, invariants, viewLaws: new ViewLaws(scheduler.view, model) };
  }

  #apply(event: SimEvent, nowMs: number): void {
    const { model, scheduler, invariants, viewLaws } = this.#life;
    this.steps++;
    model.note(event, nowMs);
    const effects = scheduler.apply(event, nowMs);
    this.#history.push({ nowMs, event, effects });
    if (this.#history.length > HISTORY_LENGTH) this.#history.shift();
    if (event.type === 'tick') this.#wakeMs = undefined;
    invariants.step(event, effects, nowMs);
    if (this.steps % STEPS_PER_LOOK === 0) viewLaws.look(nowMs);
    for (const effect of effects) this.#perform(effect);
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
      case 'notice':
        this.onNotice(effect.notice);
        break;
      case 'stage':
        break;
    }
  }

  #answer({ slot, hold, waits, exits }: Extract<SimEffect, { type: 'orders' }>): void {
    const poll = this.#polls.get(slot);
    if (poll === undefined) return;
    if (hold !== undefined || !waits) {
      this.#polls.delete(slot);
      poll.reply({ ...(hold === undefined ? {} : { hold }), ...(exits === undefined ? {} : { exits }) });
      return;
    }
    const life = this.#life;
    this.#timeline.after(this.#random.between(20_000, 60_000), () => {
      if (life !== this.#life || this.#isDown || this.#polls.get(slot) !== poll) return;
      this.#polls.delete(slot);
      this.send({ type: 'answered', slot });
      poll.reply({});
    });
  }

  #record(lease: string): void {
    const isFaulty = !this.#faults.isCalm;
    if (isFaulty && this.#random.chance(this.#faults.recordHangs)) return;
    const hasFailed = isFaulty && this.#random.chance(this.#faults.recordFails);
    const failed = new ReapiError('unavailable', 'the store is away');
    const answer: SimEvent = { type: 'recorded', lease, ...(hasFailed ? { failed } : {}) };
    const life = this.#life;
    this.#timeline.after(this.#random.between(1, isFaulty ? 40_000 : 50), () => {
      if (life === this.#life) this.send(answer);
    });
  }

  #wakeAt(atMs: number): void {
    this.#wakeMs = atMs;
    const life = this.#life;
    this.#timeline.after(Math.max(0, atMs - this.#timeline.nowMs), () => {
      if (life === this.#life && this.#wakeMs === atMs) this.send({ type: 'tick' });
    });
  }
}
