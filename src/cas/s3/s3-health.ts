import { ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';

/** Failures for that long, without a success, and S3 counts as out of reach. */
const DOWN_AFTER_MS = 3000;

/** While S3 is out of reach one read in that time is let through, to see whether it still is. */
const PROBE_INTERVAL_MS = 1000;

/**
 * Whether S3 answers, judged by what is asked of it anyway. While it does not, readers are told at once instead of each waiting for
 * its own time-out: a build goes on with what the local tier has.
 */
export class S3Health {
  readonly #clock: Clock;
  #failingSinceMs: number | undefined;
  #lastProbeMs = 0;
  #lastError: unknown;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A request was answered. */
  succeeded(): void {
    this.#failingSinceMs = undefined;
    this.#lastError = undefined;
  }

  /** A request failed for good. */
  failed(error: unknown): void {
    this.#failingSinceMs ??= this.#clock.monotonicMs();
    this.#lastError = error;
  }

  get isDown(): boolean {
    const since = this.#failingSinceMs;
    return since !== undefined && this.#clock.monotonicMs() - since >= DOWN_AFTER_MS;
  }

  /** What the last request failed with, as the end of a sentence; empty while S3 answers. */
  get reason(): string {
    return this.#lastError instanceof Error ? `: ${this.#lastError.message}` : '';
  }

  /** To be called before a read that somebody waits for. @throws unavailable while S3 is out of reach. */
  throwIfDown(): void {
    if (!this.isDown) return;
    const now = this.#clock.monotonicMs();
    if (now - this.#lastProbeMs >= PROBE_INTERVAL_MS) {
      this.#lastProbeMs = now;
      return;
    }
    const message = `S3 is out of reach, and this server has no copy of its own${this.reason}`;
    throw new ReapiError('unavailable', message, { retryAfterMs: PROBE_INTERVAL_MS, cause: this.#lastError });
  }
}
