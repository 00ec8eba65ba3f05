import { sameDigest } from '../../digest/digest.ts';
import type { ErrorKind } from '../../errors.ts';
import type { Effects } from './effects.ts';
import type { AttemptEnd, Completion, LeaseReport } from './events.ts';
import type { Fleet } from './fleet.ts';
import type { FleetNode } from './fleet-node.ts';
import type { Isolation } from './isolation.ts';
import type { SchedulerOptions } from './options.ts';
import type { Slot } from './pool.ts';
import type { Retries } from './retries.ts';
import type { Shares } from './shares.ts';
import type { Stragglers } from './stragglers.ts';
import { isLive, type Lease, type Task } from './task.ts';
import type { Tasks } from './tasks.ts';

/** What attempts work with. */
export interface AttemptParts<Work, Result> {
  readonly fleet: Fleet<Work, Result>;
  readonly tasks: Tasks<Work, Result>;
  readonly shares: Shares;
  readonly effects: Effects<Work, Result>;
  readonly retries: Retries<Work, Result>;
  readonly stragglers: Stragglers<Work, Result>;
  readonly isolation: Isolation<Work, Result>;
  /** Takes a task out of the queue, if it is there. */
  readonly unqueue: (task: Task<Work, Result>) => void;
  /** Whether the slot may go on with a lease that was given up. */
  readonly mayRevive: (lease: Lease<Work, Result>, slot: Slot<Work, Result>) => boolean;
}

/** Why an attempt is given up. */
export interface Loss {
  /** For people. */
  readonly reason: string;
  /** Of the error, if it was the last attempt. */
  readonly kind?: ErrorKind;
  /** Its worker died, and may have begun before it could say so. */
  readonly hasDied?: boolean;
  /** Its worker is there and does not hold it any more. */
  readonly hasDropped?: boolean;
}

/** Leases: starting attempts, reading what slots report about them, and what follows when one is lost. */
export class Attempts<Work, Result> {
  /** Of unfinished tasks, so that a lost attempt that comes back is recognised; at most `maxAttempts` a task, and those adopted. */
  readonly #leases = new Map<string, Lease<Work, Result>>();
  readonly #parts: AttemptParts<Work, Result>;
  readonly #options: SchedulerOptions;
  #freed = new Set<FleetNode<Work, Result>>();
  #numbers = 0;

