import type { ExecutionReport } from '../execution-work.ts';
import type { SyncEvent } from '../scheduler/events.ts';
import type { SlotOrders } from '../scheduler-host.ts';

/** The scheduler's host, as a front for workers uses it. */
export interface SlotScheduler {
  /**
   * One report of a slot. With `pollMs` it waits for work that long; a newer call of the same slot ends an older one, which
   * is answered without orders. Aborting an open call makes the slot leave.
   */
  synchronize(event: SyncEvent<ExecutionReport>, pollMs: number, signal: AbortSignal): Promise<SlotOrders>;
  apply(event: { readonly type: 'leave'; readonly slot: string }): void;
}
