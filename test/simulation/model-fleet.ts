import type { Labels, Verdict } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { demandOf, fits, type ModelNode, type ModelSlot, type ModelTask } from './model-parts.ts';
import { isServed, type SimOffer, type SimSync } from './vocabulary.ts';

/** Workers that offer the same; remembered for a while after the last one went. */
interface ModelPool {
  readonly offer: SimOffer;
  readonly waitMs: number | undefined;
  slots: number;
  /** When the last slot went. */
  emptySinceMs: number | undefined;
  /** Until when it is remembered without slots; configured ones always are. */
  forgottenAtMs: number;
}

/** Something that happens as time passes. */
export interface Due {
  readonly atMs: number;
  readonly happen: () => void;
}

/** How an attempt ended on a machine. */
export interface Ending {
  readonly node: ModelNode;
  /** Of worker: the text of its offer. */
  readonly kind: string;
  readonly verdict: Verdict;
  /** Tells actions apart. */
  readonly action: string;
}

/** A configured pool, in the world's words. */
export interface SimPool {
  readonly offer: SimOffer;
  readonly waitMs: number;
  /** Workers with this, the prefix and the size class are counted as its own. */
  readonly os: string;
}

/** Slots, machines, kinds of workers and drains as the outside can know them. */
export class ModelFleet {
  readonly slots = new Map<string, ModelSlot>();
  readonly nodes = new Map<string, ModelNode>();
  readonly #pools = new Map<string, ModelPool>();
  readonly #configured: readonly SimPool[];
  readonly #drains = new Map<string, { readonly pattern: Labels; isTermination: boolean }>();
  /** Actions that failed, and where: until they succeed elsewhere it is not known whose fault it was. */
  readonly #doubted = new Map<string, string>();
  /** When each machine was heard last, known or not. */
  readonly #heardMs = new Map<string, number>();
  /** Until when machines that have gone are isolated should they come back. */
  readonly #isolatedBefore = new Map<string, number>();
  readonly #options: SchedulerOptions;

  constructor(options: SchedulerOptions, configured: readonly SimPool[]) {
    this.#options = options;
    this.#configured = configured;
    for (const { offer, waitMs } of configured) {
      this.#pools.set(offer.text, { offer, waitMs, slots: 0, emptySinceMs: -1e15, forgottenAtMs: 1e15 });
    }
  }

  /** Whether the slot takes new work at all, now or later. */
  isOpen(slot: ModelSlot): boolean {
    return !slot.prefersIdle && !this.isDrained(slot) && slot.node.isolatedUntilMs === undefined;
  }

  /** Whether a drain selects it. */
  isDrained({ labels }: ModelSlot): boolean {
    return this.#selecting(labels).length > 0;
  }

  /** Whether a drain that selects it ends with its exit. */
  isTerminating({ labels }: ModelSlot): boolean {
    return this.#selecting(labels).some(({ isTermination }) => isTermination);
  }

