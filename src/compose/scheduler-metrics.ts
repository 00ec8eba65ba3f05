import type { FleetPlan } from '../execution/scaling/fleet-plan.ts';
import type { PoolPlan } from '../execution/scaling/wanted-workers.ts';
import type { AttemptEnd, AttemptRecord, Effect, Notice, SchedulerEvent } from '../execution/scheduler/events.ts';
import type { SchedulerCounts, SchedulerView } from '../execution/scheduler/view.ts';
import { Histogram } from '../system/histogram.ts';
import type { GaugeValue, Metrics } from '../system/metrics.ts';

const HOUR = 3600;

/** Upper bounds of waits in seconds: from a slot that stood ready to a queue of hours. */
const WAIT_SECONDS = [
  ...[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  ...[60, 120, 300, 600, 1800, HOUR, 4 * HOUR],
];

/** Label of what workers brought that no configured pool names, all together: it bounds the series. */
const OTHER_POOLS = '(other)';

/** Label of work that no pool fits. */
const NO_POOL = '(none)';

/** What is asked at each look. */
export interface SchedulerSource {
  readonly view: Pick<SchedulerView<unknown>, 'counts' | 'demands' | 'isolated' | 'quarantined'>;
  readonly plan: FleetPlan;
  /** The scheduler's time. */
  nowMs(): number;
}

/** Shows queue and fleet as they are at each look; by pool for configured ones, all others together. */
export function publishSchedulerMetrics(metrics: Metrics, source: SchedulerSource): void {
  publishCounts(metrics, source);
  publishPools(metrics, source);
  metrics.gauge({ name: 'gantry_oldest_queued_seconds', help: 'How long the oldest queued action has waited.' }, () =>
    oldestSeconds(source),
  );
  metrics.gauge({ name: 'gantry_isolated_nodes', help: 'Machines that get no work as they failed.' }, () => {
    return source.view.isolated().length;
  });
  metrics.gauge({ name: 'gantry_quarantined_actions', help: 'Actions refused as they took down workers.' }, () => {
    return source.view.quarantined().length;
  });
}

function publishCounts(metrics: Metrics, { view }: SchedulerSource): void {
  const gauge = (name: string, help: string, read: (counts: SchedulerCounts) => number): void => {
    metrics.gauge({ name, help }, () => read(view.counts));
  };
  gauge('gantry_queued_tasks', 'Actions that wait for a slot.', (counts) => counts.queuedTasks);
  gauge('gantry_executing_tasks', 'Actions on a slot.', (counts) => counts.executingTasks);
  gauge('gantry_recording_tasks', 'Actions whose result is being stored.', (counts) => counts.recordingTasks);
}

function publishPools(metrics: Metrics, { view, plan }: SchedulerSource): void {
  const labels = ['pool'];
  metrics.gauge(
    {
      name: 'gantry_wanted_workers',
      help: 'Workers that a pool should have; absent until workers had time to come back after a start.',
      labels,
    },
    () => (plan.isSettled ? byPool(plan.plans(), ({ wantedWorkers }) => ({ '': wantedWorkers })) : []),
  );
  metrics.gauge(
    {
      name: 'gantry_pool_slots',
      help: 'Slots: those that hold an action, those that could take one, and others that may not.',
      labels: ['pool', 'state'],
    },
    () =>
      byPool(plan.plans(), ({ group, busySlots: busy, idleDrainedSlots: drained }) => {
        return { busy, idle: Math.max(0, group.slots - busy - drained), drained };
      }),
  );
  metrics.gauge(
    {
      name: 'gantry_queued_work_seconds',
      help: 'What queued actions are expected to take, each counted for one pool that fits.',
      labels,
    },
    () => [
      ...byPool(plan.plans(), ({ queuedWorkMs }) => ({ '': Math.round(queuedWorkMs) / 1000 })),
      { labels: { pool: NO_POOL }, value: homelessMs(view) / 1000 },
    ],
  );
}

/** Values by state, `''` being without one; pools without a configured name are added up. */
function byPool(plans: readonly PoolPlan[], read: (plan: PoolPlan) => Readonly<Record<string, number>>): GaugeValue[] {
  const values = new Map<string, GaugeValue>();
  for (const plan of plans) {
    const pool = plan.group.isConfigured ? plan.group.name : OTHER_POOLS;
    for (const [state, value] of Object.entries(read(plan))) {
      const labels = state === '' ? { pool } : { pool, state };
      const key = JSON.stringify(labels);
      values.set(key, { labels, value: value + (values.get(key)?.value ?? 0) });
    }
  }
  return [...values.values()];
}

function homelessMs(view: SchedulerSource['view']): number {
  let sum = 0;
  for (const { pools, queuedWorkMs } of view.demands()) if (pools.length === 0) sum += queuedWorkMs;
  return sum;
}

function oldestSeconds({ view, nowMs }: SchedulerSource): number {
  let oldest = Number.POSITIVE_INFINITY;
  for (const { queued, oldestQueuedAtMs } of view.demands()) {
    if (queued > 0) oldest = Math.min(oldest, oldestQueuedAtMs);
  }
  return oldest === Number.POSITIVE_INFINITY ? 0 : Math.max(0, nowMs() - oldest) / 1000;
}

/** Tells what the scheduler was told and what it answered; costs by the number of effects. */
export type SchedulerObserver = (
  event: SchedulerEvent<unknown, unknown>,
  effects: readonly Effect<unknown, unknown>[],
  nowMs: number,
) => void;

/** Counts what the scheduler does. @param options.maxSlots as the scheduler's: so many slots are remembered. */
export function createSchedulerEvents(metrics: Metrics, options: { readonly maxSlots: number }): SchedulerObserver {
  const counts = new EventCounts(options.maxSlots);
  const histogram = (name: string, help: string, read: Histogram): void => {
    metrics.histogramOf({ name, help }, () => read);
  };
  histogram('gantry_dispatch_seconds', 'Time from queueing an action to giving it to a first slot.', counts.dispatch);
  histogram(
    'gantry_queue_wait_seconds',
    'Time from a client asking for an action to its first execution; joining one that runs takes none.',
    counts.wait,
  );
  const counter = (name: string, help: string, label: string, values: Readonly<Record<string, number>>): void => {
    metrics.counterOf({ name, help, labels: [label] }, () =>
      Object.entries(values).map(([text, value]) => ({ labels: { [label]: text }, value })),
    );
  };
  counter('gantry_attempts_finished_total', 'Attempts by how they ended.', 'how', counts.finished);
  counter('gantry_retries_total', 'Further attempts, by how the one before ended.', 'cause', counts.retries);
  counter('gantry_scheduler_notices_total', 'What the scheduler noticed.', 'kind', counts.notices);
  return (event, effects, nowMs) => counts.observe(event, effects, nowMs);
}

/** Ends after which a task may get another attempt. */
type RetryCause = Extract<AttemptEnd['how'], 'failure' | 'exhausted' | 'worker-fault' | 'worker-lost'>;

/** What was seen so far. */
class EventCounts {
  readonly dispatch = new Histogram(WAIT_SECONDS);
  readonly wait = new Histogram(WAIT_SECONDS);
  readonly retries: Record<RetryCause, number> = { failure: 0, exhausted: 0, 'worker-fault': 0, 'worker-lost': 0 };
  readonly finished: Record<AttemptEnd['how'], number> = {
    ...{ success: 0, failure: 0, exhausted: 0, 'worker-fault': 0 },
    ...{ 'worker-lost': 0, cancelled: 0, superseded: 0 },
  };
  readonly notices: Record<Notice['kind'], number> = {
    ...{ 'action-quarantined': 0, 'node-isolated': 0, 'hedge-started': 0 },
    ...{ 'retried-on-larger': 0, adopted: 0, 'orphan-stopped': 0 },
  };
  readonly #maxSlots: number;
  /** When the clients of operations asked that do not execute yet. Every operation executes or finishes. */
  readonly #asked = new Map<string, number>();
  /** What slots were given last: orders are repeated. */
  readonly #given = new Map<string, string>();
  /** Every operation of a task tells of the same attempts. */
  readonly #counted = new WeakSet<AttemptEnd>();
  readonly #retried = new WeakSet<AttemptEnd>();

  constructor(maxSlots: number) {
    this.#maxSlots = maxSlots;
  }

  observe(event: SchedulerEvent<unknown, unknown>, effects: readonly Effect<unknown, unknown>[], nowMs: number): void {
    if (event.type === 'submit') this.#asked.set(event.operation, nowMs);
    else if (event.type === 'leave') this.#given.delete(event.slot);
    for (const effect of effects) {
      if (effect.type === 'orders') this.#ordered(effect, nowMs);
      else if (effect.type === 'stage' && effect.stage === 'executing') this.#began(effect.operation, nowMs);
      else if (effect.type === 'finish') {
        this.#asked.delete(effect.operation);
        this.#ended(effect.attempts);
      } else if (effect.type === 'notice') this.notices[effect.notice.kind]++;
    }
  }

  #ordered({ slot, hold }: Extract<Effect<unknown, unknown>, { type: 'orders' }>, nowMs: number): void {
    if (hold === undefined || this.#given.get(slot) === hold.lease) return;
    this.#given.delete(slot);
    this.#given.set(slot, hold.lease);
    if (this.#given.size > this.#maxSlots) {
      const [oldest] = this.#given.keys();
      if (oldest !== undefined) this.#given.delete(oldest);
    }
    // Without work it is something that a former server began.
    if (hold.attempt === 1 && hold.work !== undefined) this.dispatch.observe((nowMs - hold.queuedAtMs) / 1000);
  }

  #began(operation: string, nowMs: number): void {
    const askedMs = this.#asked.get(operation);
    if (askedMs === undefined) return;
    this.#asked.delete(operation);
    this.wait.observe((nowMs - askedMs) / 1000);
  }

  #ended(attempts: readonly AttemptRecord[]): void {
    for (const { attempt, end } of attempts) {
      if (end === undefined) continue;
      if (!this.#counted.has(end)) {
        this.#counted.add(end);
        this.finished[end.how]++;
      }
      const { how } = end;
      if (!isRetryCause(how) || this.#retried.has(end)) continue;
      if (!attempts.some((later) => later.attempt > attempt && later.startedAtMs >= end.atMs)) continue;
      this.#retried.add(end);
      this.retries[how]++;
    }
  }
}

function isRetryCause(how: AttemptEnd['how']): how is RetryCause {
  return how === 'failure' || how === 'exhausted' || how === 'worker-fault' || how === 'worker-lost';
}
