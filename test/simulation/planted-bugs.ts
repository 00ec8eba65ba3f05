import { parseInstanceName } from '../../src/digest/instance-name.ts';
import type { Completion } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { createScheduler, type ViewedScheduler } from '../../src/execution/scheduler/scheduler.ts';
import type { SchedulerView } from '../../src/execution/scheduler/view.ts';
import type { PlatformMatcher } from '../../src/platform/platform.ts';
import type { Start } from './sim-host.ts';
import {
  MATCHER,
  type SimEffect,
  type SimEvent,
  type SimResult,
  type SimSubmit,
  type SimSync,
  type SimWork,
} from './vocabulary.ts';

/** A scheduler with one rule taken away, by what it is told or what it may say; its code is the real one. */
export interface PlantedBug {
  /** The rule that is missing. */
  readonly name: string;
  readonly start: Start;
}

type Inner = ViewedScheduler<SimWork, SimResult>;

interface Change {
  readonly options?: Partial<SchedulerOptions>;
  readonly retries?: Partial<SchedulerOptions['retries']>;
  readonly fairness?: Partial<SchedulerOptions['fairness']>;
  readonly hedging?: Partial<SchedulerOptions['hedging']>;
  readonly isolation?: Partial<SchedulerOptions['isolation']>;
  /** How long configured pools may be without workers. */
  readonly waitMs?: number;
  readonly matcher?: PlatformMatcher;
  /** Undefined drops the event. */
  readonly event?: (event: SimEvent) => SimEvent | undefined;
  readonly effect?: (effect: SimEffect) => SimEffect | undefined;
  readonly effects?: (effects: readonly SimEffect[]) => readonly SimEffect[];
  readonly view?: (view: SchedulerView<SimWork>) => Partial<SchedulerView<SimWork>>;
}

/** Later than any simulated world. */
const NEVER_MS = 1e12;
const ENDLESS = 1_000_000;

const ALL_FIT: PlatformMatcher = {
  parse: (platform, demands) => MATCHER.parse(platform, demands),
  parseOffer: (platform) => MATCHER.parseOffer(platform),
  match: () => ({ fits: true }),
  preferred: () => 0,
  capacityOf: (alternatives) => MATCHER.capacityOf(alternatives),
};

