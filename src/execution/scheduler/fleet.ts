import type { InstanceName } from '../../digest/instance-name.ts';
import type { WorkerOffer } from '../../platform/platform.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import { Drains, hasAll } from './drains.ts';
import type { DrainEvent, Labels } from './events.ts';
import { FleetNode } from './fleet-node.ts';
import type { PoolOptions, SchedulerOptions } from './options.ts';
import { type Pool, poolText, type Slot, type SlotFacts } from './pool.ts';
import type { Lease } from './task.ts';

/** What the fleet reports. */
export interface FleetListener<Work, Result> {
  onSilent(slot: Slot<Work, Result>): void;
  /** To be linked with the demands it fits. */
  onPool(pool: Pool<Work, Result>): void;
  /** Its last slot went. */
  onPoolEmpty(pool: Pool<Work, Result>): void;
  /** The last trace of its offer is gone. */
  onPoolForgotten(pool: Pool<Work, Result>): void;
  /** Its isolation has lasted long enough. */
  onProbation(node: FleetNode<Work, Result>): void;
  /** Slots of the node may get what they could not get before. */
  onRetry(node: FleetNode<Work, Result>): void;
}

const NOBODY = { node: '', atMs: Number.NEGATIVE_INFINITY };

/** The slots that are known, what they offer, which of them wait, their nodes, and which are drained. */
export class Fleet<Work, Result> {
  readonly #slots = new Map<string, Slot<Work, Result>>();
  readonly #nodes = new Map<string, FleetNode<Work, Result>>();
  readonly #pools = new Map<string, Pool<Work, Result>>();
  readonly drains: Drains;
  readonly #deadlines: Deadlines;
  readonly #listener: FleetListener<Work, Result>;
  readonly #options: SchedulerOptions;
  #polls = 0;
  #version = 0;
  #isolated = 0;
  #busy = 0;
  #isNarrowed = false;
  /** The node that was heard last, and the last other one before it. */
  #heard = NOBODY;
  #heardBefore = NOBODY;
  /** Isolated nodes that are gone, so that they do not come back as if nothing had been. At most `maxSlots`. */
  readonly #isolatedBefore = new Map<string, { readonly reason: string; readonly untilMs: number }>();

  constructor(deadlines: Deadlines, listener: FleetListener<Work, Result>, options: SchedulerOptions) {
    this.#deadlines = deadlines;
    this.#listener = listener;
    this.#options = options;
    this.drains = new Drains(options.maxDrains);
  }

  /** Makes the configured pools known. To be called once, when the listener is ready. */
  openConfigured(): void {
    for (const pool of this.#options.pools) {
      this.#open(poolText(pool.prefix, pool.offer), pool.prefix, pool.offer, pool);
    }
  }

  slot(name: string): Slot<Work, Result> | undefined {
    return this.#slots.get(name);
  }

  node(name: string): FleetNode<Work, Result> | undefined {
    return this.#nodes.get(name);
  }

  get slots(): Iterable<Slot<Work, Result>> {
    return this.#slots.values();
  }

  get nodes(): Iterable<FleetNode<Work, Result>> {
    return this.#nodes.values();
  }

  get size(): number {
    return this.#slots.size;
  }

  get nodeCount(): number {
    return this.#nodes.size;
  }

  /** Slots that hold a lease. */
  get busyCount(): number {
    return this.#busy;
  }

  /** Nodes that get nothing because they look broken. */
  get isolatedCount(): number {
    return this.#isolated;
  }

  /** Every pool that is configured, has slots, or had some a short while ago. */
  get pools(): Iterable<Pool<Work, Result>> {
    return this.#pools.values();
  }

  /** Changes whenever a slot could take something that it could not take before. */
  get version(): number {
    return this.#version;
  }

  /** Whether slots that took work have ceased to since the last call: what avoided a node may have to go there now. */
  takeNarrowed(): boolean {
    const isNarrowed = this.#isNarrowed;
    this.#isNarrowed = false;
    return isNarrowed;
  }

  /** Whether the slot's process is another one than that which took its orders. */
  isReborn({ slot: name, incarnation }: SlotFacts): boolean {
    const known = this.#slots.get(name)?.incarnation;
    return known !== undefined && incarnation !== undefined && known !== incarnation;
  }

