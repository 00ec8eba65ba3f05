import type { InvocationReport, WaitFigures } from './simulation-report.ts';

/** Counts what happens to the actions of one invocation. */
export class InvocationTally {
  readonly #id: string;
  readonly #firstMs: number;
  readonly #waits: number[] = [];
  #actions = 0;
  #finishedMs = 0;
  #queued = 0;
  #running = 0;
  #unservedSinceMs: number | undefined;
  #longestUnservedMs = 0;

  constructor(id: string, nowMs: number) {
    this.#id = id;
    this.#firstMs = nowMs;
  }

  /** How long its actions waited so far, in the order of their starts. */
  get waits(): readonly number[] {
    return this.#waits;
  }

  /** An action waits. */
  queued(nowMs: number): void {
    this.#actions++;
    this.#queued++;
    this.#note(nowMs);
  }

  /** An action that waited runs. */
  started(waitMs: number, nowMs: number): void {
    this.#waits.push(waitMs);
    this.#queued--;
    this.#running++;
    this.#note(nowMs);
  }

  /** An action ended. @param wasRunning false if it never ran. */
  finished(wasRunning: boolean, nowMs: number): void {
    if (wasRunning) this.#running--;
    else this.#queued--;
    this.#finishedMs = nowMs;
    this.#note(nowMs);
  }

  /** What came of it. */
  report(nowMs: number): InvocationReport {
    this.#note(nowMs);
    const unservedMs = this.#unservedSinceMs === undefined ? 0 : nowMs - this.#unservedSinceMs;
    return {
      id: this.#id,
      actions: this.#actions,
      firstMs: this.#firstMs,
      finishedMs: this.#finishedMs,
      wait: waitFigures(this.#waits),
      longestUnservedMs: Math.max(this.#longestUnservedMs, unservedMs),
    };
  }

  #note(nowMs: number): void {
    if (this.#queued > 0 && this.#running === 0) {
      this.#unservedSinceMs ??= nowMs;
      return;
    }
    if (this.#unservedSinceMs === undefined) return;
    this.#longestUnservedMs = Math.max(this.#longestUnservedMs, nowMs - this.#unservedSinceMs);
    this.#unservedSinceMs = undefined;
  }
}

/** Figures of waiting times; zeros for none. */
export function waitFigures(waits: readonly number[]): WaitFigures {
  const sorted = Float64Array.from(waits).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  const meanMs = sorted.reduce((sum, each) => sum + each, 0) / Math.max(1, sorted.length);
  return { meanMs, p50Ms: at(0.5), p95Ms: at(0.95), maxMs: at(1) };
}
