import type { ExecutedActionMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Clock } from '../system/clock.ts';
import { millisecondsOf, timestampOf } from './wire-time.ts';

/** The moments of a lease that go into its metadata, in the order in which they happen. */
const MOMENTS = [
  'workerStartTimestamp',
  'inputFetchStartTimestamp',
  'inputFetchCompletedTimestamp',
  'executionStartTimestamp',
  'executionCompletedTimestamp',
  'outputUploadStartTimestamp',
  'outputUploadCompletedTimestamp',
  'workerCompletedTimestamp',
] as const;

type Moment = (typeof MOMENTS)[number];

/**
 * Notes when things happened, by wall time at the start plus monotonic time since, so that they stay in order even if
 * the wall clock is set meanwhile (R-EX-50).
 */
export class Timeline {
  readonly #clock: Clock;
  readonly #offsetMs: number;
  readonly #times = new Map<Moment, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offsetMs = clock.nowMs() - clock.monotonicMs();
    this.mark('workerStartTimestamp');
  }

  mark(moment: Moment): void {
    this.#times.set(moment, this.#offsetMs + this.#clock.monotonicMs());
  }

  /**
   * Everything up to now. Bazel expects all pairs once `worker` is set: moments that were never reached get the time of
   * the next one that was.
   */
  metadata(
    worker: string,
    queued: ExecutedActionMetadata['queuedTimestamp'],
  ): Omit<ExecutedActionMetadata, 'virtualExecutionDuration' | 'auxiliaryMetadata'> {
    this.mark('workerCompletedTimestamp');
    let nextMs = this.#times.get('workerCompletedTimestamp') ?? 0;
    const times = new Map<Moment, number>();
    for (const moment of MOMENTS.toReversed()) {
      nextMs = Math.min(nextMs, this.#times.get(moment) ?? nextMs);
      times.set(moment, nextMs);
    }
    const at = (moment: Moment) => timestampOf(times.get(moment) ?? nextMs);
    // The scheduler's clock may be ahead of ours.
    const queuedMs = queued === undefined ? nextMs : Math.min(nextMs, millisecondsOf(queued));
    return {
      worker,
      queuedTimestamp: timestampOf(queuedMs),
      workerStartTimestamp: at('workerStartTimestamp'),
      inputFetchStartTimestamp: at('inputFetchStartTimestamp'),
      inputFetchCompletedTimestamp: at('inputFetchCompletedTimestamp'),
      executionStartTimestamp: at('executionStartTimestamp'),
      executionCompletedTimestamp: at('executionCompletedTimestamp'),
      outputUploadStartTimestamp: at('outputUploadStartTimestamp'),
      outputUploadCompletedTimestamp: at('outputUploadCompletedTimestamp'),
      workerCompletedTimestamp: at('workerCompletedTimestamp'),
    };
  }
}
