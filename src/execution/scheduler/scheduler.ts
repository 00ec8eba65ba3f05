import { invariant, ReapiError } from '../../errors.ts';
import type { PlatformMatcher } from '../../platform/platform.ts';
import { Adoption } from './adoption.ts';
import { Attempts } from './attempts.ts';
import { Deadline, Deadlines } from './deadlines.ts';
import type { Demand } from './demand.ts';
import { Dispatcher } from './dispatcher.ts';
import { Effects } from './effects.ts';
import type { Effect, Scheduler, SchedulerEvent } from './events.ts';
import { Fleet, type FleetListener } from './fleet.ts';
import { Isolation } from './isolation.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from './options.ts';
import { Patience } from './patience.ts';
import { Placement } from './placement.ts';
import type { Slot } from './pool.ts';
import { Quarantine } from './quarantine.ts';
import { Queue } from './queue.ts';
import { Retries } from './retries.ts';
import { LiveView } from './scheduler-view.ts';
import { Shares } from './shares.ts';
import { Stragglers } from './stragglers.ts';
import type { Task } from './task.ts';
import { RETRY_AFTER_MS, Tasks } from './tasks.ts';
import type { SchedulerView } from './view.ts';

const NONE: readonly never[] = [];

type Of<Work, Result, Type> = Extract<SchedulerEvent<Work, Result>, { readonly type: Type }>;

/** A scheduler, and what may be known of it. */
export interface ViewedScheduler<Work, Result> extends Scheduler<Work, Result> {
  readonly view: SchedulerView<Work>;
}

/**
 * The state machine.
 *
 * A task is `queued`, `leased`, `recording`, `kept` or `over`:
 *
 *     submit ──► queued ──slot free──► leased ──completed──► recording ──recorded, or too late──► over
 *                  ▲                     │                       └── nobody asked yet ──► kept ──┘
 *                  └── lost, or fault ───┘   while attempts are left; else over
 *
 * From queued and leased it also goes over when its last operation is cancelled or abandoned; a task being recorded then
 * ends quietly, its result is good. A newcomer joins any of them by its merge policy, but `fresh` never one whose result is visible.
 * An orphan (see `adoption.ts`) begins as `leased`, without operations.
 *
 * A slot is unknown, busy (it holds a lease), polling (its sync may be answered later) or between calls. A polling slot
 * *waits* if it is open, that is, neither drained nor on an isolated node; only then does work reach it without a sync.
 * Every sync is answered with the whole truth. What a slot reports decides first, its assignment second:
 *
 *     reports             assigned L, sent            assigned L, running     assigned nothing
 *     idle, or another    L again; after `maxResends` L is lost               work, or it polls (a slot that
 *                         the task fails                                      executes something: nothing, it must stop)
 *     executing L         L is running                L again (silence ends)  –
 *     completed L         L is recorded               L is recorded           –
 *     a lost lease        its result is taken if the task is unfinished; it runs on if the task is still queued
 *     something unknown   as idle                     as idle                 soon after the start: it is adopted
 *
 * Silence: a slot that holds a lease and says nothing for `leaseTimeoutMs`, or one without for `slotTimeoutMs`, is forgotten, and
 * its lease is lost. What follows a lost lease or a bad end is in `retries.ts`; a task that is queued again keeps its place.
 *
 * Order: see `fair-queue.ts` and `order.ts`. A task whose turn it is and for which no node has enough left has one node emptied for it.
 *
 * Platforms: a pool is remembered for `platformGraceMs` after its last slot went. A task that no remembered pool fits
 * fails, except during that time after the first event; one that only configured pools without workers fit waits as long as those allow.
 *
 * Cost, with T tasks queued in D demands (equal wishes), P pools of S slots and shares of L levels: submit O(L log T + P),
 * sync O(L log T + L·D + log S), cancel and expiry O(L log T). Matches are computed once per demand and pool. Queued tasks are never
 * scanned, slots only for drains, and where a demand avoids nodes or takes more than nodes have left.
 */
class StateMachine<Work, Result> implements ViewedScheduler<Work, Result> {
  readonly view: SchedulerView<Work>;
  readonly #options: SchedulerOptions;
  readonly #deadlines = new Deadlines();
  readonly #effects = new Effects<Work, Result>();
  readonly #queue: Queue<Work, Result>;
  readonly #fleet: Fleet<Work, Result>;
  readonly #placement: Placement<Work, Result>;
  readonly #tasks: Tasks<Work, Result>;
  readonly #quarantine: Quarantine;
  readonly #retries: Retries<Work, Result>;
  readonly #stragglers: Stragglers<Work, Result>;
  readonly #attempts: Attempts<Work, Result>;
  readonly #adoption: Adoption<Work, Result>;
  readonly #patience: Patience<Work, Result>;
  readonly #dispatcher: Dispatcher<Work, Result>;
  readonly #startUp = new Deadline(() => this.#failUnserved('no-such-platform'));
  #nowMs = Number.NEGATIVE_INFINITY;
  #announcedMs: number | undefined;

