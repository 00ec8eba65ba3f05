import { isKind, throwIfAborted } from '../errors.ts';
import { type Clock, sleep } from '../system/clock.ts';

/** Makes an attempt, and others while it fails because a peer is away. */
export type Patience = <T>(attempt: () => Promise<T>) => Promise<T>;

/** Pause between two attempts. */
const PAUSE_MS = 1000;

/**
 * Tries again for a while what fails because a peer is away, so that a restart of the server does not cost the outputs
 * of an action that ran for an hour. The while begins when the peer goes away: an attempt that took longer had one.
 * @param attempt may be repeated without harm.
 * @throws what the last attempt threw; cancelled.
 */
export async function withPatience<T>(
  clock: Clock,
  patienceMs: number,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T> {
  let endMs: number | undefined;
  for (;;) {
    const startedMs = clock.monotonicMs();
    try {
      return await attempt();
    } catch (error) {
      const nowMs = clock.monotonicMs();
      if (endMs === undefined || nowMs - startedMs >= patienceMs) endMs = nowMs + patienceMs;
      if (!isKind(error, 'unavailable') || signal.aborted || nowMs >= endMs) throw error;
    }
    await sleep(clock, PAUSE_MS, signal).catch(() => throwIfAborted(signal));
  }
}
