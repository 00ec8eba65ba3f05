import type { StoreProgress } from '../../cas/segment/store-report.ts';
import { SystemClock } from '../../system/clock.ts';
import { readableDuration, readableShare, readableSize } from './readable.ts';
import type { Terminal } from './terminal.ts';

/** Least time between two texts: on a terminal, where they replace each other, and elsewhere, where they pile up. */
const INTERVAL_MS = { terminal: 200, lines: 5_000 } as const;

/** Moves to the start of the line, and clears from the cursor to its end. */
const START = '\r';
const CLEAR = '\x1b[K';

/** Shows on standard error how far a long job is: one line that is rewritten on a terminal, a line now and then elsewhere. */
export class ProgressLine {
  readonly #terminal: Terminal;
  readonly #clock;
  readonly #what: string;
  readonly #intervalMs: number;
  #first: { readonly doneBytes: number; readonly atMs: number } | undefined;
  #shownMs: number;
  #hasLine = false;

  /** @param what the job as a participle: `checking`. */
  constructor(terminal: Terminal, what: string) {
    this.#terminal = terminal;
    this.#clock = terminal.clock ?? new SystemClock({ unref: true });
    this.#what = what;
    this.#intervalMs = terminal.isTerminal.err ? INTERVAL_MS.terminal : INTERVAL_MS.lines;
    // A terminal shows the first at once; a log need not know of what takes less than an interval.
    this.#shownMs = terminal.isTerminal.err ? Number.NEGATIVE_INFINITY : this.#clock.monotonicMs();
  }

  /** Shows it, unless the last text is too fresh. */
  update(progress: StoreProgress): void {
    const nowMs = this.#clock.monotonicMs();
    this.#first ??= { doneBytes: progress.doneBytes, atMs: nowMs };
    if (nowMs - this.#shownMs < this.#intervalMs) return;
    this.#shownMs = nowMs;
    const text = `${this.#what}: ${this.#describe(progress, nowMs - this.#first.atMs, this.#first.doneBytes)}`;
    if (!this.#terminal.isTerminal.err) {
      this.#terminal.err(`${text}\n`);
      return;
    }
    this.#terminal.err(`${START}${text}${CLEAR}`);
    this.#hasLine = true;
  }

  /** Takes the line away, so that what follows starts on an empty one. */
  end(): void {
    if (this.#hasLine) this.#terminal.err(`${START}${CLEAR}`);
    this.#hasLine = false;
  }

  #describe({ doneBytes, totalBytes }: StoreProgress, elapsedMs: number, firstBytes: number): string {
    const parts = [
      `${readableShare(doneBytes, totalBytes)} (${readableSize(doneBytes)} of ${readableSize(totalBytes)})`,
    ];
    const bytesPerSecond = elapsedMs > 0 ? ((doneBytes - firstBytes) * 1000) / elapsedMs : 0;
    if (bytesPerSecond > 0) {
      const leftSeconds = Math.max(0, totalBytes - doneBytes) / bytesPerSecond;
      parts.push(`${readableSize(bytesPerSecond)}/s`, `${readableDuration(leftSeconds)} left`);
    }
    return parts.join(', ');
  }
}