  constructor(matcher: PlatformMatcher, options: SchedulerOptions) {
    this.#options = options;
    const [deadlines, effects] = [this.#deadlines, this.#effects];
    const queue = new Queue<Work, Result>(options.fairness);
    this.#queue = queue;
    const shares = new Shares(options.fairness);
    const fleet = new Fleet<Work, Result>(deadlines, this.#fleetListener(), options);
    this.#fleet = fleet;
    const placement = new Placement(matcher, queue, fleet);
    this.#placement = placement;
    const listener = {
      onEnded: (task: Task<Work, Result>) => {
        this.#adoption.forget(task);
        this.#attempts.forget(task, this.#nowMs);
      },
      keepUntilMs: (task: Task<Work, Result>) => (task.work === undefined ? this.#adoption.untilMs : undefined),
    };
    const tasks = new Tasks({ queue, shares, deadlines, effects, listener }, options);
    this.#tasks = tasks;
    this.#quarantine = new Quarantine(options.retries.maxQuarantined);
    this.#retries = new Retries({ queue, placement, tasks, quarantine: this.#quarantine, effects, deadlines }, options);
    this.#stragglers = new Stragglers(deadlines, fleet, placement, options);
    this.#attempts = new Attempts(
      {
        ...{ fleet, tasks, shares, effects, retries: this.#retries, stragglers: this.#stragglers },
        isolation: new Isolation(fleet, effects, options.isolation),
        unqueue: (task) => this.#unqueue(task),
        mayRevive: (lease, slot) => placement.fits(lease.task.demand, slot.pool),
      },
      options,
    );
    const now = (): number => this.#nowMs;
    this.#dispatcher = new Dispatcher({
      ...{ deadlines, effects, queue, fleet, placement, now },
      ...{ attempts: this.#attempts, stragglers: this.#stragglers },
    });
    this.#adoption = new Adoption({ queue, tasks, attempts: this.#attempts, placement, deadlines, effects }, options);
    this.#patience = new Patience({ deadlines, placement, tasks });
    queue.listen({
      onDemand: (demand) => placement.linkDemand(demand),
      onPatienceOver: (demand) => this.#patience.over(demand, this.#nowMs),
      onEmpty: (demand) => {
        deadlines.clear(demand.patience);
        if (demand.reservation !== undefined) fleet.unreserve(demand.reservation);
      },
    });
    this.view = new LiveView(
      { queue, fleet, tasks, placement, shares, quarantine: this.#quarantine, now: () => this.#nowMs },
      options,
    );
    fleet.openConfigured();
  }

  apply(event: SchedulerEvent<Work, Result>, nowMs: number): readonly Effect<Work, Result>[] {
    invariant(nowMs >= this.#nowMs, 'the time of the scheduler went back');
    if (this.#nowMs === Number.NEGATIVE_INFINITY) {
      this.#deadlines.set(this.#startUp, nowMs + this.#options.platformGraceMs);
      this.#dispatcher.holdBack(this.#options.reunionMs, nowMs);
      this.#adoption.begin(nowMs);
    }
    this.#nowMs = nowMs;
    this.#deadlines.run(nowMs);
    this.#handle(event);
    this.#settle();
    this.#announce(event.type === 'tick');
    return this.#effects.take();
  }

  #fleetListener(): FleetListener<Work, Result> {
    return {
      onSilent: (slot) => this.#part(slot, `worker ${slot.name} fell silent`),
      onPool: (pool) => this.#placement.linkPool(pool),
      onPoolEmpty: (pool) => {
        for (const demand of pool.demands) this.#patience.check(demand, this.#nowMs);
      },
      onPoolForgotten: (pool) => {
        this.#placement.unlinkPool(pool);
        this.#failUnserved('unavailable');
      },
      onProbation: (node) => {
        this.#fleet.forgive(node.name);
        this.#attempts.freed(node);
      },
      onRetry: (node) => this.#attempts.freed(node),
    };
  }

  #handle(event: SchedulerEvent<Work, Result>): void {
    switch (event.type) {
      case 'submit':
        this.#submit(event);
        break;
      case 'attach':
        this.#tasks.attach(event.operation);
        break;
      case 'detach':
        this.#tasks.detach(event.operation, this.#nowMs);
        break;
      case 'cancel':
        this.#tasks.cancel(event.operation, event.message ?? 'the operation was cancelled');
        break;
      case 'sync':
        this.#sync(event);
        break;
      case 'answered':
        this.#withSlot(event.slot, (slot) => this.#fleet.answered(slot, this.#nowMs));
        break;
      case 'leave':
        this.#withSlot(event.slot, (slot) => this.#part(slot, `worker ${slot.name} left`));
        break;
      case 'recorded':
        this.#recorded(event);
        break;
      case 'drain':
        this.#dispatcher.offerWork(this.#fleet.drain(event, this.#nowMs));
        break;
      case 'forgive':
        this.#dispatcher.offerWork(this.#fleet.forgive(event.node));
        break;
      case 'release':
        this.#quarantine.release(event.key);
        break;
      case 'tick':
        break;
    }
  }

  #submit(event: Of<Work, Result, 'submit'>): void {
    const refusal = this.#refusalOf(event);
    if (refusal !== undefined) {
      this.#effects.refuse(event.operation, refusal);
      return;
    }
    const shared = this.#tasks.mergeable(event) ?? this.#adoption.claimable(event);
    if (shared !== undefined) this.#share(shared, event);
    else this.#begin(event);
  }

  #refusalOf({ key, operation }: Of<Work, Result, 'submit'>): ReapiError | undefined {
    invariant(this.#tasks.operation(operation) === undefined, `operation ${operation} was submitted twice`);
    if (this.#tasks.isFull) {
      return new ReapiError('queue-full', 'there are too many operations', { retryAfterMs: RETRY_AFTER_MS });
    }
    const quarantined = this.#quarantine.get(key, this.#nowMs);
    return quarantined && new ReapiError('precondition', quarantined.reason);
  }

  /** The operation waits for a task that is there already. */
  #share(task: Task<Work, Result>, event: Of<Work, Result, 'submit'>): void {
    if (task.work === undefined) {
      this.#tasks.claim(task, event, this.#demandOf(event));
      this.#attempts.claimed(task);
      this.#adoption.forget(task);
    }
    if (task.state === 'queued') this.#tasks.recount(task, event);
    const operation = this.#tasks.join(task, event);
    if (task.state === 'kept') this.#tasks.answerKept(operation);
    else this.#effects.stage(operation, task.state === 'queued' ? this.#whyWaiting(task.demand) : undefined);
  }

