import { SystemClock } from '../../system/clock.ts';
import type { Terminal } from './terminal.ts';

/** Least time between two texts: on a terminal, where they replace each other, and elsewhere, where they pile up. */
const INTERVAL_MS = { terminal: 200, lines: 5_000 } as const;

/** Moves to the start of the line, and clears from the cursor to its end. */
const START = '\r';
const CLEAR = '\x1b[K';

/** A text on standard error that changes: one line that is rewritten on a terminal, a line now and then elsewhere. */
export class ProgressText {
  readonly #terminal: Pick<Terminal, 'err' | 'isTerminal' | 'clock'>;
  readonly #clock;
  readonly #intervalMs: number;
  #shownMs: number;
  #hasLine = false;

  constructor(terminal: Pick<Terminal, 'err' | 'isTerminal' | 'clock'>) {
    this.#terminal = terminal;
    this.#clock = terminal.clock ?? new SystemClock({ unref: true });
    this.#intervalMs = terminal.isTerminal.err ? INTERVAL_MS.terminal : INTERVAL_MS.lines;
    // A terminal shows the first at once; a log need not know of what takes less than an interval.
    this.#shownMs = terminal.isTerminal.err ? Number.NEGATIVE_INFINITY : this.#clock.monotonicMs();
  }

  /** Whether the last text is old enough for another one. */
  get isDue(): boolean {
    return this.#clock.monotonicMs() - this.#shownMs >= this.#intervalMs;
  }

  /** Shows a text, unless the last one is too fresh; undefined takes the line away, so that what follows starts on an empty one. */
  show(text: string | undefined): void {
    if (text === undefined) {
      if (this.#hasLine) this.#terminal.err(`${START}${CLEAR}`);
      this.#hasLine = false;
      return;
    }
    if (!this.isDue) return;
    this.#shownMs = this.#clock.monotonicMs();
    if (!this.#terminal.isTerminal.err) {
      this.#terminal.err(`${text}\n`);
      return;
    }
    this.#terminal.err(`${START}${text}${CLEAR}`);
    this.#hasLine = true;
  }
}
