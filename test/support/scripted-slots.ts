import type { SlotScheduler } from '../../src/execution/bots/slot-scheduler.ts';
import type { ExecutionReport } from '../../src/execution/execution-work.ts';
import type { SyncEvent } from '../../src/execution/scheduler/events.ts';
import type { SlotOrders } from '../../src/execution/scheduler-host.ts';
import type { Clock } from '../../src/system/clock.ts';

type Sync = SyncEvent<ExecutionReport>;

/** A scheduler that gives each slot the orders a test chose, as long as it does not take them back. Keeps calls open like the real one. */
export class ScriptedSlots implements SlotScheduler {
  /** Every report, in order. */
  readonly reports: Sync[] = [];
  /** Slots that left, in order. */
  readonly left: string[] = [];
  readonly #clock: Clock;
  readonly #orders = new Map<string, SlotOrders>();
  readonly #polls = new Map<string, (orders: SlotOrders) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Number of open calls. */
  get polling(): number {
    return this.#polls.size;
  }

  /** The newest report of a slot. */
  report(slot: string): Sync | undefined {
    return this.reports.findLast((event) => event.slot === slot);
  }

  /** What the slot is told from now on, at once if it waits; undefined: nothing. */
  order(slot: string, orders: SlotOrders | undefined): void {
    if (orders === undefined) this.#orders.delete(slot);
    else this.#orders.set(slot, orders);
    if (orders !== undefined) this.#polls.get(slot)?.(orders);
  }

  apply({ slot }: { readonly slot: string }): void {
    this.left.push(slot);
  }

  async synchronize(event: Sync, pollMs: number, signal: AbortSignal): Promise<SlotOrders> {
    const { slot } = event;
    this.#polls.get(slot)?.({});
    this.reports.push(event);
    if (event.holding?.completed !== undefined) this.#orders.delete(slot);
    const orders = this.#orders.get(slot);
    if (orders !== undefined || pollMs === 0) return orders ?? {};
    return new Promise((resolve) => {
      const end = (so: SlotOrders): void => {
        if (this.#polls.get(slot) === end) this.#polls.delete(slot);
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
        resolve(so);
      };
      const onAbort = (): void => {
        end({});
        this.left.push(slot);
      };
      const timer = this.#clock.wakeAt(this.#clock.monotonicMs() + pollMs, () => end({}));
      this.#polls.set(slot, end);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