  /** Whether it is from the process before: its words came late, and say nothing about the one that runs now. */
  isStale({ slot: name, incarnation }: SlotFacts): boolean {
    return incarnation !== undefined && this.#slots.get(name)?.formerIncarnation === incarnation;
  }

  /** When a slot of another node than this one was heard last; −∞ if none was. */
  lastHeardBesides(node: string): number {
    return this.#heard.node === node ? this.#heardBefore.atMs : this.#heard.atMs;
  }

  #noteHeard(node: string, atMs: number): void {
    if (this.#heard.node !== node) this.#heardBefore = this.#heard;
    this.#heard = { node, atMs };
  }

  isFull(name: string): boolean {
    return !this.#slots.has(name) && this.#slots.size >= this.#options.maxSlots;
  }

  /** Whether the slot takes new work at all, now or when it has finished what it holds. */
  isOpen(slot: Slot<Work, Result>): boolean {
    return !slot.prefersIdle && slot.drains === 0 && slot.node.isolation === undefined;
  }

  /** Takes note of a sync: the slot is alive, polls no longer, and is what the sync says. */
  heard(facts: SlotFacts, nowMs: number): Slot<Work, Result> {
    const known = this.#slots.get(facts.slot);
    const slot = known !== undefined && isSame(known, facts) ? known : this.#enter(facts, known, nowMs);
    this.stopPolling(slot);
    if (facts.prefersIdle && !slot.prefersIdle) this.#isNarrowed = true;
    slot.prefersIdle = facts.prefersIdle;
    if (slot.incarnation !== facts.incarnation) slot.formerIncarnation = slot.incarnation;
    slot.incarnation = facts.incarnation;
    slot.canExit = facts.canExit ?? false;
    slot.lastHeardMs = nowMs;
    this.#noteHeard(facts.node, nowMs);
    if (facts.cached !== undefined) slot.node.sketch = facts.cached;
    this.#watch(slot);
    this.#reviewReservation(slot.node);
    return slot;
  }

  /** Gives the slot a lease to hold, or none. */
  assign(slot: Slot<Work, Result>, lease: Lease<Work, Result> | undefined, nowMs: number): void {
    if (slot.lease !== undefined) {
      slot.node.give(slot.lease.takes);
      this.#busy--;
      this.#version++;
    }
    slot.lease = lease;
    if (lease !== undefined) {
      this.stopPolling(slot);
      slot.node.take(lease.takes);
      slot.lastHeardMs = nowMs;
      this.#busy++;
    }
    this.#watch(slot);
  }

  startPolling(slot: Slot<Work, Result>): void {
    slot.isPolling = true;
    slot.waitingSince = this.#polls++;
    if (!this.isOpen(slot)) return;
    slot.pool.waiting.add(slot);
    this.#version++;
  }

  stopPolling(slot: Slot<Work, Result>): void {
    slot.isPolling = false;
    slot.pool.waiting.delete(slot);
  }

  /** The poll of the slot was answered: its silence counts from now. */
  answered(slot: Slot<Work, Result>, nowMs: number): void {
    this.stopPolling(slot);
    slot.lastHeardMs = nowMs;
  }

  remove(slot: Slot<Work, Result>, nowMs: number): void {
    this.#slots.delete(slot.name);
    if (slot.lease !== undefined) {
      slot.node.give(slot.lease.takes);
      this.#busy--;
      this.#version++;
    }
    this.#unlink(slot, nowMs);
  }

  /** Starts or ends a drain. Answers the polling slots that changed by it, the longest-waiting first. */
  drain(event: DrainEvent, nowMs: number): readonly Slot<Work, Result>[] {
    if (!this.drains.change(event, nowMs)) return [];
    this.#isNarrowed = true;
    const changed: Slot<Work, Result>[] = [];
    const pattern = Object.entries(event.pattern);
    for (const slot of this.#slots.values()) {
      if (!hasAll(slot.labels, pattern)) continue;
      const wasOpen = this.isOpen(slot);
      this.#applyDrains(slot);
      this.#reviewReservation(slot.node);
      if (slot.isPolling && (wasOpen !== this.isOpen(slot) || slot.isTerminating)) changed.push(slot);
    }
    changed.sort((a, b) => a.waitingSince - b.waitingSince);
    for (const slot of changed) this.#reopen(slot);
    return changed;
  }

