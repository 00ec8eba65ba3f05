import type { SchedulerOptions } from '../../execution/scheduler/options.ts';
import type { SimulationOptions } from '../../execution/trace/simulate-trace.ts';
import type { Arrival } from '../../execution/trace/trace.ts';
import type { SchedulerPolicy } from '../scheduler-policy.ts';

/** Policies by name, to compare the configured one with. */
export const SIMULATED_POLICIES = ['configured', 'fair', 'longest-first', 'priority', 'fifo'] as const;

/** The name of a policy. */
export type SimulatedPolicy = (typeof SIMULATED_POLICIES)[number];

/**
 * What a policy changes about the configured one.
 *
 * - `configured`: nothing.
 * - `fair`: shares and priorities, and no regard to how long actions will take.
 * - `longest-first`: priorities and expected durations, and one queue for all.
 * - `priority`: priorities alone, then whoever came first.
 * - `fifo`: whoever came first.
 */
export function simulatedPolicy(
  name: SimulatedPolicy,
  configured: SchedulerPolicy,
): Pick<SimulationOptions, 'change'> & { readonly scheduler: Partial<SchedulerOptions> } {
  const shortSighted = { ...configured, fairness: { ...configured.fairness, longestFirst: 0 } };
  switch (name) {
    case 'configured':
      return { scheduler: configured };
    case 'fair':
      return { scheduler: shortSighted };
    case 'longest-first':
      return { scheduler: configured, change: withoutShares };
    case 'priority':
      return { scheduler: shortSighted, change: withoutShares };
    case 'fifo':
      return { scheduler: shortSighted, change: (arrival) => ({ ...withoutShares(arrival), priority: 0 }) };
  }
}

/** The scheduler is told of no shares; the report still tells invocations apart. */
function withoutShares(arrival: Arrival): Arrival {
  return { ...arrival, shares: [] };
}
