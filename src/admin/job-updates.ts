import type { StoreProgress } from '../cas/segment/store-report.ts';
import type { Clock } from '../system/clock.ts';

/** Least time between two progress messages of one job. */
const PROGRESS_INTERVAL_MS = 250;

/** What is told of a job: how far it is, and at last what came of it. */
export type JobUpdate<Report> =
  | { readonly type: 'progress'; readonly progress: StoreProgress }
  | { readonly type: 'report'; readonly report: Report };

/** A long job over a store, as `StoreControl` runs it. */
export type StoreJob<Report> = (onProgress: (progress: StoreProgress) => void, signal: AbortSignal) => Promise<Report>;

/**
 * Runs a job and tells of it: the first progress at once, later ones at most every `PROGRESS_INTERVAL_MS`; those that
 * come sooner, or while the consumer is busy, are left out. Ends when the job has ended: leaving the iteration early, or
 * aborting `signal`, tells the job to stop and waits until it has.
 * @throws what the job throws.
 */
export async function* jobUpdates<Report>(
  clock: Clock,
  job: StoreJob<Report>,
  signal: AbortSignal,
): AsyncGenerator<JobUpdate<Report>, void> {
  const leaving = new AbortController();
  let latest: StoreProgress | undefined;
  let toldMs = Number.NEGATIVE_INFINITY;
  let awaken = (): void => undefined;
  const onProgress = (progress: StoreProgress): void => {
    if (clock.monotonicMs() - toldMs < PROGRESS_INTERVAL_MS) return;
    toldMs = clock.monotonicMs();
    latest = progress;
    awaken();
  };
  let isOver = false;
  const running = job(onProgress, AbortSignal.any([signal, leaving.signal])).finally(() => {
    isOver = true;
    awaken();
  });
  // Awaited below in every case; until then a failure is not an unhandled one.
  running.catch(() => undefined);
  try {
    while (!isOver) {
      const progress = latest;
      latest = undefined;
      if (progress !== undefined) yield { type: 'progress', progress };
      else
        await new Promise<void>((resolve) => {
          awaken = resolve;
        });
    }
    yield { type: 'report', report: await running };
  } finally {
    leaving.abort();
    await running.catch(() => undefined);
  }
}
