import type { InstanceName } from '../../digest/instance-name.ts';
import type { Requirement, WorkerOffer } from '../../platform/platform.ts';

/** Limits, times and policies of the scheduler. Every one has a default in `DEFAULT_OPTIONS`. */
export interface SchedulerOptions {
  /** An operation nobody waits for is cancelled after this time (R-EX-12). */
  readonly abandonAfterMs: number;
  /** A slot that holds a lease and is silent for this long is lost, and its lease with it (R-BB-20). */
  readonly leaseTimeoutMs: number;
  /** A slot without a lease that is silent for this long is forgotten. Longer than the host keeps a poll open. */
  readonly slotTimeoutMs: number;
  /** How often a lease is sent again to a slot that does not take it, before the task fails (R-BB-09). */
  readonly maxResends: number;
  /** How long `recorded` may take. */
  readonly recordTimeoutMs: number;
  /**
   * How long a task waits for a worker that could run it: counted from the first event (start-up), and from
   * the moment the last fitting worker was gone (restarts).
   */
  readonly platformGraceMs: number;
  /** For so long after the first event, what workers say they run is left alone, and may be claimed by a client. 0: never. */
  readonly adoptionGraceMs: number;
  /**
   * For so long after the first event nothing is started: workers that run something have time to say so before clients that ask for
   * the same action get it started once more. 0 where nothing was running before.
   */
  readonly reunionMs: number;
  /** Tasks waiting for a slot; above it `submit` fails with `queue-full`. */
  readonly maxQueuedTasks: number;
  /** Unfinished operations; above it `submit` fails with `queue-full`. */
  readonly maxOperations: number;
  /** Slots; above it a new slot is told to wait and gets no work. */
  readonly maxSlots: number;
  /** Begins every lease id: distinguishes the leases of one life of the server from those of another. */
  readonly leasePrefix: string;
  readonly retries: RetryOptions;
  readonly fairness: FairnessOptions;
  readonly hedging: HedgingOptions;
  readonly isolation: IsolationOptions;
  /** Configured pools: their offers stay known without workers. */
  readonly pools: readonly PoolOptions[];
  /** Drains in force at a time; above it a new one is refused by the host. */
  readonly maxDrains: number;
}

/** How often a task is tried again, by the cause that ended the attempt before. */
export interface RetryOptions {
  /** Attempts in all, whatever the causes. At least 1. */
  readonly maxAttempts: number;
  /** After its worker was lost. */
  readonly maxLost: number;
  /** After the worker's machinery failed. */
  readonly maxFaults: number;
  /** After the machine was too small: then it goes to a larger one, if there is one. */
  readonly maxExhausted: number;
  /** What is tried again once in the largest size class: any failure of the action, exhaustion only, or nothing. */
  readonly onLarger: 'failure' | 'exhaustion' | 'nothing';
  /** An action that took down so many different workers is quarantined. 0: never. */
  readonly quarantineAfter: number;
  readonly quarantineMs: number;
  /** Quarantined actions that are remembered; the oldest are forgotten first. */
  readonly maxQuarantined: number;
}

/** How the order of tasks is made. All terms are in points of REAPI priority. */
export interface FairnessOptions {
  /** Waiting for so long counts as much as one point of priority. */
  readonly ageingMsPerPoint: number;
  /** So many points halve the claim of a share; doubling what it runs does the same. */
  readonly pointsPerDoubling: number;
  /** A priority further from 0 counts as this one: it bounds how long anything can wait. */
  readonly maxPriority: number;
  /** Inside the innermost share: a task expected to take a second counts as having waited for so many seconds. */
  readonly longestFirst: number;
  /** What a task without history is taken to need. */
  readonly unknownMs: number;
}

/** Second attempts of tasks that take far longer than expected, on slots that would be idle. */
export interface HedgingOptions {
  readonly isOn: boolean;
  /** So many times longer than expected. */
  readonly factor: number;
  /** And at least so long. */
  readonly minMs: number;
  /** Hedges at a time, as a share of the slots. */
  readonly maxShare: number;
}

/** When a node is taken to be broken. */
export interface IsolationOptions {
  /** Faults of a node in a row, of different actions. 0: never. */
  readonly faultsInARow: number;
  /** Last results of a node that are compared with the fleet's. */
  readonly window: number;
  /** At most this share of the nodes is isolated, but always one: when everything fails, no single node is to blame. */
  readonly maxShare: number;
  /** After so long it is tried again. */
  readonly forMs: number;
}

/** A pool that is known before it has workers. */
export interface PoolOptions {
  readonly name: string;
  readonly prefix: InstanceName;
  readonly offer: WorkerOffer;
  /** Workers whose offer satisfies this are counted as its own. */
  readonly needs: Requirement;
  /** How long a task waits for a first worker of the pool, while there is none. */
  readonly waitMs: number;
}

/** The defaults; R-BB-09 and R-BB-20 give the numbers of Buildbarn. */
export const DEFAULT_OPTIONS: SchedulerOptions = {
  abandonAfterMs: 60_000,
  leaseTimeoutMs: 60_000,
  slotTimeoutMs: 90_000,
  maxResends: 9,
  recordTimeoutMs: 30_000,
  platformGraceMs: 60_000,
  adoptionGraceMs: 120_000,
  reunionMs: 0,
  maxQueuedTasks: 100_000,
  maxOperations: 200_000,
  maxSlots: 10_000,
  leasePrefix: 'lease-',
  retries: {
    maxAttempts: 5,
    maxLost: 3,
    maxFaults: 2,
    maxExhausted: 1,
    onLarger: 'failure',
    quarantineAfter: 3,
    quarantineMs: 3_600_000,
    maxQuarantined: 1_000,
  },
  fairness: {
    ageingMsPerPoint: 60_000,
    pointsPerDoubling: 100,
    maxPriority: 1_000,
    longestFirst: 4,
    unknownMs: 10_000,
  },
  hedging: { isOn: false, factor: 4, minMs: 30_000, maxShare: 0.05 },
  isolation: { faultsInARow: 5, window: 40, maxShare: 0.25, forMs: 900_000 },
  pools: [],
  maxDrains: 1_000,
};