  /** Gives the node nothing more until then, unless it is forgiven before. */
  isolate(node: FleetNode<Work, Result>, reason: string, untilMs: number, nowMs: number): void {
    if (node.isolation !== undefined) return;
    this.#isolated++;
    this.#isNarrowed = true;
    const probation = new Deadline(() => this.#listener.onProbation(node));
    node.isolation = { reason, sinceMs: nowMs, probation };
    this.#deadlines.set(probation, untilMs);
    this.unreserve(node);
    for (const slot of node.slots) slot.pool.waiting.delete(slot);
  }

  /** Ends an isolation. Answers the polling slots of the node. */
  forgive(name: string): readonly Slot<Work, Result>[] {
    this.#isolatedBefore.delete(name);
    const node = this.#nodes.get(name);
    if (node?.isolation === undefined) return [];
    this.#endIsolation(node);
    node.resetRecord();
    const polling = [...node.slots].filter((slot) => slot.isPolling);
    for (const slot of polling) this.#reopen(slot);
    return polling;
  }

  #reopen(slot: Slot<Work, Result>): void {
    if (this.isOpen(slot)) {
      this.startPolling(slot);
      return;
    }
    slot.pool.waiting.delete(slot);
    this.unreserve(slot.node);
  }

  /** Stops emptying the node. */
  unreserve(node: FleetNode<Work, Result>): void {
    if (node.reservation === undefined) return;
    node.reservation.reservation = undefined;
    node.reservation = undefined;
    this.#version++;
    this.#listener.onRetry(node);
  }

