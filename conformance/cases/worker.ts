import assert from 'node:assert/strict';
import { Metadata, status } from '@grpc/grpc-js';
import {
  Action,
  DigestFunction_Value,
  ExecuteResponse,
  ExecutionStage_Value,
  RequestMetadata,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { metadataOf, responseIn, responseOf, stdoutText } from '../actions.ts';
import { freshBlob, freshName } from '../blobs.ts';
import { type CaseContext, type ConformanceCase, conformanceCase, type Level } from '../case.ts';
import { begin, cancel, errand, send, until, wait } from '../errands.ts';
import { expectBytes, present } from '../expect.ts';
import type { Feature } from '../profile.ts';
import {
  completed,
  expectIdle,
  expectNextCall,
  expectOrders,
  IDLE,
  type Orders,
  running,
  SuiteWorker,
} from '../suite-worker.ts';
import { updateResult } from './action-cache.ts';

const METADATA_HEADER = 'build.bazel.remote.execution.v2.requestmetadata-bin';

/** A case of a server that serves Buildbarn's worker protocol. */
export function workerCase(
  head: readonly [id: string, level: Level, requirements: string, rule: string],
  test: (context: CaseContext) => Promise<void>,
  needs: readonly Feature[] = [],
): ConformanceCase {
  const [id, level, requirements, rule] = head;
  return conformanceCase({ id, level, requirements, rule, needs: ['workers', ...needs] }, test);
}

/** A response that no other case reports. */
export function freshResponse(exitCode = 0): ExecuteResponse {
  const result = { exitCode, stdoutRaw: Buffer.from(freshName()) };
  return ExecuteResponse.fromPartial({ result, status: { code: status.OK }, message: 'said by the worker' });
}

/** A worker that was given the work of a client. */
export async function busyWorker(context: CaseContext, parts: Parameters<typeof errand>[2] = {}) {
  const worker = await new SuiteWorker(context).register();
  const prepared = errand(context, worker.platform, parts);
  const { end } = await send(context, prepared);
  const { orders, response } = await worker.takeWork();
  const finish = async (): Promise<void> => {
    await worker.finish(prepared.digest, freshResponse());
    await end;
  };
  return { worker, prepared, digest: prepared.digest, end, orders, response, finish };
}

/** The orders that a worker of this prefix gets. */
async function ordersUnder(context: CaseContext, instanceNamePrefix: string): Promise<Orders> {
  const worker = await new SuiteWorker(context, { instanceNamePrefix }).register();
  const prepared = errand(context, worker.platform);
  const { end } = await send(context, prepared);
  const { orders } = await worker.takeWork();
  await worker.finish(prepared.digest, freshResponse());
  await end;
  return orders;
}

const leaseCases = [
  workerCase(
    [
      'worker.idle.nothing-to-do',
      'MUST',
      'R-BB-02 R-BB-03 R-BB-11',
      'An idle worker for which there is no work is told to be idle within two minutes, and to come back at once.',
    ],
    async (context) => {
      const startMs = Date.now();
      const response = await new SuiteWorker(context).say(IDLE);
      assert.ok(Date.now() - startMs < 130_000, 'the call took too long');
      expectIdle(response);
      expectNextCall(response, 0);
    },
  ),
  workerCase(
    [
      'worker.lease.whole-action',
      'MUST',
      'R-BB-04 R-BB-12 R-BB-13',
      'Work comes as digest, whole Action with a timeout, and digest function, each of them set.',
    ],
    async (context) => {
      const { orders, prepared, finish } = await busyWorker(context);
      assert.deepEqual(orders.actionDigest, prepared.digest);
      assert.equal(orders.digestFunction, DigestFunction_Value.SHA256);
      const action = present(orders.action, 'action');
      const timeout = present(action.timeout, 'action.timeout');
      assert.ok(timeout.seconds > 0n || timeout.nanos > 0, 'the timeout is zero');
      const encoded = Action.encode({ ...action, timeout: undefined }).finish();
      expectBytes(encoded, present(prepared.blobs[0], 'the Action').bytes);
      await finish();
    },
  ),
  workerCase(
    ['worker.lease.timeout-kept', 'MUST', 'R-BB-12', 'A timeout that the client chose is the one the worker is told.'],
    async (context) => {
      const timeout = { seconds: 77n, nanos: 500_000_000 };
      const { orders, finish } = await busyWorker(context, { action: { timeout } });
      assert.deepEqual(orders.action?.timeout, timeout);
      await finish();
    },
  ),
  workerCase(
    [
      'worker.lease.next-call',
      'MUST',
      'R-BB-04 R-BB-11 R-BB-28',
      'Work comes with the absolute time of the next report, less than a minute ahead.',
    ],
    async (context) => {
      const { response, finish } = await busyWorker(context);
      expectNextCall(response, 60);
      await finish();
    },
  ),
  workerCase(
    ['worker.lease.queued-time', 'SHOULD', 'R-BB-04', 'Work comes with the time at which it was queued.'],
    async (context) => {
      const { orders, finish } = await busyWorker(context);
      const queued = present(orders.queuedTimestamp, 'queued_timestamp');
      const agoS = Date.now() / 1000 - Number(queued.seconds);
      assert.ok(agoS > -10 && agoS < 120, `queued ${agoS.toFixed(1)} s ago`);
      await finish();
    },
  ),
  workerCase(
    [
      'worker.lease.suffix-whole',
      'MUST',
      'R-BB-14',
      'A worker without prefix is told the whole instance name of the client.',
    ],
    async (context) => {
      assert.equal((await ordersUnder(context, '')).instanceNameSuffix, context.profile.instance);
    },
  ),
  workerCase(
    [
      'worker.lease.suffix-empty',
      'MUST',
      'R-BB-14',
      'A worker whose prefix is the instance name of the client is told nothing more of it.',
    ],
    async (context) => {
      assert.equal((await ordersUnder(context, context.profile.instance)).instanceNameSuffix, '');
    },
  ),
  workerCase(
    ['worker.lease.metadata', 'MAY', 'R-BB-26', 'What the build tool says of itself is handed on to the worker.'],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const prepared = errand(context, worker.platform);
      const said = RequestMetadata.fromPartial({ toolInvocationId: freshName(), targetId: '//conformance' });
      const headers = new Metadata();
      headers.set(METADATA_HEADER, Buffer.from(RequestMetadata.encode(said).finish()));
      const { end } = await send(context, prepared, {}, headers);
      const { orders } = await worker.takeWork();
      await worker.finish(prepared.digest, freshResponse());
      await end;
      const heard = orders.auxiliaryMetadata.filter(({ typeUrl }) => typeUrl.endsWith('.RequestMetadata'));
      assert.deepEqual(
        heard.map(({ value }) => RequestMetadata.decode(value)),
        [said],
      );
    },
  ),
  workerCase(
    [
      'worker.lease.platform',
      'MUST',
      'R-BB-16',
      'Work goes to a worker that has the platform it asks for, and to no other.',
    ],
    async (context) => {
      const other = new SuiteWorker(context);
      const call = other.open(IDLE);
      const { finish } = await busyWorker(context);
      expectIdle(await other.say(IDLE, { preferBeingIdle: true }));
      await call.vanish();
      await finish();
    },
  ),
  workerCase(
    [
      'worker.cache-lookup',
      'SHOULD',
      'R-BB-27',
      'An action whose result is stored is answered from the cache without a worker.',
    ],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const prepared = errand(context, worker.platform);
      const { result } = freshResponse();
      await updateResult(context, prepared.digest, present(result, 'result'));
      const response = responseOf(await (await send(context, prepared)).end);
      assert.equal(response.cachedResult, true);
      const text = await stdoutText(context, present(response.result, 'result'));
      assert.equal(text, Buffer.from(result?.stdoutRaw ?? []).toString());
    },
    ['actionCacheUpdate'],
  ),
];

