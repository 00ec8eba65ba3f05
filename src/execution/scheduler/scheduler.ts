import { invariant, ReapiError } from '../../errors.ts';
import type { PlatformMatcher } from '../../platform/platform.ts';
import { Attempts } from './attempts.ts';
import { Deadline, Deadlines } from './deadlines.ts';
import { Effects } from './effects.ts';
import type { Effect, Scheduler, SchedulerEvent } from './events.ts';
import { Fleet, type Slot } from './fleet.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from './options.ts';
import { Placement } from './placement.ts';
import { comesBefore, Queue, type TaskGroup } from './queue.ts';
import type { Task } from './task.ts';
import { RETRY_AFTER_MS, Tasks } from './tasks.ts';

type Of<Work, Result, Type> = Extract<SchedulerEvent<Work, Result>, { readonly type: Type }>;

/**
 * The state machine.
 *
 * A task is `queued`, `leased`, `recording` or `over`:
 *
 *     submit ──► queued ──slot free──► leased ──completed──► recording ──recorded, or too late──► over
 *                  ▲                     │
 *                  └── lost, or fault ───┘   while attempts are left; else over
 *
 * From queued and leased it also goes over when its last operation is cancelled or abandoned; a task being recorded then
 * ends quietly, its result is good. A newcomer joins any of the three by its merge policy, but `fresh` never a recording one.
 *
 * A slot is unknown, busy (it holds a lease), polling (its sync may be answered later) or between calls. A polling slot
 * *waits* if it is open, that is, its node is not drained; only then does work reach it without a sync.
 * Every sync is answered with the whole truth. What a slot reports decides first, its assignment second:
 *
 *     reports             assigned L, sent            assigned L, running     assigned nothing
 *     idle, or another    L again; after `maxResends` L is lost               work, or it polls (a slot that
 *                         the task fails                                      executes something: nothing, it must stop)
 *     executing L         L is running                L again (silence ends)  –
 *     completed L         L is recorded               L is recorded           –
 *     a lost lease        its result is taken if the task is unfinished; it runs on if the task is still queued
 *
 * Silence: a slot that holds a lease and says nothing for `leaseTimeoutMs`, or one without for `slotTimeoutMs`, is forgotten, and
 * its lease is lost. A lost lease or a worker's fault queues the task again at its old place, after a fault away from that node
 * as long as another node would do. `attempt ≤ maxAttempts` always.
 *
 * Platforms: an offer is remembered for `platformGraceMs` after its last slot went. A task that no remembered offer fits
 * fails, except during that time after the first event.
 *
 * Cost, with T tasks queued in G groups (equal demands) and O different offers of S slots: submit O(log T + O), sync O(log T + G + log S),
 * cancel and expiry O(log T). Matches are computed once per group and offer. Queued tasks are never scanned, slots only to
 * drain a node and where a group avoids nodes.
 */
class StateMachine<Work, Result> implements Scheduler<Work, Result> {
  readonly #options: SchedulerOptions;
  readonly #deadlines = new Deadlines();
  readonly #effects = new Effects<Work, Result>();
  readonly #queue = new Queue<Work, Result>();
  readonly #fleet: Fleet<Work, Result>;
  readonly #placement: Placement<Work, Result>;
  readonly #tasks: Tasks<Work, Result>;
  readonly #attempts: Attempts<Work, Result>;
  readonly #startUp = new Deadline(() => this.#failUnserved('no-such-platform'));
  #nowMs = Number.NEGATIVE_INFINITY;
  #announcedMs: number | undefined;

  constructor(matcher: PlatformMatcher, options: SchedulerOptions) {
    this.#options = options;
    const { leaseTimeoutMs, slotTimeoutMs, maxSlots, platformGraceMs } = options;
    this.#fleet = new Fleet(
      this.#deadlines,
      {
        onSilent: (slot) => this.#part(slot, `worker ${slot.name} fell silent`),
        onOfferForgotten: () => this.#failUnserved('unavailable'),
      },
      { leaseTimeoutMs, slotTimeoutMs, maxSlots, offerMemoryMs: platformGraceMs },
    );
    const [queue, fleet, effects] = [this.#queue, this.#fleet, this.#effects];
    this.#placement = new Placement(matcher, queue, fleet);
    const listener = { onEnded: (task: Task<Work, Result>) => this.#attempts.forget(task, this.#nowMs) };
    this.#tasks = new Tasks({ queue, deadlines: this.#deadlines, effects, listener }, options);
    this.#attempts = new Attempts({ queue, fleet, placement: this.#placement, tasks: this.#tasks, effects }, options);
  }

  apply(event: SchedulerEvent<Work, Result>, nowMs: number): readonly Effect<Work, Result>[] {
    invariant(nowMs >= this.#nowMs, 'the time of the scheduler went back');
    if (this.#nowMs === Number.NEGATIVE_INFINITY) {
      this.#deadlines.set(this.#startUp, nowMs + this.#options.platformGraceMs);
    }
    this.#nowMs = nowMs;
    this.#deadlines.run(nowMs);
    this.#handle(event);
    this.#settle();
    this.#announce(event.type === 'tick');
    return this.#effects.take();
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
        this.#tasks.cancel(event.operation, 'the operation was cancelled');
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
        this.#drain(event);
        break;
      case 'tick':
        break;
    }
  }

  #submit(event: Of<Work, Result, 'submit'>): void {
    if (this.#tasks.isFull) {
      const error = new ReapiError('queue-full', 'there are too many operations', { retryAfterMs: RETRY_AFTER_MS });
      this.#effects.finish(event.operation, { type: 'failed', error });
      return;
    }
    const shared = this.#tasks.mergeable(event);
    const task = shared ?? this.#tasks.create(event, this.#nowMs);
    const operation = this.#tasks.join(task, event);
    if (shared === undefined) {
      this.#queue.push(task);
      const slot = this.#placement.slotFor(task.group);
      if (slot !== undefined) this.#startNow(task, slot);
      else if (this.#queue.size > this.#options.maxQueuedTasks)
        this.#tasks.fail(task, 'queue-full', 'the queue is full');
      else if (this.#isHopeless(task.group)) this.#failGroup(task.group, 'no-such-platform');
    }
    if (task.state === 'over' || (shared === undefined && task.state === 'leased')) return;
    this.#effects.stage(operation, task.state === 'queued' ? this.#whyWaiting(task.group) : undefined);
  }

  #sync(event: Of<Work, Result, 'sync'>): void {
    if (this.#fleet.isFull(event.slot)) {
      this.#effects.nothingFor(event.slot, !event.prefersIdle);
      return;
    }
    const slot = this.#fleet.heard(event, this.#nowMs);
    this.#attempts.read(slot, event.holding, this.#nowMs);
    if (slot.lease === undefined && this.#fleet.isOpen(slot)) {
      const task = this.#placement.taskFor(slot);
      if (task !== undefined) this.#attempts.start(task, slot, this.#nowMs);
    }
    const isExecuting = event.holding !== undefined && event.holding.completed === undefined;
    if (slot.lease === undefined && !isExecuting && !event.prefersIdle) this.#fleet.startPolling(slot);
    this.#effects.orders(slot);
  }

  #recorded({ lease: id, failed }: Of<Work, Result, 'recorded'>): void {
    const lease = this.#attempts.lease(id);
    if (lease !== undefined) this.#tasks.recorded(lease, failed);
  }

