/** What is known of the runs of one kind of action. */
export interface RunStatistics {
  /** Runs whose duration was learned, up to `MAX_RUNS`. */
  runs: number;
  /** Recent runs weigh more. */
  meanMs: number;
  /** Of the natural logarithm of the milliseconds: durations are skewed, their logarithms much less. */
  logMean: number;
  logVariance: number;
  /** The smallest size class that was not too small; 0 if none was too small. */
  minSizeClass: number;
  /** Size class of a run that failed by itself, which may have been for want of room; -1 if the last run did not. */
  doubtfulClass: number;
  /** Successes since a size class was too small. */
  passes: number;
}

/** Above it more runs change nothing: each weighs `RECENT_WEIGHT` long since. */
export const MAX_RUNS = 1000;

/** What the newest run weighs once there are some: five runs after a change the mean has moved by two thirds of it. */
const RECENT_WEIGHT = 0.2;

/** Standard deviations above the mean that 95 % of a normal distribution lie below. */
const HIGH_DEVIATIONS = 1.645;

/** Runs it takes to say how much durations vary. */
const MIN_RUNS_FOR_HIGH = 5;

/** After so many successes in larger classes a smaller one is tried again: the action, or the machines, may have changed. */
const PASSES_TO_FORGET = 100;

/** Longest duration that is learned: a week. What is longer is counted as that. */
const MAX_MS = 604_800_000;

/** Of an action that never ran. */
export function noRuns(): RunStatistics {
  return { runs: 0, meanMs: 0, logMean: 0, logVariance: 0, minSizeClass: 0, doubtfulClass: -1, passes: 0 };
}

/** Adds the duration of a run. @param ms not negative. */
export function addRun(statistics: RunStatistics, ms: number): void {
  const bounded = Math.min(ms, MAX_MS);
  const weight = Math.max(1 / (statistics.runs + 1), RECENT_WEIGHT);
  statistics.meanMs += weight * (bounded - statistics.meanMs);
  const difference = Math.log(Math.max(bounded, 1)) - statistics.logMean;
  statistics.logMean += weight * difference;
  statistics.logVariance = (1 - weight) * (statistics.logVariance + weight * difference * difference);
  statistics.runs = Math.min(statistics.runs + 1, MAX_RUNS);
}

/** What 95 % of the runs stay below, as if their logarithms were normally distributed; undefined as long as there are too few. */
export function highMs({ runs, meanMs, logMean, logVariance }: RunStatistics): number | undefined {
  if (runs < MIN_RUNS_FOR_HIGH) return undefined;
  return Math.max(meanMs, Math.exp(logMean + HIGH_DEVIATIONS * Math.sqrt(logVariance)));
}

/** A run in that size class ran out of room. */
export function addExhaustion(statistics: RunStatistics, sizeClass: number): void {
  statistics.minSizeClass = Math.max(statistics.minSizeClass, sizeClass + 1);
  statistics.passes = 0;
  statistics.doubtfulClass = -1;
}

/** A run in that size class failed by itself. Whether it was for want of room shows when a larger one succeeds next. */
export function addFailure(statistics: RunStatistics, sizeClass: number): void {
  statistics.doubtfulClass = sizeClass;
}

/** A run in that size class succeeded. */
export function addSuccess(statistics: RunStatistics, sizeClass: number): void {
  const { doubtfulClass } = statistics;
  if (doubtfulClass >= 0 && sizeClass > doubtfulClass) addExhaustion(statistics, doubtfulClass);
  statistics.doubtfulClass = -1;
  statistics.minSizeClass = Math.min(statistics.minSizeClass, sizeClass);
  if (statistics.minSizeClass === 0 || ++statistics.passes < PASSES_TO_FORGET) return;
  statistics.minSizeClass = 0;
  statistics.passes = 0;
}