const reportCases = [
  workerCase(
    [
      'worker.report.expected',
      'MUST',
      'R-BB-05',
      'A worker that runs what it should is answered at once and told nothing.',
    ],
    async (context) => {
      const { worker, digest, finish } = await busyWorker(context);
      const startMs = Date.now();
      const response = await worker.say(running(digest));
      assert.ok(Date.now() - startMs < 5_000, 'the call was kept waiting');
      assert.equal(response.desiredState, undefined, 'desired_state is set');
      expectNextCall(response, 60);
      await finish();
    },
  ),
  workerCase(
    [
      'worker.report.nothing-assigned',
      'MUST',
      'R-BB-06',
      'A worker that runs what it should not is answered at once and, sooner or later, told to be idle.',
    ],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const { digest } = freshBlob();
      // Servers may leave alone, for a while after their start, what they do not know.
      await until(context, 'word that the worker should be idle', async () => {
        const startMs = Date.now();
        const response = await worker.say(running(digest));
        assert.ok(Date.now() - startMs < 5_000, 'the call was kept waiting');
        if (response.desiredState === undefined) return undefined;
        expectIdle(response);
        return true;
      });
    },
  ),
  workerCase(
    [
      'worker.report.other-than-assigned',
      'MUST',
      'R-BB-06',
      'A worker that runs something else than it was given is given its work again.',
    ],
    async (context) => {
      const { worker, digest, finish } = await busyWorker(context);
      expectOrders(await worker.say(running(freshBlob().digest)), digest);
      await finish();
    },
  ),
  workerCase(
    [
      'worker.report.lost-answer',
      'MUST',
      'R-BB-09',
      'A worker that is idle though it was given work is given it again.',
    ],
    async (context) => {
      const { worker, digest, finish } = await busyWorker(context);
      expectOrders(await worker.say(IDLE), digest);
      expectOrders(await worker.say(IDLE), digest);
      await finish();
    },
  ),
  workerCase(
    [
      'worker.report.never-taken',
      'SHOULD',
      'R-BB-09',
      'Work that a worker does not take, however often it is sent, ends as an error: it may be what kills the worker.',
    ],
    async (context) => {
      const { worker, end } = await busyWorker(context);
      for (let call = 0; call < 15; call += 1) await worker.say(IDLE, { preferBeingIdle: true });
      const response = responseOf(await end);
      assert.equal(response.status?.code, status.INTERNAL, response.status?.message);
    },
  ),
  workerCase(
    [
      'worker.result.to-client',
      'MUST',
      'R-BB-07',
      'The client gets what the worker reported: result, status and message.',
    ],
    async (context) => {
      const { worker, digest, end } = await busyWorker(context);
      const reported = freshResponse(5);
      expectIdle(await worker.finish(digest, reported));
      const { result, message, status: code, cachedResult } = responseOf(await end);
      assert.deepEqual(
        { ...result, executionMetadata: undefined },
        { ...reported.result, executionMetadata: undefined },
      );
      assert.deepEqual([message, code?.code ?? status.OK, cachedResult], [reported.message, status.OK, false]);
    },
  ),
  workerCase(
    [
      'worker.result.timeout',
      'MUST',
      'R-BB-07 R-EX-21',
      'That an action took too long reaches the client as it was said.',
    ],
    async (context) => {
      const { worker, digest, end } = await busyWorker(context);
      const late = { code: status.DEADLINE_EXCEEDED, message: 'took too long' };
      await worker.finish(digest, ExecuteResponse.fromPartial({ ...freshResponse(), status: late }));
      const response = responseOf(await end);
      assert.equal(response.status?.code, status.DEADLINE_EXCEEDED);
      assert.ok(response.result !== undefined, 'what it printed is lost');
    },
  ),
  workerCase(
    ['worker.result.next-work', 'MUST', 'R-BB-07', 'The answer to a result is the next work, if there is some.'],
    async (context) => {
      const { worker, digest, end } = await busyWorker(context);
      const next = errand(context, worker.platform);
      const second = await send(context, next);
      const response = await worker.say(completed(digest, freshResponse()));
      const state = response.desiredState?.workerState;
      // It may still be on its way to the queue.
      const orders = state?.$case === 'executing' ? state.value : (await worker.takeWork()).orders;
      assert.deepEqual(orders.actionDigest, next.digest);
      await worker.finish(next.digest, freshResponse());
      await Promise.all([end, second.end]);
    },
  ),
  workerCase(
    [
      'worker.result.unexpected',
      'MUST',
      'R-BB-08',
      'A result of something else than was given is thrown away, and the work is given again.',
    ],
    async (context) => {
      const { worker, digest, end } = await busyWorker(context);
      expectOrders(await worker.say(completed(freshBlob().digest, freshResponse())), digest);
      const reported = freshResponse();
      await worker.finish(digest, reported);
      assert.deepEqual(responseOf(await end).result?.stdoutRaw, reported.result?.stdoutRaw);
    },
  ),
  workerCase(
    [
      'worker.prefers-idle.no-work',
      'MUST',
      'R-BB-10',
      'A worker that prefers to be idle is answered at once and gets nothing new.',
    ],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const name = await begin(context, errand(context, worker.platform));
      const startMs = Date.now();
      expectIdle(await worker.say(IDLE, { preferBeingIdle: true }));
      assert.ok(Date.now() - startMs < 5_000, 'the call was kept waiting');
      const { orders } = await worker.takeWork();
      await worker.finish(present(orders.actionDigest, 'action_digest'), freshResponse());
      await wait(context, name);
    },
  ),
  workerCase(
    [
      'worker.prefers-idle.assigned',
      'MUST',
      'R-BB-10',
      'A worker that prefers to be idle is still given again what it was given before.',
    ],
    async (context) => {
      const { worker, digest, finish } = await busyWorker(context);
      expectOrders(await worker.say(IDLE, { preferBeingIdle: true }), digest);
      await finish();
    },
  ),
  workerCase(
    [
      'worker.stages',
      'MUST',
      'R-BB-24 R-EX-03',
      'The client sees its action queued while no worker has it, then executing.',
    ],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const prepared = errand(context, worker.platform);
      const name = await begin(context, prepared);
      const rest = wait(context, name);
      const { orders } = await worker.takeWork();
      assert.deepEqual(orders.actionDigest, prepared.digest);
      await worker.say(running(prepared.digest));
      await worker.finish(prepared.digest, freshResponse());
      const { messages } = await rest;
      const stages = messages.map((operation) => metadataOf(operation).stage);
      const { EXECUTING, COMPLETED } = ExecutionStage_Value;
      assert.ok(stages.includes(EXECUTING), `never executing: ${stages.join(', ')}`);
      assert.equal(stages.at(-1), COMPLETED);
      assert.deepEqual(stages, stages.toSorted(), 'a stage was gone back to');
    },
  ),
  workerCase(
    [
      'worker.cancel',
      'MUST',
      'R-BB-25',
      'A worker whose action nobody wants any more is told to be idle with its next report.',
    ],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const prepared = errand(context, worker.platform);
      const name = await begin(context, prepared);
      await worker.takeWork();
      await worker.say(running(prepared.digest));
      await cancel(context, name);
      expectIdle(await worker.say(running(prepared.digest)));
      const response = responseIn(present((await wait(context, name)).messages.at(-1), 'the last operation'));
      assert.equal(response.status?.code, status.CANCELLED);
    },
    ['operations'],
  ),
];

/** Buildbarn's worker protocol, as long as worker and client do what they should. */
export const workerCases = [...leaseCases, ...reportCases];
