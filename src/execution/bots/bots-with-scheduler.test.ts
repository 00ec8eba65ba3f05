import assert from 'node:assert/strict';
import { callUnary } from '../../../test/support/call-method.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { OpenAuthorizer } from '../../auth/authorizer.ts';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { Action, ActionResult } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type BotSession,
  BotStatus,
  BotsDefinition,
  type Lease,
  LeaseState,
} from '../../gen/google/devtools/remoteworkers/v1test2/bots.ts';
import { DEFAULT_RULES } from '../../platform/lexicon.ts';
import { RuleMatcher } from '../../platform/matcher.ts';
import { packAny } from '../../rpc/any.ts';
import { SystemRandom } from '../../system/random.ts';
import type { ExecutionReport, ExecutionWork } from '../execution-work.ts';
import type { Outcome } from '../scheduler/events.ts';
import { createScheduler } from '../scheduler/scheduler.ts';
import { SchedulerHost } from '../scheduler-host.ts';
import { botsMethods } from './bots-service.ts';

const { PENDING, ACTIVE, COMPLETED, CANCELLED } = LeaseState;
const key = { instance: parseInstanceName('main'), action: digestOf('sha256', Buffer.from('action')) };
const GRACE_MS = 120_000;

/** One life of a server: the real scheduler behind the methods for bots. */
class Life {
  readonly clock = new FakeClock(1_700_000_000_000);
  readonly outcomes: Outcome<ExecutionReport>[] = [];
  /** Results that were kept. */
  readonly recorded: ExecutionReport[] = [];
  readonly #matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
  readonly #host: SchedulerHost;
  readonly #methods;

