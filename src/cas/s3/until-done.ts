import { throwIfAborted } from '../../errors.ts';
import { type Clock, sleep } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';

/** Pause after the first failure; it doubles from there. */
const FIRST_PAUSE_MS = 500;

/** Longest pause: how long after S3 is back work may stand still. */
const LONGEST_PAUSE_MS = 10_000;

/** What trying again takes. */
export interface Persistence {
  readonly clock: Clock;
  readonly random: Random;
  /** Told of every failure after which it is tried again. */
  readonly failed: (error: unknown) => void;
  /** Whether trying again cannot change an error: it is thrown. Default: it always can. */
  readonly isFinal?: (error: unknown) => boolean;
}

/**
 * Tries until it works or `signal` aborts. Without a limit, because giving up would lose what was acknowledged, or leave it undone for
 * ever: what waits for it is bounded instead (`Backlog`). Between tries there are pauses with jitter.
 * @throws whatever the signal was aborted with; what is final.
 */
export async function untilDone<T>(
  attempt: () => Promise<T>,
  { clock, random, failed, isFinal }: Persistence,
  signal: AbortSignal,
): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (isFinal?.(error) === true) throw error;
      throwIfAborted(signal);
      failed(error);
      await sleep(clock, pauseMs * (0.5 + random.fraction() / 2), signal);
    }
  }
}