  #drain({ node, on }: Of<Work, Result, 'drain'>): void {
    for (const slot of this.#fleet.drain(node, on)) {
      const task = this.#placement.taskFor(slot);
      if (task !== undefined) this.#startNow(task, slot);
    }
  }

  /** Gives a task to a waiting slot, whose poll is answered by these orders. */
  #startNow(task: Task<Work, Result>, slot: Slot<Work, Result>): void {
    this.#attempts.start(task, slot, this.#nowMs);
    this.#effects.orders(slot);
  }

  /** Forgets a slot; what it held is lost. */
  #part(slot: Slot<Work, Result>, reason: string): void {
    this.#fleet.remove(slot, this.#nowMs);
    if (slot.lease !== undefined) this.#attempts.lose(slot.lease, reason, this.#nowMs);
  }

  #withSlot(name: string, act: (slot: Slot<Work, Result>) => void): void {
    const slot = this.#fleet.slot(name);
    if (slot !== undefined) act(slot);
  }

  /**
   * Slots that wait take the tasks that were queued again, and those that avoided a node until this event took the alternative away.
   * Nothing else can leave a fitting pair: a sync and a submit look for their own.
   */
  #settle(): void {
    const requeued = this.#attempts.takeRequeued();
    const groups = new Set([...requeued, ...this.#queue.waryGroups]);
    for (;;) {
      const task = firstOf(groups);
      if (task === undefined) break;
      const slot = this.#placement.slotFor(task.group);
      if (slot === undefined) groups.delete(task.group);
      else this.#startNow(task, slot);
    }
    for (const group of requeued) {
      if (this.#isHopeless(group)) this.#failGroup(group, 'unavailable');
    }
  }

  #isHopeless(group: TaskGroup<Work, Result>): boolean {
    return !this.#startUp.isSet && this.#placement.hasWorkers(group) === false;
  }

  #failUnserved(kind: 'no-such-platform' | 'unavailable'): void {
    for (const group of [...this.#queue.groups]) {
      if (this.#isHopeless(group)) this.#failGroup(group, kind);
    }
  }

  #failGroup(group: TaskGroup<Work, Result>, kind: 'no-such-platform' | 'unavailable'): void {
    const message = this.#placement.explain(group);
    const tasks = [...group.tasks.items()].sort((a, b) => (comesBefore(a, b) ? -1 : 1));
    for (const task of tasks) this.#tasks.fail(task, kind, message);
  }

  #whyWaiting(group: TaskGroup<Work, Result>): string | undefined {
    if (this.#placement.hasWorkers(group) === true) return undefined;
    return `waiting for a worker: ${this.#placement.explain(group)}`;
  }

  #announce(isTick: boolean): void {
    const { nextMs } = this.#deadlines;
    if (nextMs !== undefined && (isTick || nextMs !== this.#announcedMs)) this.#effects.wake(nextMs);
    this.#announcedMs = nextMs;
  }
}

function firstOf<Work, Result>(groups: Iterable<TaskGroup<Work, Result>>): Task<Work, Result> | undefined {
  let best: Task<Work, Result> | undefined;
  for (const group of groups) {
    const first = group.tasks.peek();
    if (first !== undefined && (best === undefined || comesBefore(first, best))) best = first;
  }
  return best;
}

/** A scheduler with nothing queued and nobody known. `options` replaces single values of `DEFAULT_OPTIONS`. */
export function createScheduler<Work, Result>(
  matcher: PlatformMatcher,
  options: Partial<SchedulerOptions> = {},
): Scheduler<Work, Result> {
  return new StateMachine<Work, Result>(matcher, { ...DEFAULT_OPTIONS, ...options });
}
