import type { StoreProgress } from '../../cas/segment/store-report.ts';
import { SystemClock } from '../../system/clock.ts';
import { ProgressText } from './progress-text.ts';
import { readableDuration, readableShare, readableSize } from './readable.ts';
import type { Terminal } from './terminal.ts';

/** Shows on standard error how far a long job is: one line that is rewritten on a terminal, a line now and then elsewhere. */
export class ProgressLine {
  readonly #text: ProgressText;
  readonly #clock;
  readonly #what: string;
  #first: { readonly doneBytes: number; readonly atMs: number } | undefined;

  /** @param what the job as a participle: `checking`. */
  constructor(terminal: Terminal, what: string) {
    this.#clock = terminal.clock ?? new SystemClock({ unref: true });
    this.#text = new ProgressText({ ...terminal, clock: this.#clock });
    this.#what = what;
  }

  /** Shows it, unless the last text is too fresh. */
  update(progress: StoreProgress): void {
    const nowMs = this.#clock.monotonicMs();
    this.#first ??= { doneBytes: progress.doneBytes, atMs: nowMs };
    if (!this.#text.isDue) return;
    this.#text.show(`${this.#what}: ${this.#describe(progress, nowMs - this.#first.atMs, this.#first.doneBytes)}`);
  }

  /** Takes the line away, so that what follows starts on an empty one. */
  end(): void {
    this.#text.show(undefined);
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