  /** Nothing is kept on a node for tasks that none of its slots would take (any more). */
  #reviewReservation(node: FleetNode<Work, Result>): void {
    const { reservation } = node;
    if (reservation === undefined) return;
    for (const slot of node.slots) {
      if (reservation.pools.has(slot.pool) && this.isOpen(slot)) return;
    }
    this.unreserve(node);
  }

  #enter(facts: SlotFacts, known: Slot<Work, Result> | undefined, nowMs: number): Slot<Work, Result> {
    const pool = this.#poolOf(facts.instancePrefix, facts.offer);
    const node = this.#nodeOf(facts.node, nowMs);
    if (node.setCapacity(facts.offer.capacity ?? [])) {
      this.#version++;
      this.#listener.onRetry(node);
    }
    const slot: Slot<Work, Result> = {
      name: facts.slot,
      node,
      pool,
      labels: labelsOf(facts),
      prefersIdle: facts.prefersIdle,
      drains: 0,
      isTerminating: false,
      canExit: false,
      incarnation: known?.incarnation,
      formerIncarnation: known?.formerIncarnation,
      lease: known?.lease,
      isPolling: false,
      waitingSince: 0,
      lastHeardMs: nowMs,
      silence: new Deadline(() => this.#onSilenceDue(slot)),
      lastShare: known?.lastShare,
    };
    this.#applyDrains(slot);
    this.#slots.set(slot.name, slot);
    pool.slots.add(slot);
    node.slots.add(slot);
    pool.emptySinceMs = undefined;
    this.#deadlines.clear(pool.departure);
    if (known?.lease !== undefined && known.node !== node) this.#moveLease(known.lease, node);
    if (known !== undefined) this.#unlink(known, nowMs);
    return slot;
  }

  /** The slot came back as one of another machine, with what it runs. */
  #moveLease(lease: Lease<Work, Result>, to: FleetNode<Work, Result>): void {
    const from = lease.node;
    from.give(lease.takes);
    to.take(lease.takes);
    lease.node = to;
    this.#version++;
    this.#listener.onRetry(from);
  }

  #applyDrains(slot: Slot<Work, Result>): void {
    const { count, isTerminating } = this.drains.on(slot.labels);
    slot.drains = count;
    slot.isTerminating = isTerminating;
  }

  #nodeOf(name: string, nowMs: number): FleetNode<Work, Result> {
    const known = this.#nodes.get(name);
    if (known !== undefined) return known;
    const node = new FleetNode<Work, Result>(name, this.#options.isolation);
    this.#nodes.set(name, node);
    const before = this.#isolatedBefore.get(name);
    this.#isolatedBefore.delete(name);
    if (before !== undefined && before.untilMs > nowMs) this.isolate(node, before.reason, before.untilMs, nowMs);
    return node;
  }

  #unlink(slot: Slot<Work, Result>, nowMs: number): void {
    const { pool, node } = slot;
    this.#isNarrowed = true;
    this.stopPolling(slot);
    this.#deadlines.clear(slot.silence);
    pool.slots.delete(slot);
    node.slots.delete(slot);
    if (node.slots.size === 0) this.#forgetNode(node);
    else this.#reviewReservation(node);
    if (pool.slots.size > 0) return;
    pool.emptySinceMs = nowMs;
    this.#noteHomeEmpty(pool, nowMs);
    const memoryMs = this.#pools.size > this.#options.maxSlots ? 0 : this.#options.platformGraceMs;
    if (pool.configured === undefined) this.#deadlines.set(pool.departure, nowMs + memoryMs);
    this.#listener.onPoolEmpty(pool);
  }

  /** What waits for a configured pool waits from now on, though its worker offered something else than the configuration says. */
  #noteHomeEmpty({ home, configured }: Pool<Work, Result>, nowMs: number): void {
    if (home === undefined || home === configured) return;
    const pool = this.#pools.get(poolText(home.prefix, home.offer));
    if (pool !== undefined && pool.slots.size === 0) pool.emptySinceMs = nowMs;
  }

  #forgetNode(node: FleetNode<Work, Result>): void {
    this.#nodes.delete(node.name);
    this.unreserve(node);
    node.resetRecord();
    const { isolation } = node;
    if (isolation !== undefined && this.#isolatedBefore.size < this.#options.maxSlots) {
      this.#isolatedBefore.set(node.name, { reason: isolation.reason, untilMs: isolation.probation.atMs });
    }
    this.#endIsolation(node);
  }

  #endIsolation(node: FleetNode<Work, Result>): void {
    if (node.isolation === undefined) return;
    this.#deadlines.clear(node.isolation.probation);
    node.isolation = undefined;
    this.#isolated--;
  }

  /** Makes sure the deadline is not later than the slot's silence allows; an earlier one looks again when it is due. */
  #watch(slot: Slot<Work, Result>): void {
    const limitMs = this.silenceEndMs(slot);
    if (!slot.silence.isSet || slot.silence.atMs > limitMs) this.#deadlines.set(slot.silence, limitMs);
  }

  /** When the slot is forgotten unless it says something. */
  silenceEndMs(slot: Slot<Work, Result>): number {
    const { leaseTimeoutMs, slotTimeoutMs } = this.#options;
    return slot.lastHeardMs + (slot.lease === undefined ? slotTimeoutMs : leaseTimeoutMs);
  }

  /** It may be due only later; after a pause of the process that counts, too, as what is due happens in its order. */
  #onSilenceDue(slot: Slot<Work, Result>): void {
    if (this.silenceEndMs(slot) > slot.silence.atMs) this.#watch(slot);
    else this.#listener.onSilent(slot);
  }

  #poolOf(prefix: InstanceName, offer: WorkerOffer): Pool<Work, Result> {
    const text = poolText(prefix, offer);
    return this.#pools.get(text) ?? this.#open(text, prefix, offer, undefined);
  }

  #open(
    text: string,
    prefix: InstanceName,
    offer: WorkerOffer,
    configured: PoolOptions | undefined,
  ): Pool<Work, Result> {
    const pool: Pool<Work, Result> = {
      text,
      prefix,
      offer,
      sizeClass: offer.sizeClass ?? 0,
      configured,
      home: configured,
      slots: new Set(),
      waiting: new Set(),
      demands: new Set(),
      departure: new Deadline(() => {
        this.#pools.delete(text);
        this.#listener.onPoolForgotten(pool);
      }),
      emptySinceMs: Number.NEGATIVE_INFINITY,
      results: { all: 0, bad: 0, nodes: 0, failing: 0 },
    };
    this.#pools.set(text, pool);
    this.#listener.onPool(pool);
    return pool;
  }
}

function isSame<Work, Result>(slot: Slot<Work, Result>, facts: SlotFacts): boolean {
  if (slot.node.name !== facts.node || !sameLabels(slot.labels, labelsOf(facts))) return false;
  // Hosts parse an offer once and pass the same one again: no text is made then.
  if (slot.pool.offer === facts.offer && slot.pool.prefix === facts.instancePrefix) return true;
  return slot.pool.text === poolText(facts.instancePrefix, facts.offer);
}

/** A worker that does not say is selected by its node. */
function labelsOf({ labels, node }: SlotFacts): Labels {
  return labels ?? { node };
}

/** Another version of a worker may say more or less of itself. */
function sameLabels(a: Labels, b: Labels): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