  constructor(parts: AttemptParts<Work, Result>, options: SchedulerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  lease(id: string): Lease<Work, Result> | undefined {
    return this.#leases.get(id);
  }

  /** The nodes that have more left since the last call. */
  takeFreed(): ReadonlySet<FleetNode<Work, Result>> {
    const nodes = this.#freed;
    if (nodes.size > 0) this.#freed = new Set();
    return nodes;
  }

  /** The node may have more left. */
  freed(node: FleetNode<Work, Result>): void {
    this.#freed.add(node);
  }

  /** Gives a task to a free slot. The orders are for the caller to send. */
  start(task: Task<Work, Result>, slot: Slot<Work, Result>, nowMs: number, isHedge = false): void {
    const lease = this.#make(task, slot, nowMs, { id: `${this.#options.leasePrefix}${this.#numbers++}`, isHedge });
    this.#hold(slot, lease, nowMs);
  }

  /** A slot runs this task already, as it says: an attempt begun under a former server. @param id as reported; plain workers report none. */
  adopt(
    task: Task<Work, Result>,
    slot: Slot<Work, Result>,
    id: string | undefined,
    nowMs: number,
  ): Lease<Work, Result> {
    const own = `${this.#options.leasePrefix}${this.#numbers++}`;
    const lease = this.#make(task, slot, nowMs, { id: id ?? own, isHedge: false });
    lease.state = 'running';
    this.#hold(slot, lease, nowMs);
    return lease;
  }

  /** An orphan was claimed: from now on its attempts take what it needs. */
  claimed(task: Task<Work, Result>): void {
    for (const lease of task.leases) {
      if (!isLive(lease)) continue;
      lease.node.give(lease.takes);
      lease.takes = task.demand.takes;
      lease.node.take(lease.takes);
    }
  }

  /** Reads what a slot says it holds. Afterwards `slot.lease` is what it should hold, as far as known. */
  read(
    slot: Slot<Work, Result>,
    report: LeaseReport<Result> | undefined,
    adopt: () => Lease<Work, Result> | undefined,
    nowMs: number,
  ): void {
    if (report !== undefined) {
      const lease = this.#find(slot, report) ?? adopt();
      if (lease !== undefined) {
        if (report.completed !== undefined) this.#complete(lease, slot, report.completed, nowMs);
        else this.#confirm(lease, slot, nowMs);
        if (lease === slot.lease || slot.lease === undefined) return;
      }
    }
    if (slot.lease !== undefined) this.#unanswered(slot.lease, nowMs);
  }

  /** Nothing will come of this attempt, as far as we know: the next one, or the end of the task. */
  lose(lease: Lease<Work, Result>, loss: Loss, nowMs: number): void {
    if (!isLive(lease)) return;
    const slot = this.#parts.fleet.slot(lease.slot);
    const isToBlame = slot !== undefined && this.#isToBlame(lease, slot, loss, nowMs);
    const { reason, kind = 'unavailable' } = loss;
    this.#release(lease, 'lost', { atMs: nowMs, how: 'worker-lost', cause: reason }, nowMs);
    if (isToBlame) {
      const { node, pool } = slot;
      this.#parts.isolation.note({ node, pool, verdict: 'worker-fault', action: lease.task.keyText }, nowMs);
    }
    this.#parts.retries.lost(lease, reason, { isToBlame, kind }, nowMs);
  }

  /**
   * Whether action and machine may have done it to each other. A slot that never said it runs the action was not taken down by it, one that
   * was about to stop went by itself; and where others are silent too, or come and go, it is the network or an operator.
   */
  #isToBlame(lease: Lease<Work, Result>, slot: Slot<Work, Result>, loss: Loss, nowMs: number): boolean {
    const hadBegun = lease.state === 'running' || loss.hasDied === true;
    if (!hadBegun || !this.#parts.fleet.isOpen(slot)) return false;
    const isCertain = loss.hasDied === true || loss.hasDropped === true;
    const heardMs = this.#parts.fleet.lastHeardBesides(slot.node.name);
    const areOthersHeard = heardMs > nowMs - this.#options.leaseTimeoutMs / 2;
    return this.#parts.retries.isSingle(lease, nowMs) && (isCertain || areOthersHeard);
  }

  /** The task is over: nothing comes of its attempts any more. */
  forget(task: Task<Work, Result>, nowMs: number): void {
    for (const lease of task.leases) {
      this.#leases.delete(lease.id);
      this.#release(lease, 'over', { atMs: nowMs, how: 'cancelled', cause: '' }, nowMs);
    }
  }

  #make(
    task: Task<Work, Result>,
    slot: Slot<Work, Result>,
    nowMs: number,
    { id, isHedge }: { readonly id: string; readonly isHedge: boolean },
  ): Lease<Work, Result> {
    const lease: Lease<Work, Result> = {
      id,
      task,
      slot: slot.name,
      node: slot.node,
      attempt: task.leases.length + 1,
      startedAtMs: nowMs,
      isHedge,
      sizeClass: slot.pool.sizeClass,
      takes: task.demand.takes,
      state: 'sent',
      resends: 0,
      end: undefined,
      straggling: undefined,
    };
    this.#leases.set(lease.id, lease);
    task.leases = [...task.leases, lease];
    return lease;
  }

