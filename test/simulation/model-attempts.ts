import type { ErrorKind } from '../../src/errors.ts';
import type { LeaseReport, Verdict } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import type { ModelFleet } from './model-fleet.ts';
import { fits, type ModelLease, type ModelSlot, type ModelTask } from './model-parts.ts';
import type { ModelTasks } from './model-tasks.ts';
import type { SimResult } from './vocabulary.ts';

/** What the scheduler has to say in this step. */
export interface Expectations {
  /** Results to be recorded. */
  readonly records: Set<ModelLease>;
  /** Nodes to be isolated. */
  readonly isolated: Set<string>;
  /** Actions to be quarantined, by key. */
  readonly quarantined: string[];
  /** Slots whose work is to be stopped because nobody asked for it; others may be. */
  readonly stopped: Set<string>;
  readonly mayBeStopped: Set<string>;
  /** Operations that nobody has waited for. */
  readonly abandoned: Set<string>;
  /** Slots whose work of a former server goes on. */
  readonly adopted: Set<string>;
}

/** A second look has to begin within this time. */
export const SECOND_LOOK_MS = 600_000;

/** What reports mean, and what follows from a bad end: the rules of the protocol, from the outside. */
export class ModelAttempts {
  readonly #tasks: ModelTasks;
  readonly #fleet: ModelFleet;
  readonly #options: SchedulerOptions;
  readonly #expected: () => Expectations;
  /** The last losses, to tell one from many. */
  #losses: { readonly node: string; readonly action: string; readonly atMs: number }[] = [];

  constructor(tasks: ModelTasks, fleet: ModelFleet, options: SchedulerOptions, expected: () => Expectations) {
    this.#tasks = tasks;
    this.#fleet = fleet;
    this.#options = options;
    this.#expected = expected;
  }

  /** A slot said what it holds. Afterwards `slot.lease` is what it has to be told to hold. */
  read(slot: ModelSlot, isAdopting: boolean, nowMs: number): void {
    const { report } = slot;
    if (report !== undefined) {
      const lease = this.#find(slot, report) ?? (isAdopting ? this.#adopt(slot, report, nowMs) : undefined);
      if (lease !== undefined) {
        if (report.completed === undefined) this.#confirm(lease, slot, nowMs);
        else this.#complete(lease, slot, report.completed, nowMs);
        if (lease === slot.lease || slot.lease === undefined) return;
      }
    }
    if (slot.lease !== undefined) this.#unanswered(slot.lease, nowMs);
  }

  /** Nothing more will come of it, as far as anybody knows. */
  lose(lease: ModelLease, how: 'silent' | 'dropped' | 'died', nowMs: number): void {
    if (lease.state !== 'live') return;
    const { task, node } = lease;
    const slot = this.#fleet.slots.get(lease.slot);
    const isToBlame = slot !== undefined && this.#isToBlame(lease, slot, how, nowMs);
    this.#tasks.drop(lease, 'lost');
    if (isToBlame) this.#judge(slot, 'worker-fault', task, nowMs);
    task.lost++;
    if (isToBlame) {
      task.downs++;
      task.tookDown.add(node.name);
      task.faultyNodes.add(node.name);
    }
    if (!this.#isOpenEnded(task)) return;
    const { quarantineAfter, maxLost, maxAttempts } = this.#options.retries;
    const isOver = task.lost > maxLost || task.leases.length >= maxAttempts;
    // A small fleet has not enough machines: there it is an action that never ended otherwise, more than once.
    const onlyTookDown = task.downs > 1 && task.downs === task.leases.length;
    const isPoison = task.tookDown.size >= quarantineAfter || (isOver && onlyTookDown);
    if (quarantineAfter > 0 && isPoison) {
      this.#expected().quarantined.push(task.action.keyText);
      task.doom = { kinds: ['precondition'] };
    } else if (isOver) this.#fail(task, ['unavailable', 'internal']);
    else this.#again(task);
  }

  /** A slot that had not begun, or takes nothing new, was not taken down; nor is it certain while others are silent, too. */
  #isToBlame(lease: ModelLease, slot: ModelSlot, how: 'silent' | 'dropped' | 'died', nowMs: number): boolean {
    if (!(lease.isConfirmed || how === 'died') || !this.#fleet.isOpen(slot)) return false;
    const isSingle = this.#isSingle(slot.node.name, lease.task.keyText, nowMs);
    const heardMs = this.#fleet.lastHeardBesides(slot.node.name);
    return isSingle && (how !== 'silent' || heardMs > nowMs - this.#options.leaseTimeoutMs / 2);
  }

  /** Three machines lost within one lease time, with different actions, are nobody's doing. */
  #isSingle(node: string, action: string, nowMs: number): boolean {
    this.#losses = this.#losses.filter(({ atMs }) => atMs > nowMs - this.#options.leaseTimeoutMs);
    const others = this.#losses.filter((loss) => loss.node !== node && loss.action !== action);
    this.#losses.push({ node, action, atMs: nowMs });
    return new Set(others.map((loss) => loss.node)).size < 2;
  }

  /** A failure that was looked at a second time stands, if nothing comes of that. */
  #fail(task: ModelTask, kinds: readonly ErrorKind[]): void {
    task.doom = task.fallback === undefined ? { kinds } : { result: task.fallback.result };
  }

