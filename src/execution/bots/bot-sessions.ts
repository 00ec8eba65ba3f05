import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import type { Machine } from './bot-offer.ts';
import { LeaseTable } from './lease-table.ts';

/** A bot that has a session. */
export interface Bot {
  readonly id: string;
  /** Actions of this instance and below may be sent to it. */
  readonly parent: InstanceName;
  /** Name of its one valid session. */
  session: string;
  readonly leases: LeaseTable;
  /** As it said last; unset before its first call. */
  machine: Machine | undefined;
  /** Number of its newest call: an older one has nothing to say any more. */
  call: number;
}

/** Limits and times of sessions. */
export interface BotSessionOptions {
  /** A bot has to call again within this time (R-RW-04). */
  readonly timeoutMs: number;
  /** Bots that have a session at a time. */
  readonly maxBots: number;
  /** For so long after the start, sessions of a former server go on: an update says all that a creation would. */
  readonly resumeMs: number;
}

/** Longest id of a bot: it is kept, and part of the names of its slots. In characters. */
const MAX_BOT_ID_CHARACTERS = 1024;

/** The last part of a session's name: the life of the server that made it, and the session. */
const OWN_NAME = /^([0-9a-f]{8})-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Who has a session. A bot has one at a time: a new one makes those before it invalid and takes over what the bot holds, so
 * that a bot which lost its session alone goes on. While a call of a bot is open its session does not expire.
 *
 * An update of a session that is not valid is INVALID_ARGUMENT, as BuildGrid 0.4.4 answers it, the server that the bots out
 * there were made for (R-RW-02).
 */
export class BotSessions {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #onExpired: (bot: Bot) => void;
  readonly #options: BotSessionOptions;
  readonly #life: string;
  readonly #resumesUntilMs: number;
  readonly #bySession = new Map<string, Bot>();
  readonly #byId = new Map<string, Bot>();
  /** When the bots without an open call expire, the next one first: all have the same time. */
  readonly #expiries = new Map<Bot, number>();
  #timer: Timer | undefined;
  #isStopped = false;

  /** @param onExpired is told of bots that did not call in time. */
  constructor(clock: Clock, random: Random, onExpired: (bot: Bot) => void, options: BotSessionOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#onExpired = onExpired;
    this.#options = options;
    this.#life = random.token(4);
    this.#resumesUntilMs = clock.monotonicMs() + options.resumeMs;
  }

  /** Begins a session (R-RW-01). @throws invalid-argument: no usable `id`; quota-exceeded: too many bots. */
  create(parent: InstanceName, id: string): Bot {
    return this.#begin(parent, id, joined(parent, `${this.#life}-${this.#random.uuid()}`));
  }

  /** The bot of a valid session. @throws invalid-argument (R-RW-02). */
  find(session: string, id: string): Bot {
    const bot = this.#bySession.get(session) ?? this.#resume(session, id);
    if (bot === undefined) throw wrong('is not valid here: it has ended, or another one took its place', 'name');
    if (id !== '' && id !== bot.id) throw wrong(`is of another bot than "${id.slice(0, 80)}"`, 'bot_session.bot_id');
    return bot;
  }

  /** A call of the bot begins. Its number tells whether a newer one has replaced it. */
  enter(bot: Bot): number {
    this.#expiries.delete(bot);
    bot.call++;
    return bot.call;
  }

  /** Whether no newer call and no newer session has replaced this call. */
  isNewest(bot: Bot, session: string, call: number): boolean {
    return this.#bySession.get(session) === bot && bot.call === call;
  }

  /** The newest call of the bot ends: from now on the bot has its time to call again. Returns when it expires, in wall time. */
  leave(bot: Bot): number {
    const { timeoutMs } = this.#options;
    this.#expiries.delete(bot);
    this.#expiries.set(bot, this.#clock.monotonicMs() + timeoutMs);
    if (this.#timer === undefined && !this.#isStopped) this.#arm();
    return this.#clock.nowMs() + timeoutMs;
  }

  /** Ends the session and forgets the bot. */
  close(bot: Bot): void {
    this.#bySession.delete(bot.session);
    this.#byId.delete(keyOf(bot.parent, bot.id));
    this.#expiries.delete(bot);
  }

  /** From now on sessions do not expire. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** A session that a former server made, and that no newer one has replaced yet. */
  #resume(session: string, id: string): Bot | undefined {
    if (id === '' || this.#clock.monotonicMs() >= this.#resumesUntilMs) return undefined;
    const life = OWN_NAME.exec(session.slice(session.lastIndexOf('/') + 1))?.[1];
    if (life === undefined || life === this.#life) return undefined;
    const parent = parentOf(session);
    return this.#byId.has(keyOf(parent, id)) ? undefined : this.#begin(parent, id, session);
  }

  #begin(parent: InstanceName, id: string, session: string): Bot {
    if (id === '') throw wrong('has no bot_id', 'bot_session.bot_id');
    if (id.length > MAX_BOT_ID_CHARACTERS) {
      throw wrong(`has a bot_id of more than ${MAX_BOT_ID_CHARACTERS} characters`, 'bot_session.bot_id');
    }
    const key = keyOf(parent, id);
    const known = this.#byId.get(key);
    if (known !== undefined) {
      this.#bySession.delete(known.session);
      known.session = session;
      this.#bySession.set(session, known);
      this.leave(known);
      return known;
    }
    if (this.#byId.size >= this.#options.maxBots) throw new ReapiError('quota-exceeded', 'there are too many bots');
    const bot: Bot = { id, parent, session, leases: new LeaseTable(parent), machine: undefined, call: 0 };
    this.#byId.set(key, bot);
    this.#bySession.set(session, bot);
    this.leave(bot);
    return bot;
  }

  #arm(): void {
    const [next] = this.#expiries.values();
    this.#timer = next === undefined ? undefined : this.#clock.wakeAt(next, () => this.#expire());
  }

  #expire(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [bot, atMs] of this.#expiries) {
      if (atMs > nowMs) break;
      this.close(bot);
      this.#onExpired(bot);
    }
    this.#arm();
  }
}

/** The instance name that a session's name begins with. @throws invalid-argument if it is none. */
export function parentOf(session: string): InstanceName {
  return parseInstanceName(session.slice(0, Math.max(0, session.lastIndexOf('/'))));
}

/** Instance names have no control characters. */
function keyOf(parent: InstanceName, id: string): string {
  return `${parent}\n${id}`;
}

function joined(parent: InstanceName, name: string): string {
  return parent === '' ? name : `${parent}/${name}`;
}

function wrong(why: string, field: string): ReapiError {
  return new ReapiError('invalid-argument', `the bot session ${why}`, { field });
}
