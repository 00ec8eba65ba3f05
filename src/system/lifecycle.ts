import { invariant } from '../errors.ts';
import type { Clock } from './clock.ts';

/** Releases something. `graceMs` is how long it may let running work end by itself. */
export type Close = (graceMs: number) => Promise<void>;

interface Part {
  readonly name: string;
  readonly close: Close;
}

/** How long a part may take beyond its grace before it is given up, so that one stuck part does not keep the others open. */
const OVERTIME_MS = 5000;

/**
 * The parts of a running program in the order in which they were started.
 * They are stopped in the reverse order, one after the other: what was started later uses what was there before.
 */
export class Lifecycle {
  readonly #clock: Clock;
  readonly #parts: Part[] = [];
  #stopping: Promise<readonly Error[]> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Remembers how to stop something that runs. Not after `stop`. */
  add(name: string, close: Close): void {
    invariant(this.#stopping === undefined, `${name} was started while stopping`);
    this.#parts.push({ name, close });
  }

  /**
   * Stops everything; calling it again waits for the same stop.
   * @param graceMs for all parts together: what one used the next no longer has.
   * @returns what failed or did not end in time, in order. It never rejects: a failure does not keep the rest open.
   */
  stop(graceMs: number): Promise<readonly Error[]> {
    this.#stopping ??= this.#stopAll(this.#clock.monotonicMs() + graceMs);
    return this.#stopping;
  }

  async #stopAll(endMs: number): Promise<readonly Error[]> {
    const errors: Error[] = [];
    for (const part of this.#parts.toReversed()) {
      const graceMs = Math.max(0, endMs - this.#clock.monotonicMs());
      try {
        await this.#bounded(part, graceMs);
      } catch (error) {
        errors.push(new Error(`stopping ${part.name}: ${messageOf(error)}`, { cause: error }));
      }
    }
    return errors;
  }

  #bounded({ close }: Part, graceMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const limitMs = graceMs + OVERTIME_MS;
      const giveUp = (): void => reject(new Error(`did not end within ${limitMs} ms`));
      const timer = this.#clock.wakeAt(this.#clock.monotonicMs() + limitMs, giveUp);
      const run = async (): Promise<void> => close(graceMs);
      run()
        .finally(() => timer.cancel())
        .then(resolve, reject);
    });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