  constructor(leasePrefix = 'a-') {
    this.#host = new SchedulerHost(
      createScheduler(this.#matcher, { leasePrefix, adoptionGraceMs: GRACE_MS }),
      {
        record: async (_key, _work, report) => {
          this.recorded.push(report);
        },
        stage: () => undefined,
        finish: (_operation, outcome) => this.outcomes.push(outcome),
        learn: () => undefined,
        notice: () => undefined,
        broken: (error) => assert.fail(String(error)),
      },
      this.clock,
    );
    this.#methods = botsMethods({
      host: this.#host,
      matcher: this.#matcher,
      authorizer: new OpenAuthorizer(),
      clock: this.clock,
      random: new SystemRandom(),
      pollMs: 10_000,
      sessionTimeoutMs: 60_000,
      maxBots: 10,
      resumeMs: GRACE_MS,
      stopping: new AbortController().signal,
      digestFunctions: ['sha256'],
    });
    this.#host.apply({ type: 'tick' });
  }

  submit(operation = 'op'): void {
    const needs = this.#matcher.parse([], { digestFunction: 'sha256', legacyOutputs: false });
    const action = Action.fromPartial({ timeout: { seconds: 60n, nanos: 0 } });
    const work: ExecutionWork = { key, action, timeoutMs: 60_000, requestMetadata: undefined };
    this.#host.apply({ type: 'submit', operation, key, needs, priority: 0, merge: 'any', work });
  }

  async create(fields: Partial<BotSession> = {}): Promise<BotSession> {
    const botSession = { botId: 'b', status: BotStatus.OK, ...fields };
    return callUnary(this.#methods, BotsDefinition.methods.createBotSession, { parent: 'main', botSession });
  }

  async update(botSession: BotSession): Promise<BotSession> {
    const request = { name: botSession.name, botSession };
    return callUnary(this.#methods, BotsDefinition.methods.updateBotSession, request);
  }

  /** A bot that runs the action. */
  async busy(fields: Partial<BotSession> = {}): Promise<BotSession> {
    this.submit();
    return this.update(taken(await this.create(fields)));
  }
}

const statesOf = ({ leases }: BotSession): readonly LeaseState[] => leases.map(({ state }) => state);

/** The session when the bot has taken all its leases. */
function taken(session: BotSession): BotSession {
  return { ...session, leases: session.leases.map((lease) => ({ ...lease, state: ACTIVE })) };
}

/** The session when the bot is done with all its leases, and wants no more. */
function done(session: BotSession, end: Partial<Lease> = {}): BotSession {
  const value = ActionResult.encode(ActionResult.fromPartial({ stdoutRaw: Buffer.from('out') })).finish();
  const result = packAny('build.bazel.remote.execution.v2.ActionResult', value);
  const over = { state: COMPLETED, status: { code: 0, message: '', details: [] }, result, ...end };
  return {
    ...session,
    status: BotStatus.UNHEALTHY,
    leases: session.leases.map((lease) => ({ ...lease, ...over })),
  };
}

/** Lets results be recorded. */
const settle = (): Promise<void> => new Promise(setImmediate);

/** What the only client got on standard output. */
function outputOf({ outcomes }: Life): string {
  const [outcome, ...others] = outcomes;
  assert.ok(outcome?.type === 'result' && others.length === 0, JSON.stringify(outcomes));
  return Buffer.from(outcome.result.response.result?.stdoutRaw ?? []).toString();
}

describe('a bot with the scheduler', () => {
  it('runs an action for a client, and the server keeps the result (R-RW-16)', async () => {
    const life = new Life();
    const session = await life.busy();
    assert.deepEqual(statesOf(session), [ACTIVE]);
    assert.deepEqual(statesOf(await life.update(done(session))), []);
    await settle();
    assert.equal(outputOf(life), 'out');
    assert.deepEqual(
      life.recorded.map(({ isRecordedByWorker }) => isRecordedByWorker),
      [false],
    );
  });

  it('gets an action again whose first bot failed by a fault of its own (R-RW-10)', async () => {
    const life = new Life();
    const session = await life.busy();
    const failed = done(session, { status: { code: 14, message: 'disk', details: [] }, result: undefined });
    const again = await life.update({ ...failed, status: BotStatus.OK });
    assert.deepEqual(statesOf(again), [PENDING]);
    await life.update(done(again));
    await settle();
    assert.equal(outputOf(life), 'out');
  });

  it('gets the action of a bot that did not call in time (R-RW-04)', async () => {
    const life = new Life();
    await life.busy();
    life.clock.advance(60_000);
    const other = await life.create({ botId: 'c' });
    assert.deepEqual(statesOf(other), [PENDING]);
    await life.update(done(other));
    await settle();
    assert.equal(outputOf(life), 'out');
  });

  it('goes on with what it runs when it lost its session alone', async () => {
    const life = new Life();
    const { leases } = await life.busy();
    const session = await life.create({ leases });
    assert.deepEqual(statesOf(session), [ACTIVE]);
    await life.update(done(session));
    await settle();
    assert.equal(outputOf(life), 'out');
  });

  describe('after the server was killed', () => {
    it('goes on with what it runs, and the client that asks again gets the result', async () => {
      const session = await new Life().busy();
      const life = new Life('b-');
      assert.deepEqual(statesOf(await life.update(session)), [ACTIVE]);
      life.submit();
      assert.deepEqual(statesOf(await life.update(session)), [ACTIVE]);
      await life.update(done(session));
      await settle();
      assert.equal(outputOf(life), 'out');
    });

    it('goes on also if the client came first', async () => {
      const session = await new Life().busy();
      const life = new Life('b-');
      life.submit();
      assert.deepEqual(statesOf(await life.update(session)), [ACTIVE]);
      await life.update(done(session));
      await settle();
      assert.equal(outputOf(life), 'out');
    });

    it('has its result kept though nobody asked for it yet', async () => {
      const session = await new Life().busy();
      const life = new Life('b-');
      await life.update(session);
      await life.update(done(session));
      await settle();
      assert.equal(life.recorded.length, 1);
    });

    it('is told to stop at the end of the grace if nobody asked for it', async () => {
      const session = await new Life().busy();
      const life = new Life('b-');
      await life.update(session);
      for (let call = 0; call < 3; call += 1) {
        life.clock.advance(GRACE_MS / 3);
        if (call < 2) assert.deepEqual(statesOf(await life.update(session)), [ACTIVE]);
      }
      assert.deepEqual(statesOf(await life.update(session)), [CANCELLED]);
    });
  });
});
