import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { Action } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { BotStatus, Lease, LeaseState } from '../../src/gen/google/devtools/remoteworkers/v1test2/bots.ts';
import { responseIn, responseOf, stdoutText } from '../actions.ts';
import { freshName } from '../blobs.ts';
import { type CaseContext, type ConformanceCase, conformanceCase, type Level } from '../case.ts';
import { begin, cancel, errand, send, until, wait } from '../errands.ts';
import { expectBytes, expectFailure, present } from '../expect.ts';
import type { Feature } from '../profile.ts';
import { actionOf, active, completed, SuiteBot } from '../suite-bot.ts';
import { getResult } from './action-cache.ts';

const { DEADLINE_EXCEEDED, FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, OK, UNAVAILABLE } = status;
const { PENDING, ACTIVE, CANCELLED } = LeaseState;

/** A case of a server that serves the Remote Workers API. */
function botCase(
  head: readonly [id: string, level: Level, requirements: string, rule: string],
  test: (context: CaseContext) => Promise<void>,
  needs: readonly Feature[] = [],
): ConformanceCase {
  const [id, level, requirements, rule] = head;
  return conformanceCase({ id, level, requirements, rule, needs: ['bots', ...needs] }, test);
}

/** A bot that was given the work of a client. */
async function busyBot(context: CaseContext) {
  const bot = await new SuiteBot(context).begin();
  const prepared = errand(context, bot.platform);
  const { end } = await send(context, prepared);
  const lease = present((await bot.takeLeases())[0], 'a lease');
  const text = freshName();
  const finish = async (exitCode = 0): Promise<void> => {
    await bot.report([completed(lease, { exitCode, stdoutRaw: Buffer.from(text) })], { status: BotStatus.UNHEALTHY });
  };
  return { bot, prepared, digest: prepared.digest, end, lease, text, finish };
}

const sessionCases = [
  botCase(
    [
      'bots.create.session',
      'MUST',
      'R-RW-01 R-RW-04',
      'A new session has a name below its parent, the id of its bot, and an end that is ahead.',
    ],
    async (context) => {
      const { session } = await new SuiteBot(context).begin();
      assert.ok(session.name.startsWith(context.profile.instance), `the name is ${session.name}`);
      assert.notEqual(session.name, context.profile.instance);
      assert.notEqual(session.botId, '');
      const end = present(session.expireTime, 'expire_time');
      const inS = Number(end.seconds) - Date.now() / 1000;
      assert.ok(inS > 0 && inS < 86_400, `the session ends in ${inS.toFixed(1)} s`);
    },
  ),
  botCase(['bots.create.no-id', 'MUST', 'R-RW-01', 'A bot without id is refused.'], async (context) => {
    await expectFailure(new SuiteBot(context, { botId: '' }).begin(), INVALID_ARGUMENT);
  }),
  botCase(
    ['bots.update.superseded', 'MUST', 'R-RW-01 R-RW-02', 'A session is refused when its bot has begun another one.'],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      const older = bot.session;
      await bot.begin();
      assert.notEqual(bot.session.name, older.name);
      const late = bot.update({ name: older.name, status: BotStatus.UNHEALTHY }, older.name);
      await expectFailure(late, INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION);
      await bot.update({ status: BotStatus.UNHEALTHY });
    },
  ),
  botCase(
    ['bots.update.unknown', 'MUST', 'R-RW-02', 'A session that the server never made is refused.'],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      const name = `${context.profile.instance}/${freshName()}`.replace(/^\//, '');
      const stray = bot.update({ name, botId: freshName() }, name);
      await expectFailure(stray, INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION);
    },
  ),
  botCase(
    ['bots.update.names-differ', 'MUST', 'R-RW-03', 'A request is refused whose name is not that of its session.'],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      await expectFailure(bot.update({ name: `${bot.session.name}x` }, bot.session.name), INVALID_ARGUMENT);
    },
  ),
  botCase(
    ['bots.update.end-moves', 'MUST', 'R-RW-04', 'Every answer says when the session ends, each time later.'],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      const before = present(bot.session.expireTime, 'expire_time').seconds;
      const { expireTime } = await bot.update();
      assert.ok(present(expireTime, 'expire_time').seconds >= before, 'the end moved back');
    },
  ),
  botCase(
    ['bots.poll.deadline', 'SHOULD', 'R-RW-05', 'A bot without work is answered before the deadline of its call.'],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      assert.deepEqual((await bot.update()).leases, []);
    },
  ),
  botCase(
    ['bots.status.not-ok', 'MUST', 'R-RW-06', 'A bot that is not OK gets no work, one that is OK does.'],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      const prepared = errand(context, bot.platform);
      const { end } = await send(context, prepared);
      for (const notOk of [BotStatus.UNHEALTHY, BotStatus.BOT_TERMINATING, BotStatus.INITIALIZING]) {
        assert.deepEqual(await bot.report([], { status: notOk }), []);
      }
      const [lease] = await bot.takeLeases();
      await bot.report([completed(present(lease, 'a lease'), { exitCode: 0 })], { status: BotStatus.UNHEALTHY });
      assert.equal(responseOf(await end).result?.exitCode, 0);
    },
  ),
];

