import type { InstanceName } from '../../digest/instance-name.ts';
import type { WorkerOffer } from '../../platform/platform.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import type { Lease } from './task.ts';

/** Room for one lease, known since its first `sync`. */
export interface Slot<Work, Result> {
  readonly name: string;
  readonly node: string;
  readonly offers: OfferGroup<Work, Result>;
  prefersIdle: boolean;
  lease: Lease<Work, Result> | undefined;
  /** A long poll is open: orders reach it at once. */
  isPolling: boolean;
  /** Number of the poll: the lower has waited longer. */
  waitingSince: number;
  lastHeardMs: number;
  readonly silence: Deadline;
}

/** Slots with the same offer under the same instance name prefix. */
export interface OfferGroup<Work, Result> {
  readonly text: string;
  readonly prefix: InstanceName;
  readonly offer: WorkerOffer;
  readonly slots: Set<Slot<Work, Result>>;
  /** Those that poll and may get work, the longest-waiting first. */
  readonly waiting: Set<Slot<Work, Result>>;
  /** Set while there is no slot: then the group is forgotten. */
  readonly departure: Deadline;
}

/** What a `sync` says about its slot. */
export interface SlotFacts {
  readonly slot: string;
  readonly node: string;
  readonly offer: WorkerOffer;
  readonly instancePrefix: InstanceName;
  readonly prefersIdle: boolean;
}

/** What the fleet reports: a slot was silent too long, or the last trace of an offer is gone. */
export interface FleetListener<Work, Result> {
  onSilent(slot: Slot<Work, Result>): void;
  onOfferForgotten(): void;
}

interface FleetOptions {
  readonly leaseTimeoutMs: number;
  readonly slotTimeoutMs: number;
  readonly maxSlots: number;
  /** How long an offer without slots is remembered, unless there are more offers than `maxSlots`. */
  readonly offerMemoryMs: number;
}

/** The slots that are known, what they offer, which of them wait, and which nodes are drained. */
export class Fleet<Work, Result> {
  readonly #slots = new Map<string, Slot<Work, Result>>();
  readonly #offers = new Map<string, OfferGroup<Work, Result>>();
  readonly #waiting = new Set<OfferGroup<Work, Result>>();
  readonly #drained = new Set<string>();
  readonly #deadlines: Deadlines;
  readonly #listener: FleetListener<Work, Result>;
  readonly #options: FleetOptions;
  #polls = 0;

  constructor(deadlines: Deadlines, listener: FleetListener<Work, Result>, options: FleetOptions) {
    this.#deadlines = deadlines;
    this.#listener = listener;
    this.#options = options;
  }

  slot(name: string): Slot<Work, Result> | undefined {
    return this.#slots.get(name);
  }

  /** Every offer that has slots, or had some a short while ago. */
  get offers(): Iterable<OfferGroup<Work, Result>> {
    return this.#offers.values();
  }

  /** The offers with at least one slot that waits. */
  get waitingOffers(): ReadonlySet<OfferGroup<Work, Result>> {
    return this.#waiting;
  }

  isFull(name: string): boolean {
    return !this.#slots.has(name) && this.#slots.size >= this.#options.maxSlots;
  }

  isDrained(slot: Slot<Work, Result>): boolean {
    return this.#drained.has(slot.node);
  }

  /** Whether the slot takes new work at all, now or when it has finished what it holds. */
  isOpen(slot: Slot<Work, Result>): boolean {
    return !slot.prefersIdle && !this.#drained.has(slot.node);
  }