  #judge(slot: ModelSlot, verdict: Verdict, task: ModelTask, nowMs: number): void {
    const ending = { node: slot.node, kind: slot.offer.text, verdict, action: task.keyText };
    const isolated = this.#fleet.noteEnding(ending, nowMs);
    if (isolated !== undefined) this.#expected().isolated.add(isolated.name);
  }

  #find(slot: ModelSlot, report: LeaseReport<SimResult>): ModelLease | undefined {
    const lease = report.lease === undefined ? slot.lease : this.#tasks.leases.get(report.lease);
    const isIts = lease?.slot === slot.name && lease.state !== 'over';
    return isIts && lease.task.action.key.action.hash === report.action.hash ? lease : undefined;
  }

  /** Within the grace work of a former server goes on, if it is known whose it is. */
  #adopt(slot: ModelSlot, report: LeaseReport<SimResult>, nowMs: number): ModelLease | undefined {
    // What this server ordered has to stop. A plain worker names no lease, but of a slot that ran something for this server it is clear.
    const isOwn = report.lease === undefined ? slot.hasHeld : report.lease.startsWith(this.#options.leasePrefix);
    if (slot.lease !== undefined || isOwn) return undefined;
    if (report.lease !== undefined && this.#tasks.leases.has(report.lease)) return undefined;
    const task = this.#tasks.reported(slot, report) ?? this.#tasks.orphan(slot, report, nowMs);
    if (task === undefined || task.state === 'recording' || task.state === 'kept') return undefined;
    // What was asked for runs only where it may, though it runs there already.
    if (!this.#tasks.orphans.has(task) && !fits(task, slot.offer)) return undefined;
    this.#expected().adopted.add(slot.name);
    return this.#tasks.start(task, slot, { id: report.lease ?? '', isConfirmed: true, isHedge: false }, nowMs);
  }

  /** What goes on after all is not started again, unless that runs already. */
  #confirm(lease: ModelLease, slot: ModelSlot, nowMs: number): void {
    const { task } = lease;
    if (lease === slot.lease) {
      lease.isConfirmed = true;
      return;
    }
    const isUnbegun = task.state === 'leased' && [...task.live].every(({ isConfirmed }) => !isConfirmed);
    if (slot.lease !== undefined || !(task.state === 'queued' || isUnbegun) || !fits(task, slot.offer)) return;
    for (const other of task.live) this.#tasks.drop(other, 'over');
    task.lost = Math.max(0, task.lost - 1);
    if (task.tookDown.delete(lease.node.name)) task.downs--;
    lease.isConfirmed = true;
    this.#tasks.hold(lease, slot, nowMs);
  }

  #complete(
    lease: ModelLease,
    slot: ModelSlot,
    { result, verdict }: NonNullable<LeaseReport<SimResult>['completed']>,
    nowMs: number,
  ): void {
    const { task } = lease;
    const isUseful = verdict === 'success' || verdict === 'failure';
    if (lease.state === 'lost' && !isUseful) return;
    this.#tasks.drop(lease, 'over');
    this.#judge(slot, verdict, task, nowMs);
    const larger = this.#largerFor(lease, verdict);
    if (isUseful && larger === 0) {
      for (const other of task.leases) this.#tasks.drop(other, 'over');
      task.recording = { lease, atMs: nowMs, result };
      task.state = 'recording';
      this.#expected().records.add(lease);
      return;
    }
    if (verdict === 'worker-fault') task.faults++;
    if (verdict === 'exhausted') task.exhausted++;
    if (!this.#isOpenEnded(task)) return;
    const { maxFaults, maxExhausted, maxAttempts } = this.#options.retries;
    if (task.faults > maxFaults || task.exhausted > maxExhausted || task.leases.length >= maxAttempts) {
      task.doom = { result };
      return;
    }
    if (larger > 0) {
      task.largerClass = larger;
      task.fallback = { result, giveUpAtMs: nowMs + SECOND_LOOK_MS };
    } else task.faultyNodes.add(lease.node.name);
    this.#again(task);
  }

  /** A failure on a small machine is believed only when the largest has seen it too: once. 0 if it stays where it is. */
  #largerFor({ task, sizeClass }: ModelLease, verdict: Verdict): number {
    const { onLarger, maxAttempts } = this.#options.retries;
    const isItsOwn = verdict === 'exhausted' ? onLarger !== 'nothing' : verdict === 'failure' && onLarger === 'failure';
    if (!isItsOwn || sizeClass === 0 || task.largerClass > 0 || task.leases.length >= maxAttempts) return 0;
    const largest = this.#fleet.largestClass(task, verdict === 'exhausted');
    return largest > sizeClass ? largest : 0;
  }

  #isOpenEnded(task: ModelTask): boolean {
    if (task.state !== 'leased' || task.live.size > 0) return false;
    if (task.operations.size > 0) return true;
    this.#tasks.end(task);
    return false;
  }

  #again(task: ModelTask): void {
    task.state = 'queued';
    task.absentSinceMs = Number.POSITIVE_INFINITY;
    if (task.largerClass > 0) task.sizeClass = task.largerClass;
  }

  /** The slot does not hold what it was told to. */
  #unanswered(lease: ModelLease, nowMs: number): void {
    if (lease.isConfirmed) {
      this.lose(lease, 'dropped', nowMs);
      return;
    }
    lease.resends++;
    if (lease.resends <= this.#options.maxResends) return;
    if (lease.task.live.size > 1) this.lose(lease, 'silent', nowMs);
    else this.#fail(lease.task, ['internal']);
  }
}