const leaseCases = [
  botCase(
    [
      'bots.lease.payload',
      'MUST',
      'R-RW-07 R-RW-09',
      'Work comes as a lease with an id, pending, and with the Action or its digest.',
    ],
    async (context) => {
      const { prepared, lease, finish } = await busyBot(context);
      assert.notEqual(lease.id, '');
      assert.ok(lease.state === PENDING || lease.state === ACTIVE, `state ${lease.state}`);
      const action = Action.encode({ ...(await actionOf(context, lease)), timeout: undefined }).finish();
      expectBytes(action, present(prepared.blobs[0], 'the Action').bytes);
      await finish();
    },
  ),
  botCase(
    ['bots.lease.lost-answer', 'MUST', 'R-RW-08', 'A lease that the bot does not list is sent again.'],
    async (context) => {
      const { bot, lease, finish } = await busyBot(context);
      const [again] = await bot.report([]);
      assert.equal(again?.id, lease.id);
      assert.ok(again.payload !== undefined, 'there is no payload');
      await finish();
    },
  ),
  botCase(
    [
      'bots.lease.kept',
      'MUST',
      'R-RW-05 R-RW-07',
      'A lease that the bot has taken stays in the list, and the bot is not kept waiting.',
    ],
    async (context) => {
      const { bot, lease, finish } = await busyBot(context);
      for (let call = 0; call < 3; call += 1) {
        const startMs = Date.now();
        const listed = await bot.report([active(lease)]);
        assert.ok(Date.now() - startMs < 2_000, 'the call was kept waiting');
        assert.deepEqual(
          listed.map(({ id, state }) => [id, state]),
          [[lease.id, ACTIVE]],
        );
      }
      await finish();
    },
  ),
  botCase(
    [
      'bots.lease.cancelled-by-bot',
      'MUST',
      'R-RW-07',
      'A bot that cancels a lease of its own accord is refused, and its work is given to others.',
    ],
    async (context) => {
      const { bot, lease, prepared, end } = await busyBot(context);
      const other = await new SuiteBot(context, {}, bot).begin();
      await bot.report([active(lease)]);
      await expectFailure(
        bot.update({ leases: [{ ...lease, state: CANCELLED }] }),
        ...[INVALID_ARGUMENT, FAILED_PRECONDITION, status.DATA_LOSS],
      );
      await expectFailure(bot.update({ leases: [] }), INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION);
      const again = present((await other.takeLeases())[0], 'a lease');
      const action = { ...(await actionOf(context, again)), timeout: undefined };
      expectBytes(Action.encode(action).finish(), present(prepared.blobs[0], 'the Action').bytes);
      await other.report([completed(again, { exitCode: 0 })], { status: BotStatus.UNHEALTHY });
      assert.equal(responseOf(await end).result?.exitCode, 0);
    },
  ),
  botCase(
    [
      'bots.lease.no-longer-wanted',
      'MUST',
      'R-RW-07',
      'A lease that nobody wants any more is cancelled, or left out of the list.',
    ],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      const name = await begin(context, errand(context, bot.platform));
      const lease = present((await bot.takeLeases())[0], 'a lease');
      await bot.report([active(lease)]);
      await cancel(context, name);
      const listed = await bot.report([active(lease)]);
      assert.ok(
        listed.every(({ id, state }) => id !== lease.id || state === CANCELLED),
        'the lease goes on',
      );
      assert.deepEqual(await bot.report([], { status: BotStatus.UNHEALTHY }), []);
      const response = responseIn(present((await wait(context, name)).messages.at(-1), 'the last operation'));
      assert.equal(response.status?.code, status.CANCELLED);
    },
    ['operations'],
  ),
  botCase(
    [
      'bots.lease.others-completed',
      'MUST',
      'R-RW-11',
      'That a lease is completed which the server does not know is ignored.',
    ],
    async (context) => {
      const bot = await new SuiteBot(context).begin();
      const listed = await bot.report([completed(Lease.fromPartial({ id: freshName() }), { exitCode: 0 })]);
      assert.deepEqual(listed, []);
    },
  ),
];

