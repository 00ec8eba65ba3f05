import { BugError, isKind } from '../../errors.ts';
import type { Effect, LeaseOrder, LeaseReport, Scheduler, SchedulerEvent, Verdict } from '../scheduler/events.ts';
import type { ReplayMeters } from './replay-meters.ts';
import type { PlannedArrival } from './replay-plan.ts';
import { ReplayTimeline } from './replay-timeline.ts';
import type { SimulationReport } from './simulation-report.ts';
import type { Arrival, SlotChange, SlotFacts } from './trace.ts';

type Event = SchedulerEvent<number, number>;
type Orders = Extract<Effect<number, number>, { readonly type: 'orders' }>;
type Finish = Extract<Effect<number, number>, { readonly type: 'finish' }>;

/** An arrival, and what the scheduler is told of it, which may be something else. */
export interface PlayedArrival extends PlannedArrival {
  readonly asked: Arrival;
}

/** What is played: arrivals by number, and slots in the order of time. */
export interface ReplayParts {
  readonly plan: readonly PlayedArrival[];
  readonly slots: readonly SlotChange[];
}

/** A slot that is there. */
interface Slot {
  facts: SlotFacts;
  order: LeaseOrder<number> | undefined;
  /** It goes when it is done. */
  isLeaving: boolean;
}

/** A slot that runs something says so this often, which is when it hears that it is to stop. As by default on a server. */
const REPORT_MS = 10_000;

/** Where a replay ends that never would: a year. */
const MAX_MS = 366 * 86_400_000;

/** Hexadecimal digits of a hash; those that a trace does not have are zeros. */
const HASH_CHARACTERS = 64;

/**
 * Clients, workers and host of a scheduler in simulated time. A slot does as it is told at once, and is done after the time the plan
 * says; a result is recorded at once; an arrival comes when those before it are over. An arrival has its number for a name.
 */
export class Replay {
  readonly #scheduler: Scheduler<number, number>;
  readonly #meters: ReplayMeters;
  readonly #plan: readonly PlayedArrival[];
  readonly #timeline = new ReplayTimeline();
  readonly #slots = new Map<string, Slot>();
  /** How many an arrival still waits for, and who waits for it. */
  readonly #missing: Uint32Array;
  readonly #dependents: (number[] | undefined)[] = [];
  /** Events that follow from effects that are being performed. */
  readonly #inbox: Event[] = [];
  #notArrived: number;
  #unfinished = 0;
  #isApplying = false;
  #wakeMs = Number.POSITIVE_INFINITY;

  constructor(scheduler: Scheduler<number, number>, meters: ReplayMeters, { plan, slots }: ReplayParts) {
    this.#scheduler = scheduler;
    this.#meters = meters;
    this.#plan = plan;
    this.#notArrived = plan.length;
    this.#missing = Uint32Array.from(plan, ({ after }) => after.length);
    this.#timeline.at(0, () => this.#apply({ type: 'tick' }));
    for (const change of slots) this.#timeline.at(change.atMs, () => this.#change(change));
    for (const [number, { after, delayMs }] of plan.entries()) {
      if (after.length === 0) this.#timeline.at(delayMs, () => this.#arrive(number));
      for (const before of after) {
        const dependents = this.#dependents[before];
        if (dependents === undefined) this.#dependents[before] = [number];
        else dependents.push(number);
      }
    }
  }

