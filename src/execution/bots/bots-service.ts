import { type Authorizer, demand } from '../../auth/authorizer.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import { Action, ActionResult } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  BotSession,
  BotStatus,
  BotsDefinition,
  type CreateBotSessionRequest,
  type Lease,
  type UpdateBotSessionRequest,
} from '../../gen/google/devtools/remoteworkers/v1test2/bots.ts';
import type { Any } from '../../gen/google/protobuf/any.ts';
import type { PlatformMatcher } from '../../platform/platform.ts';
import { isAny, packAny } from '../../rpc/any.ts';
import type { Call } from '../../rpc/call.ts';
import { type Method, unary } from '../../rpc/methods.ts';
import type { Clock } from '../../system/clock.ts';
import type { Random } from '../../system/random.ts';
import { timestampOf } from '../operations/wire-times.ts';
import { BotExchange } from './bot-exchange.ts';
import { type Machine, Machines } from './bot-offer.ts';
import { type Bot, BotSessions, parentOf } from './bot-sessions.ts';
import type { AnsweredLease, ReportedLease } from './lease-table.ts';
import type { SlotScheduler } from './slot-scheduler.ts';

/** What the service works with. */
export interface BotsParts {
  readonly host: SlotScheduler;
  readonly matcher: PlatformMatcher;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  readonly random: Random;
  /** How long a bot without work is kept waiting at most (R-RW-05); its deadline and its session may ask for less. */
  readonly pollMs: number;
  /** A bot has to call again within this time (R-RW-04). As long as the scheduler lets a busy slot be silent. */
  readonly sessionTimeoutMs: number;
  /** Bots that have a session at a time. */
  readonly maxBots: number;
  /** For so long after the start, sessions of a former server go on (`SchedulerOptions.adoptionGraceMs`). */
  readonly resumeMs: number;
  /** Aborts when the server begins to stop: from then on bots get no work and are not kept waiting. */
  readonly stopping: AbortSignal;
  /** Bots say nothing of it and are taken to hash with these. */
  readonly digestFunctions: readonly DigestFunction[];
}

/** So much of a time limit may pass before the answer: the rest is for the way back (R-RW-05). */
const SHARE_OF_LIMIT = 0.8;

const ACTION = 'build.bazel.remote.execution.v2.Action';
const ACTION_RESULT = 'build.bazel.remote.execution.v2.ActionResult';

/** The Remote Workers API: bots of buildbox-worker and BuildGrid's fleets as slots of the scheduler (R-RW-01 … R-RW-16). */
export function botsMethods(parts: BotsParts): Method[] {
  const front = new BotFront(parts);
  const { createBotSession, updateBotSession } = BotsDefinition.methods;
  return [
    unary(BotsDefinition, createBotSession, (request, call) => front.create(request, call)),
    unary(BotsDefinition, updateBotSession, (request, call) => front.update(request, call)),
  ];
}

class BotFront {
  readonly #parts: BotsParts;
  readonly #machines: Machines;
  readonly #exchange: BotExchange;
  readonly #sessions: BotSessions;

