import type { Config } from '../config/load.ts';
import type { SchedulerOptions } from '../execution/scheduler/options.ts';

/** The part of the scheduler's options that decides who runs when, and how often again. */
export type SchedulerPolicy = Pick<
  SchedulerOptions,
  'retries' | 'fairness' | 'hedging' | 'isolation' | 'maxResends' | 'platformGraceMs'
>;

/** Policies as configured, for a server and for simulations of one. */
export function schedulerPolicy({ execution }: Config): SchedulerPolicy {
  const { retries, fairness, hedging, isolation } = execution;
  return {
    retries: {
      maxAttempts: retries.maxAttempts,
      maxLost: retries.maxLost,
      maxFaults: retries.maxFaults,
      maxExhausted: retries.maxExhausted,
      onLarger: retries.onLarger,
      quarantineAfter: retries.quarantineAfter,
      quarantineMs: retries.quarantineSeconds * 1000,
      maxQuarantined: retries.maxQuarantined,
    },
    fairness: {
      ageingMsPerPoint: fairness.ageingSecondsPerPoint * 1000,
      pointsPerDoubling: fairness.pointsPerDoubling,
      maxPriority: fairness.maxPriority,
      longestFirst: fairness.longestFirst,
      unknownMs: fairness.unknownSeconds * 1000,
    },
    hedging: {
      isOn: hedging.enabled,
      factor: hedging.factor,
      minMs: hedging.minSeconds * 1000,
      maxShare: hedging.maxShare,
    },
    isolation: {
      faultsInARow: isolation.faultsInARow,
      window: isolation.window,
      maxShare: isolation.maxShare,
      forMs: isolation.forSeconds * 1000,
    },
    maxResends: execution.maxUnansweredOffers,
    platformGraceMs: execution.platform.graceSeconds * 1000,
  };
}
