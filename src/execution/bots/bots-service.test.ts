import assert from 'node:assert/strict';
import { callUnary } from '../../../test/support/call-method.ts';
import { fakeCall } from '../../../test/support/fake-call.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { ScriptedSlots } from '../../../test/support/scripted-slots.ts';
import { OpenAuthorizer, ReadOnlyAuthorizer } from '../../auth/authorizer.ts';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { isKind } from '../../errors.ts';
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
import type { Call } from '../../rpc/call.ts';
import type { Method } from '../../rpc/methods.ts';
import { SystemRandom } from '../../system/random.ts';
import { QUEUE_LABEL, workerIdOf } from '../build-queue-state/queue-name.ts';
import type { ExecutionWork } from '../execution-work.ts';
import type { LeaseOrder } from '../scheduler/events.ts';
import { botsMethods } from './bots-service.ts';

const { PENDING, ACTIVE, COMPLETED, CANCELLED } = LeaseState;
const ACTION_RESULT = 'build.bazel.remote.execution.v2.ActionResult';
const key = { instance: parseInstanceName('main'), action: digestOf('sha256', Buffer.from('action')) };
const START_MS = 1_700_000_000_000;
const isInvalid = (error: unknown): boolean => isKind(error, 'invalid-argument');
const SLOT = 'bot b#0 under main';

/** Lets handlers get to their wait. */
const settle = (): Promise<void> => new Promise(setImmediate);

function order(lease: string, isKnown = true): { readonly hold: LeaseOrder<ExecutionWork> } {
  const action = Action.fromPartial({ timeout: { seconds: 60n, nanos: 0 } });
  const work = { key, action, timeoutMs: 60_000, requestMetadata: undefined };
  return { hold: { lease, key, attempt: 1, queuedAtMs: 0, work: isKnown ? work : undefined } };
}

function done(lease: Lease, exitCode = 0): object {
  const value = ActionResult.encode(ActionResult.fromPartial({ exitCode })).finish();
  return { ...lease, state: COMPLETED, status: { code: 0 }, result: packAny(ACTION_RESULT, value) };
}

const withCapacity = (capacity: number): object => ({ configs: [{ key: 'capacity', value: String(capacity) }] });

/** A server for bots, with a scheduler that does as it is told. */
class Farm {
  readonly clock: FakeClock;
  readonly slots: ScriptedSlots;
  readonly stopping = new AbortController();
  readonly methods: readonly Method[];

  constructor(options: { readonly isReadOnly?: boolean; readonly resumeMs?: number } = {}) {
    this.clock = new FakeClock(START_MS);
    this.slots = new ScriptedSlots(this.clock);
    const authorizer = new OpenAuthorizer();
    this.methods = botsMethods({
      host: this.slots,
      matcher: new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' }),
      authorizer: options.isReadOnly === true ? new ReadOnlyAuthorizer(authorizer) : authorizer,
      clock: this.clock,
      random: new SystemRandom(),
      pollMs: 30_000,
      sessionTimeoutMs: 60_000,
      maxBots: 10,
      resumeMs: options.resumeMs ?? 0,
      stopping: this.stopping.signal,
      digestFunctions: ['sha256'],
    });
  }

  create(session: object = {}, call: Partial<Call> = {}): Promise<BotSession> {
    const botSession = { botId: 'b', status: BotStatus.OK, ...session };
    const { createBotSession } = BotsDefinition.methods;
    return callUnary(this.methods, createBotSession, { parent: 'main', botSession }, fakeCall(call));
  }

  update<T extends { readonly name: string }>(botSession: T, call: Partial<Call> = {}): Promise<BotSession> {
    const { updateBotSession } = BotsDefinition.methods;
    return callUnary(this.methods, updateBotSession, { name: botSession.name, botSession }, fakeCall(call));
  }

  /** A session that holds one active lease of the slot. */
  async busy(session: object = {}): Promise<BotSession> {
    this.slots.order(SLOT, order('a'));
    const created = await this.create(session);
    const leases = created.leases.map((lease) => ({ ...lease, state: ACTIVE }));
    return this.update({ ...created, leases });
  }
}

const statesOf = ({ leases }: BotSession): readonly string[] =>
  leases.map(({ id, state }) => `${id.split('.')[0]} ${state}`);