  constructor(parts: BotsParts) {
    const { clock, random, stopping } = parts;
    this.#parts = parts;
    this.#machines = new Machines(parts.matcher, parts.digestFunctions);
    this.#exchange = new BotExchange(parts.host, stopping);
    this.#sessions = new BotSessions(clock, random, (bot) => this.#exchange.end(bot), {
      timeoutMs: parts.sessionTimeoutMs,
      maxBots: parts.maxBots,
      resumeMs: parts.resumeMs,
    });
    stopping.addEventListener('abort', () => this.#sessions.stop(), { once: true });
  }

  async create({ parent, botSession }: CreateBotSessionRequest, call: Call): Promise<BotSession> {
    const farm = parseInstanceName(parent);
    await this.#demand(call, farm);
    const said = required(botSession);
    const machine = this.#machines.read(said.worker, undefined);
    return this.#converse(this.#sessions.create(farm, said.botId), said, machine, call);
  }

  async update({ name, botSession }: UpdateBotSessionRequest, call: Call): Promise<BotSession> {
    const said = required(botSession);
    if (name !== said.name) throw wrong('name and bot_session.name are different', 'name');
    // Whoever may not work here learns nothing of what sessions there are.
    await this.#demand(call, parentOf(name));
    const bot = this.#sessions.find(name, said.botId);
    return this.#converse(bot, said, this.#machines.read(said.worker, bot.machine), call);
  }

  async #converse(bot: Bot, said: BotSession, machine: Machine, call: Call): Promise<BotSession> {
    const { session } = bot;
    const number = this.#sessions.enter(bot);
    const isNewest = (): boolean => this.#sessions.isNewest(bot, session, number);
    bot.machine = machine;
    this.#exchange.resize(bot, machine.capacity);
    const slots = this.#read(bot, said);
    const prefersIdle = said.status !== BotStatus.OK;
    // An empty list may be a lost answer as well: what is sent again does not wait.
    const mayWait = said.leases.length === 0 && !prefersIdle && !this.#parts.stopping.aborted;
    try {
      const leases = await this.#exchange.run(
        bot,
        { machine, prefersIdle, slots },
        { pollMs: mayWait ? this.#pollMs(call) : 0, signal: call.signal, isNewest },
      );
      return answer(bot, said, leases, this.#sessions.leave(bot));
    } catch (error) {
      // Otherwise the newer call, or session, decides what becomes of the bot.
      if (isNewest()) this.#sessions.leave(bot);
      throw error;
    }
  }

  /** A step that is not allowed ends the session (R-RW-07). */
  #read(bot: Bot, said: BotSession) {
    try {
      return bot.leases.read(said.leases.map(reportedLease));
    } catch (error) {
      this.#sessions.close(bot);
      this.#exchange.end(bot);
      throw error;
    }
  }

  #pollMs({ deadlineMs }: Call): number {
    const { clock, pollMs, sessionTimeoutMs } = this.#parts;
    const leftMs = deadlineMs === undefined ? sessionTimeoutMs : deadlineMs - clock.nowMs();
    return Math.max(0, Math.min(pollMs, SHARE_OF_LIMIT * Math.min(leftMs, sessionTimeoutMs)));
  }

  async #demand(call: Call, farm: InstanceName): Promise<void> {
    await demand(this.#parts.authorizer, call.principal, 'worker', farm);
  }
}

function required(session: BotSession | undefined): BotSession {
  if (session === undefined) throw wrong('bot_session is required', 'bot_session');
  return session;
}

function reportedLease({ id, state, status, payload, result }: Lease): ReportedLease {
  return { id, state, status, payload, result: result === undefined ? undefined : actionResultOf(result) };
}

function actionResultOf(result: Any): ActionResult | undefined {
  if (!isAny(result, ACTION_RESULT)) return undefined;
  try {
    return ActionResult.decode(result.value);
  } catch {
    // As good as none: a fault of the bot. Refusing the call would make it send the same again.
    return undefined;
  }
}

/** All that the bot said, for bots keep what they get as their session; and what has changed. */
function answer(bot: Bot, said: BotSession, leases: readonly AnsweredLease[], expiresAtMs: number): BotSession {
  const expireTime = timestampOf(expiresAtMs);
  const { status, version } = said;
  return BotSession.fromPartial({
    name: bot.session,
    botId: bot.id,
    status,
    version,
    worker: bot.machine?.worker,
    expireTime,
    leases: leases.map(({ id, state, action, payload }) => ({
      id,
      state,
      payload: action === undefined ? payload : packAny(ACTION, Action.encode(action).finish()),
    })),
  });
}

function wrong(message: string, field: string): ReapiError {
  return new ReapiError('invalid-argument', message, { field });
}