  #begin(event: Of<Work, Result, 'submit'>): void {
    const task = this.#tasks.create(event, this.#demandOf(event), this.#nowMs);
    const operation = this.#tasks.join(task, event);
    this.#queue.push(task);
    const { demand } = task;
    this.#dispatcher.startIfPossible(task);
    if (task.state !== 'queued') return;
    if (this.#queue.size > this.#options.maxQueuedTasks) this.#tasks.fail(task, 'queue-full', 'the queue is full');
    else if (this.#isHopeless(demand)) this.#failAll(demand, 'no-such-platform');
    else this.#patience.check(demand, this.#nowMs);
    if (task.state === 'queued') this.#effects.stage(operation, this.#whyWaiting(demand));
  }

  #demandOf({ key, needs, sizeClass = 0 }: Of<Work, Result, 'submit'>): Demand<Work, Result> {
    const { instance } = key;
    const demand = this.#queue.demandOf({ instance, needs, avoids: [], sizeClass });
    // What was learned of classes that are gone must not make the action wait for ever.
    if (sizeClass === 0 || demand.pools.size > 0) return demand;
    return this.#queue.demandOf({ instance, needs, avoids: [], sizeClass: 0 });
  }

  #sync(event: Of<Work, Result, 'sync'>): void {
    if (this.#fleet.isFull(event.slot)) {
      // One that executes something must stop it, and is not kept waiting (R-BB-06).
      this.#effects.nothingFor(event.slot, !event.prefersIdle && event.holding === undefined);
      return;
    }
    if (this.#fleet.isStale(event)) {
      this.#effects.nothingFor(event.slot, false);
      return;
    }
    const isReborn = this.#fleet.isReborn(event);
    const slot = this.#fleet.heard(event, this.#nowMs);
    if (isReborn && slot.lease !== undefined) {
      const reason = `worker ${slot.name} was started anew`;
      this.#attempts.lose(slot.lease, { reason, kind: 'internal', hasDied: true }, this.#nowMs);
    }
    const { holding } = event;
    const adopt = () => (holding === undefined ? undefined : this.#adoption.adopt(slot, holding, this.#nowMs));
    this.#attempts.read(slot, holding, adopt, this.#nowMs);
    if (slot.lease === undefined && this.#fleet.isOpen(slot)) this.#dispatcher.findWork(slot);
    const isExecuting = holding !== undefined && holding.completed === undefined;
    const isLeaving = slot.isTerminating && slot.canExit;
    if (slot.lease === undefined && !isExecuting && !event.prefersIdle && !isLeaving) this.#fleet.startPolling(slot);
    this.#effects.orders(slot, isExecuting && event.prefetches === true ? this.#dispatcher.hintFor(slot) : undefined);
  }

  #recorded({ lease: id, failed }: Of<Work, Result, 'recorded'>): void {
    const lease = this.#attempts.lease(id);
    if (lease !== undefined) this.#tasks.recorded(lease, failed);
  }

