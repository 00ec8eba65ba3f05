import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { DeepPartial } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  AddOrRemoveDrainRequest,
  BuildQueueStateDefinition,
  ListDrainsRequest,
  ListWorkersRequest,
  type SizeClassQueueName,
} from '../../src/gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import {
  OperationQueueDefinition,
  type SynchronizeRequest,
  SynchronizeResponse,
} from '../../src/gen/pkg/proto/remoteworker/remoteworker.ts';

import type { CaseContext } from '../case.ts';
import { CallFailed } from '../endpoint.ts';
import { errand, send, until } from '../errands.ts';
import { expectFailure, present } from '../expect.ts';
import {
  completed,
  expectIdle,
  expectNextCall,
  expectOrders,
  IDLE,
  ordersIn,
  running,
  SuiteWorker,
} from '../suite-worker.ts';
import { busyWorker, freshResponse, workerCase } from './worker.ts';

const { INVALID_ARGUMENT, OK, RESOURCE_EXHAUSTED } = status;

/** Requests that must be refused: [case, what is wrong, what is said of the worker]. */
const BAD_REQUESTS: readonly (readonly [string, string, DeepPartial<SynchronizeRequest>])[] = [
  ['no-state', 'without a state', {}],
  ['unknown-state', 'with a state that says nothing', { currentState: {} }],
  [
    'no-digest',
    'of a worker that runs something without a digest',
    {
      currentState: {
        workerState: { $case: 'executing', value: { executionState: { $case: 'running', value: {} } } },
      },
    },
  ],
  [
    'bad-digest',
    'of a worker that runs something with a malformed digest',
    {
      currentState: {
        workerState: {
          $case: 'executing',
          value: { actionDigest: { hash: 'nonsense', sizeBytes: 7n }, executionState: { $case: 'running', value: {} } },
        },
      },
    },
  ],
];

const requestCases = BAD_REQUESTS.map(([name, what, fields]) =>
  workerCase([`worker.request.${name}`, 'SHOULD', 'R-BB-19', `A request ${what} is refused.`], async (context) => {
    await expectFailure(new SuiteWorker(context).say(undefined, fields), INVALID_ARGUMENT);
  }),
);

