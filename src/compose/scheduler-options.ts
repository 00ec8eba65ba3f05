import type { Config } from '../config/load.ts';
import { DEFAULT_OPTIONS, type PoolOptions, type SchedulerOptions } from '../execution/scheduler/options.ts';
import type { Random } from '../system/random.ts';
import { schedulerPolicy } from './scheduler-policy.ts';

/** What the configuration means to the scheduler. @param pools as `configuredPools` made them. */
export function schedulerOptions(config: Config, pools: readonly PoolOptions[], random: Random): SchedulerOptions {
  const { execution } = config;
  const workerTimeoutMs = execution.workerTimeoutSeconds * 1000;
  return {
    ...DEFAULT_OPTIONS,
    ...schedulerPolicy(config),
    abandonAfterMs: execution.abandonAfterSeconds * 1000,
    leaseTimeoutMs: workerTimeoutMs,
    // A slot in an open call is silent for as long as the call may last.
    slotTimeoutMs: workerTimeoutMs + execution.idlePollSeconds * 1000,
    recordTimeoutMs: execution.recordSeconds * 1000,
    adoptionGraceMs: execution.adoptionGraceSeconds * 1000,
    maxQueuedTasks: execution.maxQueuedTasks,
    maxOperations: execution.maxLiveOperations,
    maxSlots: execution.maxSlots,
    // Leases of a former life of the server must not be taken for ours.
    leasePrefix: `${random.token(4)}-`,
    pools,
  };
}