  /** What a slot says of itself. Undefined if there is no room for it. */
  heard(event: SimSync, offer: SimOffer, nowMs: number): ModelSlot | undefined {
    const known = this.slots.get(event.slot);
    if (known === undefined && this.slots.size >= this.#options.maxSlots) return undefined;
    const labels = event.labels ?? { node: event.node };
    const slot: ModelSlot = known ?? this.#enter(event, offer, labels, nowMs);
    const isAnother = JSON.stringify(slot.labels) !== JSON.stringify(labels);
    if (slot.offer.text !== offer.text || isAnother) slot.node.cores = offer.cores;
    if (slot.offer.text !== offer.text) {
      this.#join(offer);
      this.#part(slot.offer, nowMs);
      slot.offer = offer;
    }
    this.#heardMs.set(event.node, nowMs);
    slot.labels = labels;
    slot.prefersIdle = event.prefersIdle;
    slot.canExit = event.canExit ?? false;
    slot.isPolling = false;
    slot.lastHeardMs = nowMs;
    slot.report = event.holding;
    return slot;
  }

  /** Whether the words are those of the slot's process before, and came late. */
  isStale({ slot, incarnation }: SimSync): boolean {
    return incarnation !== undefined && this.slots.get(slot)?.formerIncarnation === incarnation;
  }

  /** A slot is forgotten. What it held is for the caller to see to. */
  remove(slot: ModelSlot, nowMs: number): void {
    this.slots.delete(slot.name);
    this.#part(slot.offer, nowMs);
    const { node } = slot;
    if ([...this.slots.values()].some((other) => other.node === node)) return;
    this.nodes.delete(node.name);
    if (node.isolatedUntilMs === undefined || this.#isolatedBefore.size >= this.#options.maxSlots) return;
    this.#isolatedBefore.set(node.name, node.isolatedUntilMs);
  }

  /** When another machine than this one was heard last. */
  lastHeardBesides(name: string): number {
    return Math.max(-1, ...[...this.#heardMs].map(([other, atMs]) => (other === name ? -1 : atMs)));
  }

  /** When the slot has been silent for too long. */
  silentAtMs({ lease, lastHeardMs }: ModelSlot): number {
    const { leaseTimeoutMs, slotTimeoutMs } = this.#options;
    return lastHeardMs + (lease === undefined ? slotTimeoutMs : leaseTimeoutMs);
  }

  /** What is due by itself: kinds of workers that are forgotten, machines that are forgiven. */
  *due(nowMs: number): Iterable<Due> {
    for (const [text, { slots, waitMs, forgottenAtMs }] of this.#pools) {
      if (slots > 0 || waitMs !== undefined || nowMs < forgottenAtMs) continue;
      yield { atMs: forgottenAtMs, happen: () => this.#pools.delete(text) };
    }
    for (const { name, isolatedUntilMs } of this.nodes.values()) {
      if (isolatedUntilMs === undefined || nowMs < isolatedUntilMs) continue;
      yield { atMs: isolatedUntilMs, happen: () => this.forgive(name) };
    }
  }

  drain(pattern: Labels, on: boolean, isTermination: boolean | undefined): void {
    const text = JSON.stringify(pattern);
    const known = this.#drains.get(text);
    if (!on) this.#drains.delete(text);
    else this.#drains.set(text, { pattern, isTermination: isTermination ?? known?.isTermination ?? false });
  }

  /** Ends the isolation of a node: it starts anew. */
  forgive(name: string): void {
    this.#isolatedBefore.delete(name);
    const node = this.nodes.get(name);
    if (node?.isolatedUntilMs === undefined) return;
    node.isolatedUntilMs = undefined;
    resetRecord(node);
  }

  /** Takes note of how an attempt ended. The machine that has to be isolated now, if there is one. */
  noteEnding({ node, kind, verdict, action }: Ending, nowMs: number): ModelNode | undefined {
    if (verdict === 'exhausted') return undefined;
    if (verdict === 'worker-fault') return this.#noteBad(node, kind, action, nowMs);
    if (verdict === 'failure') {
      this.#doubted.set(action, node.name);
      return undefined;
    }
    this.#noteGood(node, kind);
    const doubted = this.#doubted.get(action);
    this.#doubted.delete(action);
    const other = doubted === undefined || doubted === node.name ? undefined : this.nodes.get(doubted);
    const isAlike = other !== undefined && this.#slotsOf(other).some(({ offer }) => offer.text === kind);
    return isAlike ? this.#noteBad(other, kind, action, nowMs) : undefined;
  }

  /**
   * The largest size class that could run it. A failure is worth a slot that takes work, and `isWorthWaiting` says whether it is worth
   * waiting for a configured pool, too.
   */
  largestClass(task: ModelTask, isWorthWaiting: boolean): number {
    const any = { ...task, sizeClass: 0 };
    const isOpen = (text: string): boolean =>
      [...this.slots.values()].some((slot) => slot.offer.text === text && this.isOpen(slot));
    // Of work that nobody asked for yet it is not known what it needs.
    const pools = [...this.#pools.values()].filter(({ offer }) =>
      task.madeBy === undefined ? isServed(offer.prefix, task.instance) : fits(any, offer),
    );
    const worth = pools.filter(({ offer, waitMs }) => isOpen(offer.text) || (isWorthWaiting && waitMs !== undefined));
    return Math.max(0, ...worth.map(({ offer }) => offer.sizeClass));
  }

  /** Whether a worker that fits is connected, only configured, only remembered, or unknown. */
  served(task: ModelTask): 'connected' | 'configured' | 'remembered' | 'none' {
    const pools = this.#remembered(task);
    if (pools.some(({ slots }) => slots > 0)) return 'connected';
    if (pools.some(({ waitMs }) => waitMs !== undefined)) return 'configured';
    return pools.length > 0 ? 'remembered' : 'none';
  }

  /** How long it may wait for a worker of a configured pool, and since when all of those are without. */
  patience(task: ModelTask): { readonly waitMs: number; readonly sinceMs: number } {
    const pools = this.#remembered(task).filter(({ waitMs }) => waitMs !== undefined);
    const waitMs = Math.max(0, ...pools.map((pool) => pool.waitMs ?? 0));
    return { waitMs, sinceMs: Math.max(task.queuedAtMs, ...pools.map(({ emptySinceMs }) => emptySinceMs ?? 0)) };
  }

  /** Whether another open machine than those that failed it could run the task. */
  hasOtherNode(task: ModelTask): boolean {
    return [...this.slots.values()].some(
      (slot) => fits(task, slot.offer) && !task.faultyNodes.has(slot.node.name) && this.isOpen(slot),
    );
  }

  /** Whether some kind of worker that is remembered could run both. */
  compete(task: ModelTask, other: ModelTask): boolean {
    if (demandOf(task) === demandOf(other)) return true;
    return this.#remembered(task).some(({ offer }) => fits(other, offer));
  }

  #enter(event: SimSync, offer: SimOffer, labels: Labels, nowMs: number): ModelSlot {
    const node = this.nodes.get(event.node) ?? newNode(event.node);
    this.nodes.set(node.name, node);
    const untilMs = this.#isolatedBefore.get(node.name) ?? 0;
    this.#isolatedBefore.delete(node.name);
    if (untilMs > nowMs) node.isolatedUntilMs = untilMs;
    node.cores = offer.cores;
    this.#join(offer);
    const { slot: name, prefersIdle } = event;
    const facts = { canExit: false, isPolling: false, lastHeardMs: 0, report: undefined };
    const slot: ModelSlot = {
      name,
      node,
      offer,
      labels,
      prefersIdle,
      lease: undefined,
      hasHeld: false,
      incarnation: undefined,
      formerIncarnation: undefined,
      ...facts,
    };
    this.slots.set(name, slot);
    return slot;
  }

  #selecting(labels: Labels): readonly { readonly isTermination: boolean }[] {
    return [...this.#drains.values()].filter(({ pattern }) =>
      Object.entries(pattern).every(([name, value]) => labels[name] === value),
    );
  }

  #join(offer: SimOffer): void {
    const pool = this.#pools.get(offer.text);
    if (pool === undefined) {
      const facts = { waitMs: undefined, slots: 1, emptySinceMs: undefined, forgottenAtMs: 0 };
      this.#pools.set(offer.text, { offer, ...facts });
      return;
    }
    pool.slots++;
    pool.emptySinceMs = undefined;
  }

  #part(offer: SimOffer, nowMs: number): void {
    const pool = this.#pools.get(offer.text);
    if (pool === undefined) return;
    pool.slots--;
    if (pool.slots > 0) return;
    pool.emptySinceMs = nowMs;
    // What waits for a configured pool waits from now on, if this was a worker of it by another offer.
    const home = this.#homeOf(offer);
    if (home !== undefined && home.slots === 0) home.emptySinceMs = nowMs;
    const isCrowded = this.#pools.size > this.#options.maxSlots;
    pool.forgottenAtMs = nowMs + (isCrowded ? 0 : this.#options.platformGraceMs);
  }

  #homeOf({ prefix, sizeClass, sets }: SimOffer): ModelPool | undefined {
    const home = this.#configured.find(({ offer, os }) => {
      return offer.prefix === prefix && offer.sizeClass === sizeClass && sets.some((set) => set.os === os);
    });
    return home === undefined ? undefined : this.#pools.get(home.offer.text);
  }

  #remembered(task: ModelTask): readonly ModelPool[] {
    return [...this.#pools.values()].filter(({ offer }) => fits(task, offer));
  }

  /** Results are counted with those of one kind, as long as the machine has slots of it. */
  #countAs(node: ModelNode, kind: string): void {
    if (node.kind === kind || this.#slotsOf(node).some(({ offer }) => offer.text === node.kind)) return;
    resetRecord(node);
    node.kind = kind;
  }

  #slotsOf(node: ModelNode): readonly ModelSlot[] {
    return [...this.slots.values()].filter((slot) => slot.node === node);
  }

  /** Whether no other machine takes work in place of one of its slots. */
  #isLast(node: ModelNode): boolean {
    const others = [...this.slots.values()].filter((slot) => slot.node !== node && this.isOpen(slot));
    return this.#slotsOf(node).some(({ offer }) => !others.some((other) => other.offer.text === offer.text));
  }

  #noteGood(node: ModelNode, kind: string): void {
    this.#countAs(node, kind);
    node.badInARow = 0;
    this.#keep(node, false);
  }

  #noteBad(node: ModelNode, kind: string, action: string, nowMs: number): ModelNode | undefined {
    const { forMs, maxShare } = this.#options.isolation;
    this.#countAs(node, kind);
    if (node.lastBad !== action) node.badInARow++;
    node.lastBad = action;
    this.#keep(node, true);
    if (node.isolatedUntilMs !== undefined || !this.#looksBroken(node)) return undefined;
    const isolated = [...this.nodes.values()].filter(({ isolatedUntilMs }) => isolatedUntilMs !== undefined);
    if (this.#isLast(node) || isolated.length >= Math.max(1, Math.floor(maxShare * this.nodes.size))) return undefined;
    node.isolatedUntilMs = nowMs + forMs;
    return node;
  }

  #keep(node: ModelNode, isBad: boolean): void {
    const { window } = this.#options.isolation;
    node.results = window === 0 ? [] : [...node.results, isBad].slice(-window);
  }

  /** By `IsolationOptions`: bad results in a row, or so many more than the other machines of its kind. When all are bad, none is to blame. */
  #looksBroken(node: ModelNode): boolean {
    const { faultsInARow, window } = this.#options.isolation;
    const others = [...this.nodes.values()].filter((other) => other !== node && other.kind === node.kind);
    const theirs = others.flatMap(({ results }) => results);
    if (theirs.length === 0) return false;
    const theirShare = Math.max(0.05, shareOfBad(theirs));
    const failing = others.filter(({ badInARow }) => badInARow >= 2).length;
    if (4 * theirShare > 1 || failing > 0.1 * others.length) return false;
    if (faultsInARow > 0 && node.badInARow >= faultsInARow) return true;
    if (window === 0 || node.results.length < window / 2 || theirs.length < window / 2) return false;
    const share = shareOfBad(node.results);
    return share >= 0.5 && share >= 4 * theirShare;
  }
}

function newNode(name: string): ModelNode {
  const record = { kind: '', results: [], badInARow: 0, lastBad: '' };
  return { name, cores: undefined, isolatedUntilMs: undefined, ...record };
}

function resetRecord(node: ModelNode): void {
  node.kind = '';
  node.results = [];
  node.badInARow = 0;
  node.lastBad = '';
}

function shareOfBad(results: readonly boolean[]): number {
  return results.filter((isBad) => isBad).length / results.length;
}
