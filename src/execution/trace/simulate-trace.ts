import type { PlatformMatcher } from '../../platform/platform.ts';
import type { Scheduler } from '../scheduler/events.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from '../scheduler/options.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import { Replay } from './replay.ts';
import { evenFleet, type FleetOptions } from './replay-fleet.ts';
import { ReplayMeters } from './replay-meters.ts';
import { planReplay } from './replay-plan.ts';
import type { SimulationReport } from './simulation-report.ts';
import type { Arrival, Trace } from './trace.ts';

/** How a trace is played. */
export interface SimulationOptions {
  /** Default: the slots of the trace, which come and go as they did. */
  readonly fleet?: FleetOptions;
  /** Instead of single values of the scheduler's defaults. */
  readonly scheduler?: Partial<SchedulerOptions>;
  /** What the scheduler is told of an arrival, as to play with other priorities; the report is of the arrival as it was. */
  readonly change?: (arrival: Arrival) => Arrival;
  /** How much faster the workers are than the recorded ones; default 1. */
  readonly speed?: number;
  /** Whether builds wait for their own actions, as in `planReplay`; default true. */
  readonly isClosedLoop?: boolean;
  /** Makes the scheduler that is tried; default: ours. */
  readonly createScheduler?: CreateScheduler;
}

/** Work is the number of an arrival; so is the result. */
export type CreateScheduler = (
  matcher: PlatformMatcher,
  options: Partial<SchedulerOptions>,
) => Scheduler<number, number>;

/** Nothing falls silent in a replay: slots are lost when the trace says so. */
const NEVER_MS = 1e12;

/** Limits that protect a server protect nothing here: in a slower fleet more waits than was recorded. */
const UNLIMITED = {
  ...{ abandonAfterMs: NEVER_MS, leaseTimeoutMs: NEVER_MS, slotTimeoutMs: NEVER_MS, recordTimeoutMs: NEVER_MS },
  ...{ maxQueuedTasks: 1e9, maxOperations: 1e9, maxSlots: 1e9, adoptionGraceMs: 0 },
} satisfies Partial<SchedulerOptions>;

/**
 * Plays a trace through the real scheduler in simulated time. Workers take no time to fetch work, to report, or to record.
 * @throws invalid-argument: a fleet was asked for that the trace has no offers for, or the trace has none at all.
 */
export function simulateTrace(
  trace: Trace,
  matcher: PlatformMatcher,
  options: SimulationOptions = {},
): SimulationReport {
  const { fleet, speed = 1, isClosedLoop = true, change = (arrival) => arrival } = options;
  const slots = fleet === undefined && trace.slots.length > 0 ? trace.slots : evenFleet(trace, fleet ?? { workers: 1 });
  const plan = planReplay(trace, isClosedLoop).map((each) => ({
    ...each,
    asked: change(each.arrival),
    runMs: each.runMs / speed,
  }));
  const scheduler = (options.createScheduler ?? createScheduler<number, number>)(matcher, {
    ...DEFAULT_OPTIONS,
    ...options.scheduler,
    ...UNLIMITED,
  });
  const offers = slots.flatMap((slot) => (slot.type === 'there' ? [slot] : []));
  const replay = new Replay(scheduler, new ReplayMeters(matcher, offers), { plan, slots });
  return replay.run();
}
