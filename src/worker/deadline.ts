import { ReapiError } from '../errors.ts';
import type { Clock } from '../system/clock.ts';

/**
 * Runs one stage of a lease with a time limit, so that a transfer that hangs cannot hold the slot for ever (T-30).
 * @throws unavailable when the time is up; whatever `stage` throws otherwise.
 */
export async function withDeadline<T>(
  clock: Clock,
  limit: { readonly name: string; readonly ms: number },
  signal: AbortSignal,
  stage: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const expiry = new AbortController();
  const timer = clock.wakeAt(clock.monotonicMs() + limit.ms, () => expiry.abort());
  try {
    return await stage(AbortSignal.any([signal, expiry.signal]));
  } catch (error) {
    if (!expiry.signal.aborted || signal.aborted) throw error;
    throw new ReapiError('unavailable', `${limit.name} took longer than ${Math.round(limit.ms / 1000)} s`, {
      cause: error,
    });
  } finally {
    timer.cancel();
  }
}