const identityCases = [
  workerCase(
    [
      'worker.identity.unsorted-platform',
      'MAY',
      'R-BB-17',
      'A platform out of order is refused, or it is the same as in order.',
    ],
    async (context) => {
      const worker = new SuiteWorker(context);
      const backwards = { platform: { properties: [...worker.platform, { name: 'ISA', value: 'x86-64' }].reverse() } };
      try {
        expectIdle(await worker.say(IDLE, { ...backwards, preferBeingIdle: true }));
      } catch (error) {
        if (error instanceof CallFailed && error.end.code === INVALID_ARGUMENT) return;
        throw error;
      }
      const prepared = errand(context, [...worker.platform, { name: 'ISA', value: 'x86-64' }]);
      const { end } = await send(context, prepared);
      const given = await until(context, 'work', async () => {
        const { desiredState } = await worker.say(IDLE, backwards);
        return desiredState?.workerState?.$case === 'executing' ? desiredState.workerState.value : undefined;
      });
      assert.deepEqual(given.actionDigest, prepared.digest);
      await worker.say(completed(prepared.digest, freshResponse()), { ...backwards, preferBeingIdle: true });
      await end;
    },
  ),
  workerCase(
    ['worker.identity.threads', 'MUST', 'R-BB-01', 'Threads of one worker are told apart: each gets work of its own.'],
    async (context) => {
      const one = await new SuiteWorker(context).register();
      const other = await new SuiteWorker(context, { workerId: { ...one.id, thread: '1' } }, one).register();
      const actions = [errand(context, one.platform), errand(context, one.platform)];
      const ends = await Promise.all(actions.map((action) => send(context, action)));
      const given = [(await one.takeWork()).orders, (await other.takeWork()).orders];
      const digests = given.map(({ actionDigest }) => present(actionDigest, 'action_digest'));
      assert.deepEqual(new Set(digests.map(({ hash }) => hash)), new Set(actions.map(({ digest }) => digest.hash)));
      for (const [index, worker] of [one, other].entries()) {
        await worker.finish(present(digests[index], 'a digest'), freshResponse());
      }
      await Promise.all(ends.map(({ end }) => end));
    },
  ),
  workerCase(
    [
      'worker.identity.twice',
      'SHOULD',
      'R-BB-18',
      'Of two calls of one worker at a time one ends, and the worker gets work afterwards.',
    ],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const older = worker.open(IDLE);
      const newer = worker.open(IDLE);
      const { end, messages } = await Promise.race([older.answers, newer.answers]);
      assert.ok(end.code === RESOURCE_EXHAUSTED || end.code === OK, `ended with ${end.code}`);
      for (const response of messages) expectIdle(response);
      await Promise.all([older.vanish(), newer.vanish()]);
      await until(context, 'call after two at a time', () => tryToRegister(worker));
      const prepared = errand(context, worker.platform);
      const { end: done } = await send(context, prepared);
      const { orders } = await worker.takeWork();
      assert.deepEqual(orders.actionDigest, prepared.digest);
      await worker.finish(prepared.digest, freshResponse());
      await done;
    },
  ),
  workerCase(
    [
      'worker.identity.longest-prefix',
      'MUST',
      'R-BB-15',
      'Work goes to the workers whose prefix is the longest that the instance name has.',
    ],
    async (context) => {
      const { instance } = context.profile;
      if (instance === '') return;
      const everywhere = await new SuiteWorker(context).register();
      const near = await new SuiteWorker(context, { instanceNamePrefix: instance }, everywhere).register();
      const calls = [everywhere.open(IDLE), near.open(IDLE)];
      const prepared = errand(context, near.platform);
      const { end } = await send(context, prepared);
      const given = await until(context, 'work for either of them', async () => {
        const { messages } = await Promise.race(calls.map(({ answers }) => answers));
        return messages[0];
      });
      const { orders } = await near.takeWork();
      assert.deepEqual([ordersIn(given).actionDigest, orders.actionDigest], [prepared.digest, prepared.digest]);
      await near.finish(prepared.digest, freshResponse());
      await Promise.all([end, ...calls.map((call) => call.vanish())]);
    },
  ),
];

/** A newer call may be refused for as long as the server has not noticed the end of the older one. */
async function tryToRegister(worker: SuiteWorker) {
  try {
    return await worker.register();
  } catch (error) {
    if (error instanceof CallFailed && error.end.code === RESOURCE_EXHAUSTED) return undefined;
    throw error;
  }
}

function queueOf(worker: SuiteWorker): SizeClassQueueName {
  const platform = { properties: [...worker.platform] };
  return { platformQueueName: { instanceNamePrefix: '', platform }, sizeClass: 0 };
}

async function drain(context: CaseContext, worker: SuiteWorker, on: boolean): Promise<void> {
  const { addDrain, removeDrain } = BuildQueueStateDefinition.methods;
  const { hostname = '' } = worker.id;
  const request = AddOrRemoveDrainRequest.fromPartial({
    sizeClassQueueName: queueOf(worker),
    workerIdPattern: { hostname },
  });
  await context.endpoint.unary(BuildQueueStateDefinition, on ? addDrain : removeDrain, request);
}