const resultCases = [
  botCase(
    [
      'bots.result.success',
      'MUST',
      'R-RW-10 R-RW-11 R-RW-16',
      'The client gets the result of a completed lease, the server stores it, and the lease is gone from the list.',
    ],
    async (context) => {
      const { bot, prepared, digest, end, text, finish } = await busyBot(context);
      await finish();
      assert.deepEqual(bot.session.leases, []);
      const response = responseOf(await end);
      assert.equal(response.status?.code ?? OK, OK, response.status?.message);
      assert.equal(await stdoutText(context, present(response.result, 'result')), text);
      assert.equal(await stdoutText(context, await getResult(context, digest)), text);
      const again = await send(context, prepared);
      assert.equal(responseOf(await again.end).cachedResult, true);
    },
  ),
  botCase(
    [
      'bots.result.failure',
      'MUST',
      'R-RW-10',
      'A command that failed is a result, with its exit code, and is not stored.',
    ],
    async (context) => {
      const { digest, end, text, finish } = await busyBot(context);
      await finish(3);
      const { result } = responseOf(await end);
      assert.equal(result?.exitCode, 3);
      assert.equal(await stdoutText(context, result), text);
      await expectFailure(getResult(context, digest), NOT_FOUND);
    },
  ),
  botCase(
    ['bots.result.timeout', 'MUST', 'R-RW-10 R-EX-21', 'That an action took too long reaches the client.'],
    async (context) => {
      const { bot, lease, end } = await busyBot(context);
      await bot.report([active(lease)]);
      await bot.report([completed(lease, { code: DEADLINE_EXCEEDED })], { status: BotStatus.UNHEALTHY });
      assert.equal(responseOf(await end).status?.code, DEADLINE_EXCEEDED);
    },
  ),
  botCase(
    ['bots.result.retried', 'SHOULD', 'R-RW-10', 'Work whose bot failed by a fault of its own is given out again.'],
    async (context) => {
      const { bot, lease, end } = await busyBot(context);
      await bot.report([active(lease)]);
      await bot.report([completed(lease, { code: UNAVAILABLE })]);
      const [again] = await bot.takeLeases();
      await bot.report([completed(present(again, 'a lease'), { exitCode: 0 })], { status: BotStatus.UNHEALTHY });
      assert.equal(responseOf(await end).result?.exitCode, 0);
    },
  ),
];

const machineCases = [
  botCase(
    ['bots.capacity', 'MAY', 'R-RW-13', 'A bot that says so gets several leases at a time, and no more than it said.'],
    async (context) => {
      const worker = { configs: [{ key: 'capacity', value: '2' }] };
      const bot = await new SuiteBot(context, { worker }).begin();
      const ends = await Promise.all([1, 2, 3].map(() => send(context, errand(context, bot.platform))));
      const leases = await bot.takeLeases(2);
      const listed = await bot.report(leases.map(active));
      assert.equal(listed.length, 2, 'the bot has more leases than its capacity');
      const [last] = await until(context, 'the third action', async () => {
        const rest = await bot.report(leases.map((lease) => completed(lease, { exitCode: 0 })));
        return rest.length > 0 ? rest : undefined;
      });
      await bot.report([completed(present(last, 'a lease'), { exitCode: 0 })], { status: BotStatus.UNHEALTHY });
      for (const { end } of ends) assert.equal(responseOf(await end).result?.exitCode, 0);
    },
  ),
  botCase(
    [
      'bots.platform.any-value',
      'MUST',
      'R-RW-12',
      'A bot that has a key with several values runs what asks for any of them.',
    ],
    async (context) => {
      const bot = new SuiteBot(context);
      const properties = [
        ...bot.platform,
        ...bot.platform.map(({ name }) => ({ name, value: `other-${freshName()}` })),
      ];
      const device = { handle: 'conformance', properties: properties.map(({ name, value }) => ({ key: name, value })) };
      bot.session = { ...bot.session, worker: { devices: [device], properties: [], configs: [] } };
      await bot.begin();
      const { end } = await send(context, errand(context, bot.platform));
      const [lease] = await bot.takeLeases();
      await bot.report([completed(present(lease, 'a lease'), { exitCode: 0 })], { status: BotStatus.UNHEALTHY });
      assert.equal(responseOf(await end).result?.exitCode, 0);
    },
  ),
];

/** The Remote Workers API. */
export const botsCases = [...sessionCases, ...leaseCases, ...resultCases, ...machineCases];