  /** The lease a report is about, if it is one of the slot. Without a lease id it can only mean the assigned one. */
  #find(slot: Slot<Work, Result>, { action, lease: id }: LeaseReport<Result>): Lease<Work, Result> | undefined {
    const lease = id === undefined ? slot.lease : this.#leases.get(id);
    const isIts = lease?.slot === slot.name && lease.state !== 'over' && sameDigest(lease.task.key.action, action);
    return isIts ? lease : undefined;
  }

  #confirm(lease: Lease<Work, Result>, slot: Slot<Work, Result>, nowMs: number): void {
    if (lease === slot.lease) lease.state = 'running';
    else if (slot.lease === undefined) this.#revive(lease, slot, nowMs);
  }

  /**
   * A lost attempt is running after all, and its task still waits, or was given to a slot that has not begun: nothing is gained by
   * starting it again.
   */
  #revive(lease: Lease<Work, Result>, slot: Slot<Work, Result>, nowMs: number): void {
    const { task } = lease;
    const live = task.leases.filter(isLive);
    const isUnbegun = task.state === 'leased' && live.every(({ state }) => state === 'sent');
    if (!(task.state === 'queued' || isUnbegun) || !this.#parts.mayRevive(lease, slot)) return;
    const cause = `attempt ${lease.attempt} goes on after all`;
    for (const other of live) this.#release(other, 'over', { atMs: nowMs, how: 'superseded', cause }, nowMs);
    lease.state = 'running';
    lease.end = undefined;
    this.#parts.retries.revived(lease);
    this.#hold(slot, lease, nowMs);
  }

  #complete(
    lease: Lease<Work, Result>,
    slot: Slot<Work, Result>,
    { result, verdict, cause = '' }: Completion<Result>,
    nowMs: number,
  ): void {
    const { task } = lease;
    const wasLost = lease.state === 'lost';
    const isUseful = verdict === 'success' || verdict === 'failure';
    if (wasLost && !isUseful) return;
    lease.end = undefined;
    this.#release(lease, 'over', { atMs: nowMs, how: verdict, cause }, nowMs);
    this.#parts.isolation.note({ node: slot.node, pool: slot.pool, verdict, action: task.keyText }, nowMs);
    if (isUseful && (verdict === 'success' || !this.#parts.retries.goesToLarger(lease, verdict))) {
      this.#accept(lease, result, nowMs);
      return;
    }
    this.#parts.retries.ended(lease, verdict, { result, cause }, nowMs);
  }

  #accept(lease: Lease<Work, Result>, result: Result, nowMs: number): void {
    const { task } = lease;
    const wasQueued = task.state === 'queued';
    this.#parts.unqueue(task);
    for (const other of task.leases) {
      this.#release(
        other,
        'over',
        { atMs: nowMs, how: 'superseded', cause: `attempt ${lease.attempt} ended first` },
        nowMs,
      );
    }
    this.#parts.tasks.startRecording(lease, result, nowMs);
    // The result of an attempt that had been given up.
    if (wasQueued) this.#parts.effects.stageAll(task);
  }

  /** The slot does not hold what it was told to: it never learned of it, or died of it (R-BB-09). */
  #unanswered(lease: Lease<Work, Result>, nowMs: number): void {
    if (lease.state === 'running') {
      this.lose(lease, { reason: `worker ${lease.slot} dropped it`, kind: 'internal', hasDropped: true }, nowMs);
      return;
    }
    lease.resends++;
    if (lease.resends <= this.#options.maxResends) return;
    const message = `worker ${lease.slot} did not take the action, which was sent ${lease.resends} times`;
    const hasOthers = lease.task.leases.some((other) => other !== lease && isLive(other));
    if (hasOthers) this.lose(lease, { reason: message }, nowMs);
    else this.#parts.tasks.fail(lease.task, 'internal', message);
  }

  #hold(slot: Slot<Work, Result>, lease: Lease<Work, Result>, nowMs: number): void {
    const { task } = lease;
    const wasLeased = task.state === 'leased';
    lease.node = slot.node;
    this.#parts.unqueue(task);
    task.state = 'leased';
    this.#parts.fleet.assign(slot, lease, nowMs);
    slot.lastShare = task.share;
    this.#parts.shares.ran(task.share, 1, nowMs);
    this.#parts.stragglers.watch(lease, nowMs);
    if (!wasLeased) this.#parts.effects.stageAll(task);
  }

  /** Takes the lease from its slot, if that still holds it. */
  #release(lease: Lease<Work, Result>, state: 'lost' | 'over', end: AttemptEnd, nowMs: number): void {
    const wasLive = isLive(lease);
    lease.state = state;
    lease.end ??= end;
    if (!wasLive) return;
    this.#parts.stragglers.unwatch(lease);
    this.#parts.shares.ran(lease.task.share, -1);
    const slot = this.#parts.fleet.slot(lease.slot);
    if (slot?.lease === lease) this.#parts.fleet.assign(slot, undefined, nowMs);
    if (lease.takes.length > 0) this.#freed.add(lease.node);
  }
}
