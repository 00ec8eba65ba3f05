import { ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { S3Health } from './s3-health.ts';

/** When to try a write again that waited in vain. */
const RETRY_MS = 5000;

/**
 * Waits for a write into the bucket, but not for ever: it goes on whether somebody waits or not.
 * @throws unavailable after `waitMs`; cancelled; whatever `stored` rejects with.
 */
export function waitAtMost(
  stored: Promise<void>,
  waitMs: number,
  { clock, signal, health }: { readonly clock: Clock; readonly signal: AbortSignal; readonly health?: S3Health },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (finish: () => void): void => {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
      finish();
    };
    const onAbort = (): void => {
      end(() => reject(new ReapiError('cancelled', 'the call was cancelled', { cause: signal.reason })));
    };
    const timer = clock.wakeAt(clock.monotonicMs() + waitMs, () => {
      const message = `S3 did not take it within ${Math.ceil(waitMs / 1000)} s (s3.uploadWaitSeconds); it may still do${health?.reason ?? ''}`;
      end(() => reject(new ReapiError('unavailable', message, { retryAfterMs: RETRY_MS })));
    });
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    stored.then(
      () => end(resolve),
      (error: unknown) => end(() => reject(error)),
    );
  });
}