  #unqueue(task: Task<Work, Result>): void {
    if (task.heapIndex >= 0) this.#queue.remove(task);
    // Its node is not emptied any more: the next of its kind begins anew.
    if (task.demand.reservation !== undefined) this.#fleet.unreserve(task.demand.reservation);
  }

  /** Forgets a slot; what it held is lost. */
  #part(slot: Slot<Work, Result>, reason: string): void {
    if (slot.lease !== undefined) this.#attempts.lose(slot.lease, { reason }, this.#nowMs);
    this.#fleet.remove(slot, this.#nowMs);
  }

  #withSlot(name: string, act: (slot: Slot<Work, Result>) => void): void {
    const slot = this.#fleet.slot(name);
    if (slot !== undefined) act(slot);
  }

  /**
   * Slots that wait take the tasks that were queued again, those that avoided a node until this event took the alternative away, and
   * what their node has got room for. Nothing else can leave a fitting pair: a sync and a submit look for their own.
   */
  #settle(): void {
    this.#dispatcher.endReunion();
    let requeued = this.#retries.takeRequeued();
    do {
      // First, as for these slots all that is queued competes.
      this.#dispatcher.refillFreed();
      const wary = this.#fleet.takeNarrowed() ? this.#queue.waryDemands : NONE;
      this.#dispatcher.place([...new Set([...requeued, ...wary])]);
      this.#dispatcher.refillFreed();
      for (const demand of requeued) this.#judge(demand);
      requeued = this.#retries.takeRequeued();
    } while (requeued.size > 0);
    // Last, as only slots that would be idle hedge.
    this.#dispatcher.hedgeStragglers();
  }

  /** What becomes of tasks that were queued again and found no slot. */
  #judge(demand: Demand<Work, Result>): void {
    if (demand.queue.size === 0) return;
    if (this.#isHopeless(demand)) this.#failAll(demand, 'unavailable');
    else this.#patience.check(demand, this.#nowMs);
  }

  #isHopeless(demand: Demand<Work, Result>): boolean {
    return !this.#startUp.isSet && demand.pools.size === 0;
  }

  #failUnserved(kind: 'no-such-platform' | 'unavailable'): void {
    for (const demand of [...this.#queue.demands]) {
      if (this.#isHopeless(demand)) this.#failAll(demand, kind);
    }
  }

  /** Ends the tasks of a demand that nothing fits any more; a size class that is gone is given up first. */
  #failAll(demand: Demand<Work, Result>, kind: 'no-such-platform' | 'unavailable'): void {
    if (demand.sizeClass > 0) {
      this.#retries.relax(demand);
      return;
    }
    const message = this.#placement.explain(demand);
    const tasks = [...demand.queue.items()].sort((a, b) => a.arrival - b.arrival);
    for (const task of tasks) this.#tasks.fail(task, kind, message);
  }

  #whyWaiting(demand: Demand<Work, Result>): string | undefined {
    switch (this.#placement.hasWorkers(demand)) {
      case 'connected':
        return this.#dispatcher.isHeldBack ? 'waiting a moment for workers to come back after a restart' : undefined;
      case 'configured':
        return `waiting for a worker of ${this.#patience.poolsOf(demand)}`;
      default:
        return `waiting for a worker: ${this.#placement.explain(demand)}`;
    }
  }

  #announce(isTick: boolean): void {
    const { nextMs } = this.#deadlines;
    if (nextMs !== undefined && (isTick || nextMs !== this.#announcedMs)) this.#effects.wake(nextMs);
    this.#announcedMs = nextMs;
  }
}

/** A scheduler with nothing queued and nobody known. `options` replaces single values of `DEFAULT_OPTIONS`. */
export function createScheduler<Work, Result>(
  matcher: PlatformMatcher,
  options: Partial<SchedulerOptions> = {},
): ViewedScheduler<Work, Result> {
  return new StateMachine<Work, Result>(matcher, { ...DEFAULT_OPTIONS, ...options });
}
