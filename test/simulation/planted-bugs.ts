import { parseInstanceName } from '../../src/digest/instance-name.ts';
import type { Scheduler } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import type { PlatformMatcher } from '../../src/platform/platform.ts';
import { MATCHER, type SimEffect, type SimEvent, type SimResult, type SimWork } from './vocabulary.ts';
import type { MakeScheduler } from './world.ts';

/** A scheduler with one rule taken away, by what it is told or what it may say; its code is the real one. */
export interface PlantedBug {
  /** The rule that is missing. */
  readonly name: string;
  readonly make: MakeScheduler;
}

interface Change {
  readonly options?: Partial<SchedulerOptions>;
  readonly matcher?: PlatformMatcher;
  /** Undefined drops the event. */
  readonly event?: (event: SimEvent) => SimEvent | undefined;
  readonly effects?: (effects: readonly SimEffect[]) => readonly SimEffect[];
}

/** Later than any simulated world. */
const NEVER_MS = 1e12;

const ALL_FIT: PlatformMatcher = {
  parse: (platform, demands) => MATCHER.parse(platform, demands),
  parseOffer: (platform) => MATCHER.parseOffer(platform),
  match: () => ({ fits: true }),
};

/** Each must be caught by the invariants within a few seeds; otherwise they are blind to that rule. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  bug('expiry of silent slots', { options: { leaseTimeoutMs: NEVER_MS, slotTimeoutMs: NEVER_MS } }),
  bug('drain', { event: (event) => (event.type === 'drain' ? undefined : event) }),
  bug('platform check', { matcher: ALL_FIT }),
  bug('instance name prefix', { event: onSync({ instancePrefix: parseInstanceName('') }) }),
  bug('attempt limit', { options: { maxAttempts: 1_000_000 } }),
  bug('limit of sending a lease again', { options: { maxResends: 1_000_000 } }),
  bug('abandonment', { options: { abandonAfterMs: NEVER_MS } }),
  bug('deadline of records', { options: { recordTimeoutMs: NEVER_MS } }),
  bug('merging', { event: onSubmit({ merge: 'never' }) }),
  bug('merge policy', { event: onSubmit({ merge: 'any' }) }),
  bug('priority', { event: onSubmit({ priority: 0 }) }),
  bug('start-up grace', { options: { platformGraceMs: 0 } }),
  bug('preference to be idle', { event: onSync({ prefersIdle: false }) }),
  bug('wakes', { effects: (effects) => effects.filter((effect) => effect.type !== 'wake') }),
  bug('orders for a slot that polls', { effects: onlyFirstOrders }),
  bug('faults of workers', { event: withoutFaults }),
  { name: 'one lease a slot', make: (options) => withPhantoms(createScheduler(MATCHER, options)) },
];

function bug(name: string, change: Change): PlantedBug {
  return {
    name,
    make: (options) => {
      const inner = createScheduler<SimWork, SimResult>(change.matcher ?? MATCHER, { ...options, ...change.options });
      return {
        apply: (event, nowMs) => {
          const changed = change.event === undefined ? event : change.event(event);
          const effects = inner.apply(changed ?? { type: 'tick' }, nowMs);
          return change.effects === undefined ? effects : change.effects(effects);
        },
      };
    },
  };
}

type Sync = Extract<SimEvent, { type: 'sync' }>;
type Submit = Extract<SimEvent, { type: 'submit' }>;

function onSync(change: Partial<Sync>): (event: SimEvent) => SimEvent {
  return (event) => (event.type === 'sync' ? { ...event, ...change } : event);
}

function onSubmit(change: Partial<Submit>): (event: SimEvent) => SimEvent {
  return (event) => (event.type === 'submit' ? { ...event, ...change } : event);
}

function withoutFaults(event: SimEvent): SimEvent {
  if (event.type !== 'sync' || event.holding?.completed === undefined) return event;
  const completed = { ...event.holding.completed, isWorkerFault: false };
  return { ...event, holding: { ...event.holding, completed } };
}

/** Drops what a slot is told beyond the first orders of a step. */
function onlyFirstOrders(effects: readonly SimEffect[]): readonly SimEffect[] {
  const first = effects.find((effect) => effect.type === 'orders');
  return effects.filter((effect) => effect.type !== 'orders' || effect === first);
}

/** Believes that a slot which runs something has room for more: it is told to run that instead. */
function withPhantoms(inner: Scheduler<SimWork, SimResult>): Scheduler<SimWork, SimResult> {
  return {
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