/** Each must be caught by the invariants within a few seeds; otherwise they are blind to that rule. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  bug('expiry of silent slots', { options: { leaseTimeoutMs: NEVER_MS, slotTimeoutMs: NEVER_MS } }),
  bug('drain', { event: without('drain') }),
  bug('labels of slots', { event: onSync(({ labels: _, ...sync }) => sync) }),
  bug('termination', { event: (event) => (event.type === 'drain' ? { ...event, isTermination: false } : event) }),
  bug('ability to exit', { event: onSync((sync) => ({ ...sync, canExit: true })) }),
  bug('platform check', { matcher: ALL_FIT }),
  bug('instance name prefix', { event: onSync((sync) => ({ ...sync, instancePrefix: parseInstanceName('') })) }),
  bug('limit of attempts', { retries: { maxAttempts: ENDLESS } }),
  bug('limit of lost attempts', { retries: { maxLost: ENDLESS } }),
  bug('limit of faults', { retries: { maxFaults: ENDLESS } }),
  bug('limit of exhaustion', { retries: { maxExhausted: ENDLESS } }),
  bug('retry on the largest machine', { retries: { onLarger: 'nothing' } }),
  bug('limit of what is retried on the largest machine', { retries: { onLarger: 'failure' } }),
  bug('size class that is asked for', { event: onSubmit(({ sizeClass: _, ...submit }) => submit) }),
  bug('quarantine', { retries: { quarantineAfter: 0 } }),
  bug('patience before quarantine', { retries: { quarantineAfter: 1 } }),
  bug('end of quarantine', { retries: { quarantineMs: NEVER_MS } }),
  bug('release from quarantine', { event: without('release') }),
  bug('isolation', { isolation: { faultsInARow: 0, window: 0 } }),
  bug('comparison before isolation', { isolation: { faultsInARow: 1 } }),
  bug('limit of isolation', { isolation: { maxShare: 1 } }),
  bug('end of isolation', { isolation: { forMs: NEVER_MS } }),
  bug('forgiveness', { event: without('forgive') }),
  bug('capacity', { event: onSync((sync) => ({ ...sync, offer: { ...sync.offer, capacity: [] } })) }),
  bug('limit of sending a lease again', { options: { maxResends: ENDLESS } }),
  bug('abandonment', { options: { abandonAfterMs: NEVER_MS } }),
  bug('deadline of records', { options: { recordTimeoutMs: NEVER_MS } }),
  bug('merging', { event: onSubmit((submit) => ({ ...submit, merge: 'never' })) }),
  bug('merge policy', { event: onSubmit((submit) => ({ ...submit, merge: 'any' })) }),
  bug('priority', { event: onSubmit((submit) => ({ ...submit, priority: 0 })) }),
  bug('limit of priority', { fairness: { maxPriority: ENDLESS } }),
  bug('shares', { event: onSubmit(({ shares: _, ...submit }) => submit) }),
  bug('inner shares', { event: onSubmit((submit) => ({ ...submit, shares: submit.shares?.slice(0, 1) ?? [] })) }),
  bug('weights', { event: onSubmit(withEqualWeights) }),
  bug('ageing', { fairness: { ageingMsPerPoint: NEVER_MS } }),
  bug('longest first', { fairness: { longestFirst: 0 } }),
  bug('start-up grace', { options: { platformGraceMs: 0 } }),
  bug('wait for configured pools', { waitMs: 0 }),
  bug('end of the wait for configured pools', { waitMs: NEVER_MS }),
  bug('time to come back after a restart', { options: { reunionMs: 0 } }),
  bug('adoption', { options: { adoptionGraceMs: 0 } }),
  bug('end of adoption', { options: { adoptionGraceMs: NEVER_MS } }),
  bug('keys in reports', { event: onHolding(({ key: _, ...holding }) => holding) }),
  bug('distinction of lives', { options: { leasePrefix: 'lease-' } }),
  bug('limit of operations', { options: { maxOperations: ENDLESS } }),
  bug('limit of the queue', { options: { maxQueuedTasks: ENDLESS } }),
  bug('limit of slots', { options: { maxSlots: ENDLESS } }),
  bug('patience with stragglers', { hedging: { factor: 0, minMs: 0 } }),
  bug('switch of hedging', { hedging: { isOn: true } }),
  bug('preference to be idle', { event: onSync((sync) => ({ ...sync, prefersIdle: false })) }),
  bug('wakes', { effect: (effect) => (effect.type === 'wake' ? undefined : effect) }),
  bug('notices', { effect: (effect) => (effect.type === 'notice' ? undefined : effect) }),
  bug('news of a new wait', { effect: (effect) => (isQueuedAgain(effect) ? undefined : effect) }),
  bug('attempts', { effect: (effect) => (effect.type === 'finish' ? { ...effect, attempts: [] } : effect) }),
  bug('orders for a slot that polls', { effects: onlyFirstOrders }),
  bug('faults of workers', { event: onCompleted((done) => ({ ...done, verdict: 'success' })) }),
  bug('difference of faults and failures', { event: onCompleted(asFailure) }),
  bug('explanations', { view: () => ({ explain: () => undefined }) }),
  bug('counts', { view: (view) => ({ counts: { ...view.counts, busySlots: 0 } }) }),
  { name: 'one lease a slot', start: (options) => withPhantoms(createScheduler(MATCHER, options)) },
  { name: 'one attempt at a time', start: (options) => withDoubles(createScheduler(MATCHER, options)) },
];

function bug(name: string, change: Change): PlantedBug {
  return {
    name,
    start: (options) => {
      const inner = createScheduler<SimWork, SimResult>(change.matcher ?? MATCHER, changed(options, change));
      return {
        get view(): SchedulerView<SimWork> {
          return change.view === undefined ? inner.view : withView(inner.view, change.view);
        },
        apply: (event, nowMs) => {
          const told = change.event === undefined ? event : change.event(event);
          const effects = inner.apply(told ?? { type: 'tick' }, nowMs);
          return said(effects, change);
        },
      };
    },
  };
}

function changed(options: SchedulerOptions, change: Change): SchedulerOptions {
  const { waitMs } = change;
  return {
    ...options,
    ...change.options,
    retries: { ...options.retries, ...change.retries },
    fairness: { ...options.fairness, ...change.fairness },
    hedging: { ...options.hedging, ...change.hedging },
    isolation: { ...options.isolation, ...change.isolation },
    pools: waitMs === undefined ? options.pools : options.pools.map((pool) => ({ ...pool, waitMs })),
  };
}

function said(effects: readonly SimEffect[], { effect: one, effects: all }: Change): readonly SimEffect[] {
  const some = one === undefined ? effects : effects.flatMap((effect) => one(effect) ?? []);
  return all === undefined ? some : all(some);
}

function withView(view: SchedulerView<SimWork>, change: NonNullable<Change['view']>): SchedulerView<SimWork> {
  return {
    counts: view.counts,
    busySlots: view.busySlots,
    taskOf: (operation) => view.taskOf(operation),
    taskFor: (key) => view.taskFor(key),
    tasks: () => view.tasks(),
    slots: () => view.slots(),
    slot: (name) => view.slot(name),
    pools: () => view.pools(),
    demands: () => view.demands(),
    shares: () => view.shares(),
    drains: () => view.drains(),
    isolated: () => view.isolated(),
    quarantined: () => view.quarantined(),
    explain: (operation, nowMs) => view.explain(operation, nowMs),
    ...change(view),
  };
}

function without(type: SimEvent['type']): (event: SimEvent) => SimEvent | undefined {
  return (event) => (event.type === type ? undefined : event);
}

function onSync(change: (event: SimSync) => SimSync): (event: SimEvent) => SimEvent {
  return (event) => (event.type === 'sync' ? change(event) : event);
}

function onSubmit(change: (event: SimSubmit) => SimSubmit): (event: SimEvent) => SimEvent {
  return (event) => (event.type === 'submit' ? change(event) : event);
}

type Holding = NonNullable<SimSync['holding']>;

function onHolding(change: (holding: Holding) => Holding): (event: SimEvent) => SimEvent {
  return onSync((sync) => (sync.holding === undefined ? sync : { ...sync, holding: change(sync.holding) }));
}

function onCompleted(change: (done: Completion<SimResult>) => Completion<SimResult>): (event: SimEvent) => SimEvent {
  return onHolding((holding) =>
    holding.completed === undefined ? holding : { ...holding, completed: change(holding.completed) },
  );
}

function asFailure(done: Completion<SimResult>): Completion<SimResult> {
  return done.verdict === 'worker-fault' ? { ...done, verdict: 'failure' } : done;
}

function withEqualWeights(submit: SimSubmit): SimSubmit {
  return { ...submit, shares: (submit.shares ?? []).map(({ id }) => ({ id, weight: 1 })) };
}

function isQueuedAgain(effect: SimEffect): boolean {
  return effect.type === 'stage' && effect.stage === 'queued' && effect.message?.startsWith('attempt') === true;
}

/** Drops what a slot is told beyond the first orders of a step. */
function onlyFirstOrders(effects: readonly SimEffect[]): readonly SimEffect[] {
  const first = effects.find((effect) => effect.type === 'orders');
  return effects.filter((effect) => effect.type !== 'orders' || effect === first);
}