const drainCases = [
  workerCase(
    [
      'worker.drain.no-work',
      'MAY',
      'R-BB-30',
      'A drained worker gets nothing new until the drain is taken back; the drain is listed meanwhile.',
    ],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      await drain(context, worker, true);
      const { listDrains } = BuildQueueStateDefinition.methods;
      const asked = ListDrainsRequest.fromPartial({ sizeClassQueueName: queueOf(worker) });
      const { drains } = await context.endpoint.unary(BuildQueueStateDefinition, listDrains, asked);
      assert.deepEqual(
        drains.map(({ workerIdPattern }) => workerIdPattern),
        [{ hostname: worker.id['hostname'] }],
      );
      const prepared = errand(context, worker.platform);
      const { end } = await send(context, prepared);
      const call = worker.open(IDLE);
      const early = await Promise.race([call.answers, sleep(500)]);
      for (const response of early?.messages ?? []) expectIdle(response);
      await drain(context, worker, false);
      const { orders } = await worker.takeWork();
      await call.vanish();
      assert.deepEqual(orders.actionDigest, prepared.digest);
      await worker.finish(prepared.digest, freshResponse());
      await end;
    },
    ['drains'],
  ),
  workerCase(
    ['worker.drain.finishes', 'MAY', 'R-BB-30', 'A drained worker goes on with what it has.'],
    async (context) => {
      const { worker, digest, end } = await busyWorker(context);
      await drain(context, worker, true);
      const response = await worker.say(running(digest));
      assert.equal(response.desiredState, undefined, 'desired_state is set');
      await worker.finish(digest, freshResponse());
      await end;
      await drain(context, worker, false);
    },
    ['drains'],
  ),
  workerCase(
    ['worker.list', 'MAY', 'R-BB-30', 'A worker is listed among those of its platform.'],
    async (context) => {
      const worker = await new SuiteWorker(context).register();
      const request = ListWorkersRequest.fromPartial({
        filter: { type: { $case: 'all', value: queueOf(worker) } },
        pageSize: 10,
      });
      const { listWorkers } = BuildQueueStateDefinition.methods;
      const { workers } = await context.endpoint.unary(BuildQueueStateDefinition, listWorkers, request);
      assert.deepEqual(
        workers.map(({ id }) => id),
        [worker.id],
      );
    },
    ['drains'],
  ),
];

const BYTES = {
  encode: (bytes: Uint8Array) => ({ finish: () => bytes }),
  decode: (bytes: Uint8Array) => Uint8Array.from(bytes),
};
const RAW = { name: 'Synchronize', requestType: BYTES, responseType: BYTES };

/** Requests as Buildbarn's own generated code wrote them, in hex: [case, what the worker says, bytes]. */
const GOLDEN: readonly (readonly [string, string, string])[] = [
  [
    'running',
    'a worker that runs an action',
    '0a0b0a067468726561641201301a220a0d0a0349534112067838362d36340a110a084f5346616d696c7912056c696e75' +
      '78224a12480a440a40653362306334343239386663316331343961666266346338393936666239323432376165343165' +
      '3436343962393334636134393539393162373835326238353510072200',
  ],
  [
    'completed',
    'a worker that is done with an action',
    '0a0b0a067468726561641201301a220a0d0a0349534112067838362d36340a110a084f5346616d696c7912056c696e75' +
      '782251124f0a440a40653362306334343239386663316331343961666266346338393936666239323432376165343165' +
      '34363439623933346361343935393931623738353262383535100732070a0220052a016d' +
      // prefer_being_idle, so that the answer comes at once.
      '3001',
  ],
];

const wireCases = [
  ...GOLDEN.map(([name, what, hex]) =>
    workerCase(
      [`worker.wire.${name}`, 'MUST', 'R-BB-08 R-BB-11', `The bytes of Buildbarn for ${what} are understood.`],
      async (context) => {
        const bytes = await context.endpoint.unary(OperationQueueDefinition, RAW, Buffer.from(hex, 'hex'));
        const response = SynchronizeResponse.decode(bytes);
        expectNextCall(response, 60);
        assert.notEqual(response.desiredState?.workerState?.$case, 'executing');
      },
    ),
  ),
  workerCase(
    [
      'worker.wire.canonical',
      'SHOULD',
      'R-BB-04',
      'Orders have their fields in the order of their numbers, each once, and nothing that the schema does not have.',
    ],
    async (context) => {
      const { worker, digest, finish } = await busyWorker(context);
      const request = OperationQueueDefinition.methods.synchronize.requestType.encode(worker.request(IDLE)).finish();
      const bytes = await context.endpoint.unary(OperationQueueDefinition, RAW, request);
      const response = SynchronizeResponse.decode(bytes);
      expectOrders(response, digest);
      const again = Buffer.from(SynchronizeResponse.encode(response).finish());
      assert.equal(Buffer.from(bytes).toString('hex'), again.toString('hex'));
      await finish();
    },
  ),
];

/** Buildbarn's worker protocol when something is unusual. */
export const workerTroubleCases = [...requestCases, ...identityCases, ...drainCases, ...wireCases];