  /** Takes note of a sync: the slot is alive, polls no longer, and is what the sync says. */
  heard(facts: SlotFacts, nowMs: number): Slot<Work, Result> {
    const text = offerText(facts);
    const known = this.#slots.get(facts.slot);
    if (known !== undefined && known.offers.text === text && known.node === facts.node) {
      this.stopPolling(known);
      known.prefersIdle = facts.prefersIdle;
      known.lastHeardMs = nowMs;
      this.#watch(known);
      return known;
    }
    const offers = this.#offerGroup(text, facts);
    const slot: Slot<Work, Result> = {
      name: facts.slot,
      node: facts.node,
      offers,
      prefersIdle: facts.prefersIdle,
      lease: known?.lease,
      isPolling: false,
      waitingSince: 0,
      lastHeardMs: nowMs,
      silence: new Deadline((dueMs) => this.#onSilenceDue(slot, dueMs)),
    };
    this.#slots.set(slot.name, slot);
    offers.slots.add(slot);
    this.#deadlines.clear(offers.departure);
    if (known !== undefined) this.#unlink(known, nowMs);
    this.#watch(slot);
    return slot;
  }

  /** Gives the slot a lease to hold, or none. */
  assign(slot: Slot<Work, Result>, lease: Lease<Work, Result> | undefined, nowMs: number): void {
    slot.lease = lease;
    if (lease !== undefined) {
      this.stopPolling(slot);
      slot.lastHeardMs = nowMs;
    }
    this.#watch(slot);
  }

  startPolling(slot: Slot<Work, Result>): void {
    slot.isPolling = true;
    slot.waitingSince = this.#polls++;
    if (!this.isOpen(slot)) return;
    slot.offers.waiting.add(slot);
    this.#waiting.add(slot.offers);
  }

  stopPolling(slot: Slot<Work, Result>): void {
    slot.isPolling = false;
    this.#stopWaiting(slot);
  }

  /** The poll of the slot was answered: its silence counts from now. */
  answered(slot: Slot<Work, Result>, nowMs: number): void {
    this.stopPolling(slot);
    slot.lastHeardMs = nowMs;
  }

  remove(slot: Slot<Work, Result>, nowMs: number): void {
    this.#slots.delete(slot.name);
    this.#unlink(slot, nowMs);
  }

  /** Starts or ends a drain. Answers the slots of the node that wait for work again. */
  drain(node: string, on: boolean): readonly Slot<Work, Result>[] {
    const isDrained = this.#drained.has(node);
    if (isDrained === on) return [];
    if (on) this.#drained.add(node);
    else this.#drained.delete(node);
    const polling = [...this.#slots.values()].filter((slot) => slot.node === node && slot.isPolling);
    for (const slot of polling) {
      if (on) this.#stopWaiting(slot);
      else this.startPolling(slot);
    }
    return on ? [] : polling;
  }

  #stopWaiting(slot: Slot<Work, Result>): void {
    slot.offers.waiting.delete(slot);
    if (slot.offers.waiting.size === 0) this.#waiting.delete(slot.offers);
  }

  #unlink(slot: Slot<Work, Result>, nowMs: number): void {
    this.stopPolling(slot);
    this.#deadlines.clear(slot.silence);
    slot.offers.slots.delete(slot);
    if (slot.offers.slots.size === 0) {
      const memoryMs = this.#offers.size > this.#options.maxSlots ? 0 : this.#options.offerMemoryMs;
      this.#deadlines.set(slot.offers.departure, nowMs + memoryMs);
    }
  }

  /** Makes sure the deadline is not later than the slot's silence allows; an earlier one looks again when it is due. */
  #watch(slot: Slot<Work, Result>): void {
    const limitMs = this.#silenceEndMs(slot);
    if (!slot.silence.isSet || slot.silence.atMs > limitMs) this.#deadlines.set(slot.silence, limitMs);
  }

  #silenceEndMs(slot: Slot<Work, Result>): number {
    const { leaseTimeoutMs, slotTimeoutMs } = this.#options;
    return slot.lastHeardMs + (slot.lease === undefined ? slotTimeoutMs : leaseTimeoutMs);
  }

  #onSilenceDue(slot: Slot<Work, Result>, nowMs: number): void {
    if (this.#silenceEndMs(slot) > nowMs) this.#watch(slot);
    else this.#listener.onSilent(slot);
  }

  #offerGroup(text: string, facts: SlotFacts): OfferGroup<Work, Result> {
    const known = this.#offers.get(text);
    if (known !== undefined) return known;
    const group: OfferGroup<Work, Result> = {
      text,
      prefix: facts.instancePrefix,
      offer: facts.offer,
      slots: new Set(),
      waiting: new Set(),
      departure: new Deadline(() => {
        this.#offers.delete(text);
        this.#listener.onOfferForgotten();
      }),
    };
    this.#offers.set(text, group);
    return group;
  }
}

function offerText(facts: SlotFacts): string {
  const { alternatives, digestFunctions, legacyOutputs } = facts.offer;
  const sets = alternatives.map(({ properties }) => properties.map(({ name, values }) => [name, values]));
  return JSON.stringify([facts.instancePrefix, sets, digestFunctions, legacyOutputs]);
}
