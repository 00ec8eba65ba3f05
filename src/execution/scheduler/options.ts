/** Limits and times of the scheduler. Every one has a default in `DEFAULT_OPTIONS`. */
export interface SchedulerOptions {
  /** An operation nobody waits for is cancelled after this time (R-EX-12). */
  readonly abandonAfterMs: number;
  /** A slot that holds a lease and is silent for this long is lost, and its lease with it (R-BB-20). */
  readonly leaseTimeoutMs: number;
  /** A slot without a lease that is silent for this long is forgotten. Longer than the host keeps a poll open. */
  readonly slotTimeoutMs: number;
  /** How often a task is started before its loss or its worker's fault becomes its outcome. At least 1. */
  readonly maxAttempts: number;
  /** How often a lease is sent again to a slot that does not take it, before the task fails (R-BB-09). */
  readonly maxResends: number;
  /** How long `recorded` may take. */
  readonly recordTimeoutMs: number;
  /**
   * How long a task waits for a worker that could run it: counted from the first event (start-up), and from
   * the moment the last fitting worker was gone (restarts).
   */
  readonly platformGraceMs: number;
  /** Tasks waiting for a slot; above it `submit` fails with `queue-full`. */
  readonly maxQueuedTasks: number;
  /** Unfinished operations; above it `submit` fails with `queue-full`. */
  readonly maxOperations: number;
  /** Slots; above it a new slot is told to wait and gets no work. */
  readonly maxSlots: number;
  /** Begins every lease id: distinguishes the leases of one life of the server from those of another. */
  readonly leasePrefix: string;
}

/** The defaults; R-BB-09 and R-BB-20 give the numbers of Buildbarn. */
export const DEFAULT_OPTIONS: SchedulerOptions = {
  abandonAfterMs: 60_000,
  leaseTimeoutMs: 60_000,
  slotTimeoutMs: 90_000,
  maxAttempts: 3,
  maxResends: 9,
  recordTimeoutMs: 30_000,
  platformGraceMs: 60_000,
  maxQueuedTasks: 100_000,
  maxOperations: 200_000,
  maxSlots: 10_000,
  leasePrefix: 'lease-',
};