/** Believes that a slot which runs something has room for more: it is told to run that instead. */
function withPhantoms(inner: Inner): Inner {
  return {
    view: inner.view,
    apply: (event, nowMs) => {
      const effects = withoutPhantoms(inner.apply(event, nowMs));
      if (event.type !== 'sync' || event.holding === undefined || event.holding.completed !== undefined) return effects;
      const { holding: _, ...idle } = event;
      const more = inner.apply({ ...idle, slot: `${event.slot}+` }, nowMs);
      const extra = more.find((effect) => effect.type === 'orders' && effect.hold !== undefined);
      if (extra?.type !== 'orders') return effects;
      const others = [...effects, ...more].filter((effect) => effect.type !== 'orders');
      return [...others, { ...extra, slot: event.slot }];
    },
  };
}

function withoutPhantoms(effects: readonly SimEffect[]): readonly SimEffect[] {
  return effects.filter((effect) => effect.type !== 'orders' || !effect.slot.endsWith('+'));
}

/** Gives what a slot was just told to start to the next idle slot, too. */
function withDoubles(inner: Inner): Inner {
  let last: Extract<SimEffect, { type: 'orders' }>['hold'];
  return {
    view: inner.view,
    apply: (event, nowMs) =>
      inner.apply(event, nowMs).map((effect) => {
        if (effect.type !== 'orders') return effect;
        if (effect.hold !== undefined) {
          last = { ...effect.hold, lease: `${effect.hold.lease}+`, attempt: effect.hold.attempt + 1 };
          return effect;
        }
        if (last === undefined || !effect.waits) return effect;
        const double = { ...effect, hold: last, waits: false };
        last = undefined;
        return double;
      }),
  };
}