  /** Plays all of it. */
  run(): SimulationReport {
    while (this.#notArrived + this.#unfinished > 0 && this.#timeline.step(MAX_MS));
    return this.#meters.report(this.#timeline.nowMs, this.#notArrived);
  }

  #apply(first: Event): void {
    this.#inbox.push(first);
    if (this.#isApplying) return;
    this.#isApplying = true;
    for (let event = this.#inbox.shift(); event !== undefined; event = this.#inbox.shift()) {
      for (const effect of this.#scheduler.apply(event, this.#timeline.nowMs)) this.#perform(effect);
    }
    this.#isApplying = false;
  }

  #perform(effect: Effect<number, number>): void {
    switch (effect.type) {
      case 'orders':
        this.#obey(effect);
        return;
      case 'record':
        this.#inbox.push({ type: 'recorded', lease: effect.lease });
        return;
      case 'stage':
        if (effect.stage === 'executing') this.#meters.started(Number(effect.operation), this.#timeline.nowMs);
        return;
      case 'finish':
        this.#finish(effect);
        return;
      case 'wake':
        this.#wake(effect.atMs);
        return;
      case 'notice':
        return;
    }
  }

  #arrive(number: number): void {
    const { arrival, asked, cancelAfterMs } = this.#planned(number);
    const { key: hash, instance, needs, priority, merge, shares, expectedMs, sizeClass } = asked;
    const action = { function: needs.digestFunction, hash: hash.padEnd(HASH_CHARACTERS, '0'), sizeBytes: 1 };
    const operation = String(number);
    this.#notArrived--;
    this.#unfinished++;
    this.#meters.arrived(number, arrival, this.#timeline.nowMs);
    if (cancelAfterMs !== undefined) {
      this.#timeline.at(this.#timeline.nowMs + cancelAfterMs, () => this.#apply({ type: 'cancel', operation }));
    }
    this.#apply({
      ...{ type: 'submit', operation, key: { instance, action }, needs, priority, merge, work: number },
      ...(shares.length > 0 && { shares }),
      ...(expectedMs !== undefined && { expectedMs }),
      ...(sizeClass !== undefined && { sizeClass }),
    });
  }

  #finish({ operation, outcome }: Finish): void {
    const number = Number(operation);
    const { nowMs } = this.#timeline;
    const isCancelled = outcome.type === 'failed' && isKind(outcome.error, 'cancelled');
    this.#unfinished--;
    this.#meters.finished(number, outcome.type === 'result' ? 'result' : isCancelled ? 'cancelled' : 'failed', nowMs);
    for (const dependent of this.#dependents[number] ?? []) {
      const missing = (this.#missing[dependent] ?? 0) - 1;
      this.#missing[dependent] = missing;
      if (missing === 0) {
        this.#timeline.at(nowMs + this.#planned(dependent).delayMs, () => this.#arrive(dependent));
      }
    }
  }

  #change(change: SlotChange): void {
    const { nowMs } = this.#timeline;
    const known = this.#slots.get(change.slot);
    if (change.type === 'there') {
      if (known !== undefined) this.#countOut(known);
      const slot = known ?? { facts: change, order: undefined, isLeaving: false };
      slot.facts = change;
      slot.isLeaving = false;
      this.#slots.set(change.slot, slot);
      this.#meters.slots(change, 1, nowMs);
      if (slot.order !== undefined) this.#meters.busy(change, 1, nowMs);
      this.#report(slot);
      return;
    }
    if (known === undefined) return;
    if (known.order !== undefined && !change.isLost) known.isLeaving = true;
    else this.#leave(known);
  }

  #leave(slot: Slot): void {
    this.#slots.delete(slot.facts.slot);
    this.#countOut(slot);
    this.#apply({ type: 'leave', slot: slot.facts.slot });
  }

  #countOut({ facts, order }: Slot): void {
    const { nowMs } = this.#timeline;
    this.#meters.slots(facts, -1, nowMs);
    if (order !== undefined) this.#meters.busy(facts, -1, nowMs);
  }

  /** Tells the scheduler what a slot holds, or has just completed. */
  #report(slot: Slot, completed?: { readonly order: LeaseOrder<number>; readonly verdict: Verdict }): void {
    const { slot: name, node, offer, prefix } = slot.facts;
    const order = completed?.order ?? slot.order;
    this.#apply({
      ...{ type: 'sync', slot: name, node, offer, instancePrefix: prefix, prefersIdle: slot.isLeaving },
      ...(order !== undefined && { holding: holdingOf(order, completed?.verdict) }),
    });
  }

  #obey({ slot: name, hold }: Orders): void {
    const slot = this.#slots.get(name);
    if (slot === undefined || slot.order?.lease === hold?.lease) return;
    const { nowMs } = this.#timeline;
    if (slot.order !== undefined) this.#meters.busy(slot.facts, -1, nowMs);
    const wasBusy = slot.order !== undefined;
    slot.order = hold;
    if (hold !== undefined) this.#start(slot, hold);
    else if (wasBusy) this.#apply(this.#idle(slot));
  }

  #idle({ facts: { slot, node, offer, prefix }, isLeaving }: Slot): Event {
    return { type: 'sync', slot, node, offer, instancePrefix: prefix, prefersIdle: isLeaving };
  }

  #start(slot: Slot, order: LeaseOrder<number>): void {
    const { nowMs } = this.#timeline;
    this.#meters.busy(slot.facts, 1, nowMs);
    this.#meters.attempt(order.attempt);
    const { runMs } = this.#planned(order.work);
    this.#timeline.at(nowMs + runMs, () => this.#complete(slot, order));
    this.#timeline.at(nowMs, () => this.#stillRunning(slot, order));
  }

  #stillRunning(slot: Slot, order: LeaseOrder<number>): void {
    if (this.#slots.get(slot.facts.slot) !== slot || slot.order?.lease !== order.lease) return;
    this.#report(slot);
    this.#timeline.at(this.#timeline.nowMs + REPORT_MS, () => this.#stillRunning(slot, order));
  }

  #complete(slot: Slot, order: LeaseOrder<number>): void {
    // It was told to stop before, or is gone.
    if (this.#slots.get(slot.facts.slot) !== slot || slot.order?.lease !== order.lease) return;
    const { verdict, exhaustsUpTo } = this.#planned(order.work);
    const isTooSmall = (slot.facts.offer.sizeClass ?? 0) <= exhaustsUpTo;
    slot.order = undefined;
    this.#meters.busy(slot.facts, -1, this.#timeline.nowMs);
    this.#report(slot, { order, verdict: isTooSmall ? 'exhausted' : verdict });
    if (slot.isLeaving && slot.order === undefined) this.#leave(slot);
  }

  #wake(atMs: number): void {
    this.#wakeMs = atMs;
    this.#timeline.at(atMs, () => {
      // Another wake came after this one.
      if (this.#wakeMs !== atMs) return;
      this.#wakeMs = Number.POSITIVE_INFINITY;
      this.#apply({ type: 'tick' });
    });
  }

  #planned(number: number | undefined): PlayedArrival {
    const planned = this.#plan[number ?? -1];
    if (planned === undefined) throw new BugError('the scheduler knows work that was never submitted');
    return planned;
  }
}

function holdingOf(order: LeaseOrder<number>, verdict: Verdict | undefined): LeaseReport<number> {
  const { key, lease, work } = order;
  return {
    ...{ action: key.action, key, lease },
    ...(verdict !== undefined && { completed: { result: work ?? -1, verdict } }),
  };
}