describe('Bots', () => {
  it('keeps a new bot waiting for work, then names its session and its end (R-RW-01, R-RW-04, R-RW-05)', async () => {
    const farm = new Farm();
    const answer = farm.create();
    await settle();
    assert.equal(farm.slots.polling, 1);
    farm.clock.advance(30_000);
    const session = await answer;
    assert.match(session.name, /^main\/./);
    assert.deepEqual([session.botId, session.status, session.leases], ['b', BotStatus.OK, []]);
    assert.deepEqual(session.expireTime, { seconds: 1_700_000_090n, nanos: 0 });
  });

  it('hands out work as soon as there is some, with a timeout (R-RW-07, R-RW-09)', async () => {
    const farm = new Farm();
    const answer = farm.create();
    await settle();
    farm.slots.order(SLOT, order('a'));
    const [lease, ...others] = (await answer).leases;
    assert.deepEqual([lease?.state, others], [PENDING, []]);
    assert.equal(lease?.payload?.typeUrl, 'type.googleapis.com/build.bazel.remote.execution.v2.Action');
    assert.deepEqual(Action.decode(lease.payload.value).timeout, { seconds: 60n, nanos: 0 });
  });

  it('answers before the deadline of the caller, and well before the session ends (R-RW-05)', async () => {
    for (const [deadlineMs, waitsMs] of [
      [10_000, 8_000],
      [600_000, 30_000],
    ] as const) {
      const farm = new Farm();
      let isAnswered = false;
      const answer = farm.create({}, { deadlineMs: START_MS + deadlineMs }).then(() => {
        isAnswered = true;
      });
      await settle();
      farm.clock.advance(waitsMs - 1);
      await settle();
      assert.equal(isAnswered, false);
      farm.clock.advance(1);
      await answer;
    }
  });

  it('answers at once when a lease was reported, whether it runs or is done (R-RW-05)', async () => {
    const farm = new Farm();
    const session = await farm.busy();
    assert.deepEqual(statesOf(session), [`a ${ACTIVE}`]);
    const after = await farm.update({ ...session, leases: session.leases.map((lease) => done(lease)) });
    assert.deepEqual(after.leases, []);
  });

  it('reports a lease with all that a restarted server needs, and its result as the scheduler wants it (R-RW-10)', async () => {
    const farm = new Farm();
    const session = await farm.busy();
    assert.deepEqual(farm.slots.report(SLOT)?.holding, { action: key.action, lease: 'a', key });
    await farm.update({ ...session, leases: session.leases.map((lease) => done(lease, 3)) });
    const completed = farm.slots.report(SLOT)?.holding?.completed;
    assert.equal(completed?.verdict, 'failure');
    assert.equal(completed.result.response.result?.exitCode, 3);
    assert.equal(completed.result.response.result.executionMetadata?.worker, 'b');
  });

  it('takes a result that is no ActionResult for a fault of the bot', async () => {
    for (const result of [packAny(ACTION_RESULT, Buffer.from([0xff])), packAny('some.Thing', Buffer.alloc(0))]) {
      const farm = new Farm();
      const session = await farm.busy();
      await farm.update({ ...session, leases: session.leases.map((lease) => ({ ...done(lease), result })) });
      assert.equal(farm.slots.report(SLOT)?.holding?.completed?.verdict, 'worker-fault');
    }
  });

  it('does not send results back (R-RW-11)', async () => {
    const farm = new Farm();
    const session = await farm.busy();
    const result = packAny(ACTION_RESULT, Buffer.alloc(0));
    const after = await farm.update({ ...session, leases: session.leases.map((lease) => ({ ...lease, result })) });
    assert.deepEqual(
      after.leases.map((lease) => lease.result),
      [undefined],
    );
  });

  it('sends a lease again that did not arrive (R-RW-08)', async () => {
    const farm = new Farm();
    farm.slots.order(SLOT, order('a'));
    const session = await farm.create();
    assert.deepEqual(statesOf(await farm.update({ ...session, leases: [] })), [`a ${PENDING}`]);
  });

  it('tells a bot that its lease is no longer wanted, as the schema and as BuildGrid has it', async () => {
    const farm = new Farm();
    const session = await farm.busy();
    farm.slots.order(SLOT, undefined);
    const told = await farm.update(session);
    assert.deepEqual(statesOf(told), [`a ${CANCELLED}`]);
    assert.deepEqual(statesOf(await farm.update(session)), []);
  });

  it('gives new leases to bots that are OK only (R-RW-06)', async () => {
    for (const status of [
      BotStatus.UNSPECIFIED,
      BotStatus.UNHEALTHY,
      BotStatus.HOST_REBOOTING,
      BotStatus.BOT_TERMINATING,
      BotStatus.INITIALIZING,
    ]) {
      const farm = new Farm();
      await farm.create({ status });
      assert.equal(farm.slots.report(SLOT)?.prefersIdle, true, String(status));
      assert.equal(farm.slots.polling, 0);
    }
  });

  it('tells the scheduler what the bot is (R-RW-12)', async () => {
    const farm = new Farm();
    const device = { properties: [{ key: 'OSFamily', value: 'linux' }] };
    void farm.create({ worker: { devices: [device] } });
    await settle();
    const report = farm.slots.report(SLOT);
    assert.deepEqual([report?.node, report?.instancePrefix], ['bot b under main', 'main']);
    assert.deepEqual(workerIdOf(report?.labels ?? {}), { bot_id: 'b', slot: '0' });
    assert.notEqual(report?.labels?.[QUEUE_LABEL], undefined);
    assert.deepEqual(report?.offer.alternatives, [{ properties: [{ name: 'OSFamily', values: ['linux'] }] }]);
    farm.stopping.abort();
  });

  it('remembers what the bot is when an update does not say it', async () => {
    const farm = new Farm();
    const device = { properties: [{ key: 'OSFamily', value: 'linux' }] };
    const session = await farm.busy({ worker: { devices: [device] } });
    const after = await farm.update({ ...session, worker: undefined });
    assert.deepEqual(after.worker, session.worker);
    assert.equal(farm.slots.report(SLOT)?.offer.alternatives[0]?.properties[0]?.name, 'OSFamily');
  });

  it('sends back what bots keep as their session', async () => {
    const farm = new Farm();
    const session = await farm.busy({ worker: withCapacity(1), version: '7' });
    assert.deepEqual([session.version, session.worker?.configs], ['7', [{ key: 'capacity', value: '1' }]]);
  });

  describe('with capacity (R-RW-13)', () => {
    it('has a slot for each lease, all of one node', async () => {
      const farm = new Farm();
      const answer = farm.create({ worker: withCapacity(3) });
      await settle();
      assert.equal(farm.slots.polling, 3);
      farm.slots.order('bot b#0 under main', order('a'));
      farm.slots.order('bot b#2 under main', order('c'));
      assert.deepEqual(statesOf(await answer), [`a ${PENDING}`, `c ${PENDING}`]);
      assert.equal(farm.slots.polling, 0);
      assert.equal(new Set(farm.slots.reports.map(({ node }) => node)).size, 1);
    });

    it('asks for more while it works, without waiting', async () => {
      const farm = new Farm();
      const session = await farm.busy({ worker: withCapacity(2) });
      farm.slots.order('bot b#1 under main', order('b'));
      assert.deepEqual(statesOf(await farm.update(session)), [`a ${ACTIVE}`, `b ${PENDING}`]);
      assert.equal(farm.slots.report('bot b#0 under main')?.holding?.lease, 'a');
    });

    it('gives up slots that it no longer has, once they are free', async () => {
      const farm = new Farm();
      farm.slots.order('bot b#2 under main', order('c'));
      const session = await farm.create({ worker: withCapacity(4) });
      const leases = session.leases.map((lease) => ({ ...lease, state: ACTIVE }));
      const shrunk = await farm.update({ ...session, worker: withCapacity(1), leases });
      assert.deepEqual(farm.slots.left, ['bot b#3 under main']);
      assert.deepEqual(statesOf(shrunk), [`c ${ACTIVE}`]);
      assert.equal(farm.slots.report('bot b#1 under main')?.prefersIdle, true);
      const last = await farm.update({ ...shrunk, leases: shrunk.leases.map((lease) => done(lease)) });
      void farm.update(last);
      await settle();
      assert.deepEqual(farm.slots.left.slice(1), ['bot b#1 under main', 'bot b#2 under main']);
      farm.stopping.abort();
    });
  });

  describe('refuses', () => {
    it('a session it does not know, and one that a newer one replaced (R-RW-02)', async () => {
      const farm = new Farm();
      const session = await farm.busy();
      await assert.rejects(farm.update({ name: 'main/none' }), isInvalid);
      await farm.create();
      await assert.rejects(farm.update(session), isInvalid);
    });

    it('a name that is not that of the session, and a session of another bot (R-RW-03)', async () => {
      const farm = new Farm();
      const session = await farm.busy();
      const { updateBotSession } = BotsDefinition.methods;
      const request = { name: 'main/other', botSession: session };
      await assert.rejects(callUnary(farm.methods, updateBotSession, request), isInvalid);
      await assert.rejects(farm.update({ ...session, botId: 'c' }), isInvalid);
    });

    it('requests without a session or a bot, and a malformed parent (R-RW-01)', async () => {
      const farm = new Farm();
      const { createBotSession, updateBotSession } = BotsDefinition.methods;
      for (const request of [{}, { botSession: {} }, { parent: '/x', botSession: { botId: 'b' } }]) {
        await assert.rejects(callUnary(farm.methods, createBotSession, request), isInvalid);
      }
      await assert.rejects(callUnary(farm.methods, updateBotSession, { name: 'main/x' }), isInvalid);
    });

    it('bots where they may not be, whatever sessions there are', async () => {
      const farm = new Farm({ isReadOnly: true });
      for (const call of [farm.create(), farm.update({ name: 'main/none' })]) {
        await assert.rejects(call, (error) => isKind(error, 'denied'));
      }
    });
  });

  it('ends a session that does what is not allowed, and gives its work to others (R-RW-07)', async () => {
    const farm = new Farm();
    const session = await farm.busy();
    const leases = session.leases.map((lease) => ({ ...lease, state: CANCELLED }));
    await assert.rejects(farm.update({ ...session, leases }), isInvalid);
    assert.deepEqual(farm.slots.left, [SLOT]);
    await assert.rejects(farm.update(session), isInvalid);
  });

  it('gives the work of a bot that does not call in time to others (R-RW-04)', async () => {
    const farm = new Farm();
    const session = await farm.busy();
    farm.clock.advance(60_000);
    assert.deepEqual(farm.slots.left, [SLOT]);
    await assert.rejects(farm.update(session), isInvalid);
  });

  it('ends an older call of the same bot for a newer one', async () => {
    const farm = new Farm();
    const idle = await farm.create({ status: BotStatus.UNHEALTHY });
    const older = farm.update({ ...idle, status: BotStatus.OK });
    const ended = assert.rejects(older, (error) => isKind(error, 'cancelled'));
    await settle();
    const newer = farm.update({ ...idle, status: BotStatus.OK });
    await ended;
    assert.equal(farm.slots.polling, 1);
    farm.slots.order(SLOT, order('a'));
    assert.deepEqual(statesOf(await newer), [`a ${PENDING}`]);
  });

  it('lets the slots of a caller leave that is gone, and does not call them back', async () => {
    const farm = new Farm();
    const abort = new AbortController();
    const answer = farm.create({ worker: withCapacity(2) }, { signal: abort.signal });
    const ended = assert.rejects(answer, (error) => isKind(error, 'cancelled'));
    await settle();
    const reports = farm.slots.reports.length;
    abort.abort();
    await ended;
    assert.deepEqual(farm.slots.left, ['bot b#0 under main', 'bot b#1 under main']);
    assert.equal(farm.slots.reports.length, reports);
  });

  it('gives no work while the server stops, and keeps nobody', async () => {
    const farm = new Farm();
    const waiting = farm.create();
    await settle();
    farm.stopping.abort();
    const session = await waiting;
    assert.deepEqual(session.leases, []);
    await farm.update(session);
    assert.deepEqual([farm.slots.report(SLOT)?.prefersIdle, farm.slots.polling, farm.clock.armed], [true, 0, 0]);
  });

  it('takes over what bots of a former server run, by their sessions and their leases', async () => {
    const session = await new Farm().busy();
    const farm = new Farm({ resumeMs: 120_000 });
    farm.slots.order(SLOT, order('a', false));
    assert.deepEqual(await farm.update(session).then(statesOf), [`a ${ACTIVE}`]);
    assert.deepEqual(farm.slots.report(SLOT)?.holding, { action: key.action, lease: 'a', key });
    await farm.update({ ...session, leases: session.leases.map((lease) => done(lease)) });
    assert.equal(farm.slots.report(SLOT)?.holding?.completed?.verdict, 'success');
  });

  it('takes over what a bot runs that had to begin a new session', async () => {
    const { leases } = await new Farm().busy();
    const farm = new Farm();
    farm.slots.order(SLOT, order('a', false));
    assert.deepEqual(await farm.create({ leases }).then(statesOf), [`a ${ACTIVE}`]);
  });
});
