import { ReapiError, throwIfAborted } from '../../errors.ts';
import { LeaseState } from '../../gen/google/devtools/remoteworkers/v1test2/bots.ts';
import { queueLabels } from '../build-queue-state/queue-name.ts';
import type { ExecutionReport } from '../execution-work.ts';
import type { LeaseReport, SyncEvent } from '../scheduler/events.ts';
import type { SlotOrders } from '../scheduler-host.ts';
import type { Machine } from './bot-offer.ts';
import type { Bot } from './bot-sessions.ts';
import { completionOf } from './lease-result.ts';
import type { AnsweredLease, SlotReport } from './lease-table.ts';
import type { SlotScheduler } from './slot-scheduler.ts';

type Sync = SyncEvent<ExecutionReport>;

/** What a bot says of itself in one call. */
export interface BotReport {
  readonly machine: Machine;
  /** It wants nothing new (R-RW-06). */
  readonly prefersIdle: boolean;
  /** By number of the slot. */
  readonly slots: ReadonlyMap<number, SlotReport>;
}

/** What is known of the call. */
export interface BotCall {
  /** How long it may wait for work; 0: it is answered at once. */
  readonly pollMs: number;
  readonly signal: AbortSignal;
  /** Whether no newer call of the bot has replaced it. */
  readonly isNewest: () => boolean;
}

/**
 * Turns what a bot reports into reports of its slots, and their orders into what the bot is told. The scheduler knows nothing
 * of bots: slot `bot <id>#<n>` of node `bot <id>` is a slot like any other.
 */
export class BotExchange {
  readonly #host: SlotScheduler;
  readonly #stopping: AbortSignal;

  constructor(host: SlotScheduler, stopping: AbortSignal) {
    this.#host = host;
    this.#stopping = stopping;
  }

  /** Gives the bot so many slots. Those above that hold something stay until it is over. */
  resize(bot: Bot, capacity: number): void {
    const before = bot.leases.resize(capacity);
    for (let number = bot.leases.size; number < before; number++) this.#leave(bot, number);
  }

  /** The bot is gone, and what it held is lost. */
  end(bot: Bot): void {
    for (let number = 0; number < bot.leases.size; number++) this.#leave(bot, number);
  }

  /** @throws cancelled: the caller is gone, or a newer call took its place. */
  async run(bot: Bot, report: BotReport, call: BotCall): Promise<readonly AnsweredLease[]> {
    const { leases } = bot;
    const events = Array.from({ length: leases.size }, (_, number) => eventOf(bot, report, number));
    const orders = call.pollMs > 0 ? await this.#poll(events, call) : await this.#ask(events, call.signal);
    if (!call.isNewest()) throw new ReapiError('cancelled', 'a newer call of this bot took the place of this one');
    throwIfAborted(call.signal);
    return orders.flatMap((of, number) => leases.settle(number, report.slots.get(number), of));
  }

  #ask(events: readonly Sync[], signal: AbortSignal): Promise<readonly SlotOrders[]> {
    return Promise.all(events.map((event) => this.#host.synchronize(this.#now(event), 0, signal)));
  }

  /** Waits until one of the slots has something to do, or the time is up; the others then wait no longer. */
  async #poll(events: readonly Sync[], { pollMs, signal, isNewest }: BotCall): Promise<readonly SlotOrders[]> {
    const until = AbortSignal.any([signal, this.#stopping]);
    const answered = new Map<number, SlotOrders>();
    const polls = events.map(async (event, number) => {
      answered.set(number, await this.#host.synchronize(this.#now(event), pollMs, until));
    });
    await Promise.race(polls);
    // Whoever is gone must not come back as a slot, and a newer call speaks for the slots of this one.
    if (signal.aborted || !isNewest()) return [];
    return Promise.all(
      events.map((event, number) => answered.get(number) ?? this.#host.synchronize(this.#now(event), 0, signal)),
    );
  }

  #now(event: Sync): Sync {
    return this.#stopping.aborted ? { ...event, prefersIdle: true } : event;
  }

  #leave(bot: Bot, number: number): void {
    this.#host.apply({ type: 'leave', slot: slotOf(bot, number) });
  }
}

function eventOf(bot: Bot, { machine, prefersIdle, slots }: BotReport, number: number): Sync {
  const { capacity, offer } = machine;
  const slot = slots.get(number);
  return {
    type: 'sync',
    slot: slotOf(bot, number),
    node: nodeOf(bot),
    labels: queueLabels({ bot_id: bot.id, slot: String(number) }, bot.parent, offer),
    offer,
    instancePrefix: bot.parent,
    prefersIdle: prefersIdle || number >= capacity,
    ...(slot !== undefined && { holding: holdingOf(bot, slot) }),
  };
}

function holdingOf(bot: Bot, { name, lease, wasAccepted }: SlotReport): LeaseReport<ExecutionReport> {
  const held = { action: name.key.action, lease: name.lease, key: name.key };
  if (lease.state !== LeaseState.COMPLETED) return held;
  const { status, result } = lease;
  return { ...held, completed: completionOf({ status, result, wasAccepted, bot: bot.id }) };
}

function slotOf(bot: Bot, number: number): string {
  return `bot ${encodeURIComponent(bot.id)}#${number}${underOf(bot)}`;
}

function nodeOf(bot: Bot): string {
  return `bot ${encodeURIComponent(bot.id)}${underOf(bot)}`;
}

/** Bots of different parents are different bots, whatever their ids. */
function underOf({ parent }: Bot): string {
  return parent === '' ? '' : ` under ${encodeURIComponent(parent)}`;
}
