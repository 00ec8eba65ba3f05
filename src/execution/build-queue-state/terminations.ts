import { type Clock, sleep, type Timer } from '../../system/clock.ts';
import { selects } from '../scheduler/drains.ts';
import type { Labels } from '../scheduler/events.ts';
import type { DrainView, SchedulerView, SlotView } from '../scheduler/view.ts';
import type { FleetActions } from './fleet-actions.ts';
import { drainWith } from './queue-changes.ts';
import { mapText } from './text-order.ts';

/** How often a caller's workers are looked at. */
const IDLE_CHECK_MS = 500;

/** How often it is checked whether the workers of a termination are gone. */
const GONE_CHECK_MS = 5_000;

/** After a start, workers have so long to come back before they count as gone. */
const RETURN_MS = 60_000;

/** Tells our terminations from those of others, also after a restart. */
const REASON = 'terminated through BuildQueueState';

/** What terminations work with. */
export interface TerminationParts {
  readonly view: Pick<SchedulerView<unknown>, 'slots' | 'drains'>;
  readonly actions: FleetActions;
  readonly clock: Clock;
  /** Aborts when the server begins to stop. */
  readonly stopping: AbortSignal;
}

/**
 * Workers that are about to go. A termination drains them, and ends once the last of them is gone, so that a machine that
 * comes back under the same name gets work again. A drain of the same pattern that was there before is left as it was.
 */
export class Terminations {
  readonly #parts: TerminationParts;
  /** By pattern; what was in force before. At most as many as there are drains. */
  readonly #begun = new Map<string, { readonly pattern: Labels; readonly before: DrainView | undefined }>();
  #timer: Timer | undefined;

  /** Goes on with the terminations of a former server: what was drained before them by the same pattern is not known any more. */
  constructor(parts: TerminationParts) {
    this.#parts = parts;
    parts.stopping.addEventListener('abort', () => this.#timer?.cancel(), { once: true });
    for (const { pattern, reason, isTermination } of parts.view.drains()) {
      if (isTermination && reason === REASON) this.#begun.set(mapText(pattern), { pattern, before: undefined });
    }
    this.#watch(RETURN_MS);
  }

  /**
   * Drains all workers that match and waits until they hold nothing. A caller that gives up leaves them drained. Returns at once
   * if none matches. @throws quota-exceeded: there are too many drains; whatever aborts `signal`.
   */
  async terminate(pattern: Labels, signal: AbortSignal): Promise<void> {
    if (!this.#matching(pattern).next().value) return;
    this.#begin(pattern);
    const { clock } = this.#parts;
    while (this.#isBusy(pattern)) await sleep(clock, IDLE_CHECK_MS, signal);
  }

  #begin(pattern: Labels): void {
    const { view, actions } = this.#parts;
    const text = mapText(pattern);
    const before = view.drains().find((drain) => mapText(drain.pattern) === text);
    drainWith(view, actions, { pattern, on: true, isTermination: true, reason: REASON });
    if (before?.isTermination) return;
    this.#begun.set(text, { pattern, before });
    this.#watch();
  }

  #watch(afterMs = GONE_CHECK_MS): void {
    const { clock, stopping } = this.#parts;
    if (this.#timer !== undefined || stopping.aborted || this.#begun.size === 0) return;
    this.#timer = clock.wakeAt(clock.monotonicMs() + afterMs, () => {
      this.#timer = undefined;
      this.#endThoseGone();
      this.#watch();
    });
  }

  #endThoseGone(): void {
    const { actions } = this.#parts;
    for (const [text, { pattern, before }] of this.#begun) {
      if (this.#matching(pattern).next().value) continue;
      this.#begun.delete(text);
      if (before === undefined) actions.drain({ pattern, on: false });
      else actions.drain({ pattern, on: true, isTermination: false, reason: before.reason });
    }
  }

  #isBusy(pattern: Labels): boolean {
    for (const { hold } of this.#matching(pattern)) if (hold !== undefined) return true;
    return false;
  }

  *#matching(pattern: Labels): Generator<SlotView<unknown>, undefined> {
    for (const slot of this.#parts.view.slots()) if (selects(pattern, slot.labels)) yield slot;
  }
}
