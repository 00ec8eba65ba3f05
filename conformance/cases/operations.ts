import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import {
  type Digest,
  ExecuteRequest,
  type ExecuteResponse,
  ExecutionDefinition,
  ExecutionStage_Value,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ListOperationsRequest,
  type Operation,
  OperationsDefinition as Operations,
} from '../../src/gen/google/longrunning/operations.ts';
import { execute, metadataOf, prepareAction, responseIn, responseOf } from '../actions.ts';
import { freshName, storeBlobs } from '../blobs.ts';
import { type CaseContext, type ConformanceCase, conformanceCase, type Level } from '../case.ts';
import { expectEnd, expectFailure, present } from '../expect.ts';
import type { Feature } from '../profile.ts';

const { methods } = Operations;

/** The methods that a server may leave out, by the second part of a case's id. */
const FEATURE_OF: Readonly<Record<string, Feature>> = {
  delete: 'operationsDelete',
  filter: 'operationsFilter',
  list: 'operationsList',
  wait: 'operationsWait',
};

function operationsCase(
  head: readonly [id: string, level: Level, requirements: string, rule: string],
  test: (context: CaseContext) => Promise<void>,
): ConformanceCase {
  const [id, level, requirements, rule] = head;
  const subject = id.split('.')[1];
  const feature = FEATURE_OF[subject ?? ''] ?? 'operations';
  return conformanceCase({ id, level, requirements, rule, needs: ['execution', 'operations', feature] }, test);
}

async function finishedOperation(context: CaseContext): Promise<string> {
  const prepared = prepareAction(context, 'true');
  await storeBlobs(context, prepared.blobs);
  return present((await execute(context, prepared.digest)).messages.at(-1), 'an operation').name;
}

/** An operation that would take half a minute; its first stream is gone already. */
async function longOperation(context: CaseContext): Promise<string> {
  const prepared = prepareAction(context, 'sleep 30');
  await storeBlobs(context, prepared.blobs);
  return await begin(context, prepared.digest);
}

/** Executes what is stored and leaves the stream as soon as the operation has a name. */
async function begin(context: CaseContext, actionDigest: Digest): Promise<string> {
  const request = ExecuteRequest.fromPartial({ instanceName: context.profile.instance, actionDigest });
  const { execute: method } = ExecutionDefinition.methods;
  const cut = await context.endpoint.stream(ExecutionDefinition, method, request, { takeMessages: 1 });
  return present(cut.messages[0], 'the first message').name;
}

/** Two operations of one action that takes a second. */
async function twins(context: CaseContext): Promise<readonly [string, string]> {
  const prepared = prepareAction(context, 'sleep 1');
  await storeBlobs(context, prepared.blobs);
  return [await begin(context, prepared.digest), await begin(context, prepared.digest)];
}

/** The response of an operation that somebody else waits for, too. */
async function awaited(context: CaseContext, name: string): Promise<ExecuteResponse> {
  const { waitExecution } = ExecutionDefinition.methods;
  return responseOf(await context.endpoint.stream(ExecutionDefinition, waitExecution, { name }));
}

/** All operations of a list, page by page, but no more than are needed to find those `wanted`. */
async function listed(
  context: CaseContext,
  options: { readonly pageSize: number; readonly filter?: string; readonly wanted?: readonly string[] },
): Promise<readonly Operation[]> {
  const found: Operation[] = [];
  let pageToken = '';
  do {
    const { pageSize, filter = '' } = options;
    const request = ListOperationsRequest.fromPartial({ name: context.profile.instance, pageSize, pageToken, filter });
    const page = await context.endpoint.unary(Operations, methods.listOperations, request);
    assert.ok(page.operations.length <= pageSize, 'a page is too long');
    found.push(...page.operations);
    pageToken = page.nextPageToken;
    if (options.wanted?.every((name) => found.some((operation) => operation.name === name))) break;
  } while (pageToken !== '' && found.length < 10_000);
  return found;
}

/** google.longrunning.Operations as the Execution service uses it. */
export const operationsCases = [
  operationsCase(
    ['operations.get.finished', 'MUST', 'R-OP-01', 'A finished operation can be asked for, with its response.'],
    async (context) => {
      const name = await finishedOperation(context);
      const operation = await context.endpoint.unary(Operations, methods.getOperation, { name });
      assert.equal(operation.name, name);
      assert.equal(responseIn(operation).result?.exitCode, 0);
    },
  ),
  operationsCase(
    [
      'operations.get.state',
      'SHOULD',
      'R-OP-01 R-EX-27',
      'What is asked for has its stage and names its action, done or not.',
    ],
    async (context) => {
      const running = await longOperation(context);
      const before = await context.endpoint.unary(Operations, methods.getOperation, { name: running });
      await context.endpoint.unary(Operations, methods.cancelOperation, { name: running });
      assert.deepEqual([before.done, before.result], [false, undefined]);
      assert.notEqual(metadataOf(before).stage, ExecutionStage_Value.COMPLETED);
      present(metadataOf(before).actionDigest, 'the action digest');
      const name = await finishedOperation(context);
      const after = metadataOf(await context.endpoint.unary(Operations, methods.getOperation, { name }));
      assert.equal(after.stage, ExecutionStage_Value.COMPLETED);
      present(after.actionDigest, 'the action digest');
    },
  ),
  operationsCase(
    ['operations.get.unknown', 'MUST', 'R-OP-01', 'An operation that does not exist is NOT_FOUND.'],
    async (context) => {
      const call = context.endpoint.unary(Operations, methods.getOperation, { name: freshName() });
      await expectFailure(call, status.NOT_FOUND);
    },
  ),
  operationsCase(
    [
      'operations.cancel.running',
      'MUST',
      'R-OP-02 R-EX-02',
      'A cancelled run ends with CANCELLED in its response, and stays readable.',
    ],
    async (context) => {
      const name = await longOperation(context);
      await context.endpoint.unary(Operations, methods.cancelOperation, { name });
      const { waitExecution } = ExecutionDefinition.methods;
      const response = responseOf(await context.endpoint.stream(ExecutionDefinition, waitExecution, { name }));
      assert.equal(response.status?.code, status.CANCELLED);
      const operation = await context.endpoint.unary(Operations, methods.getOperation, { name });
      assert.equal(responseIn(operation).status?.code, status.CANCELLED);
    },
  ),
  operationsCase(
    ['operations.cancel.finished', 'SHOULD', 'R-OP-02', 'Cancelling what is finished changes nothing and succeeds.'],
    async (context) => {
      const name = await finishedOperation(context);
      await context.endpoint.unary(Operations, methods.cancelOperation, { name });
      const operation = await context.endpoint.unary(Operations, methods.getOperation, { name });
      assert.equal(responseIn(operation).status?.code ?? status.OK, status.OK);
    },
  ),
  operationsCase(
    [
      'operations.cancel.shared',
      'MUST',
      'R-OP-02 R-EX-16',
      'Cancelling one operation of an action leaves others of that action alone.',
    ],
    async (context) => {
      const [cancelled, other] = await twins(context);
      await context.endpoint.unary(Operations, methods.cancelOperation, { name: cancelled });
      assert.equal((await awaited(context, other)).result?.exitCode, 0);
    },
  ),
  operationsCase(
    ['operations.cancel.unknown', 'MUST', 'R-OP-02', 'Cancelling an operation that does not exist is NOT_FOUND.'],
    async (context) => {
      const call = context.endpoint.unary(Operations, methods.cancelOperation, { name: freshName() });
      await expectFailure(call, status.NOT_FOUND);
    },
  ),
  operationsCase(
    ['operations.list.contains', 'SHOULD', 'R-OP-03', 'The list, followed page by page, holds a finished operation.'],
    async (context) => {
      const name = await finishedOperation(context);
      const operations = await listed(context, { pageSize: 50, wanted: [name] });
      const found = present(
        operations.find((operation) => operation.name === name),
        'the operation in the list',
      );
      assert.equal(responseIn(found).result?.exitCode, 0);
    },
  ),
  operationsCase(
    ['operations.list.pages', 'SHOULD', 'R-OP-03', 'Pages are as long as asked at most, and no operation is in two.'],
    async (context) => {
      const wanted = [await finishedOperation(context), await finishedOperation(context)];
      const names = (await listed(context, { pageSize: 1, wanted })).map(({ name }) => name);
      assert.equal(new Set(names).size, names.length, 'an operation was listed twice');
      for (const name of wanted) assert.ok(names.includes(name), `${name} is not in the list`);
    },
  ),
  operationsCase(
    ['operations.list.negative-size', 'SHOULD', 'R-OP-03', 'A negative page size is refused.'],
    async (context) => {
      const request = ListOperationsRequest.fromPartial({ name: context.profile.instance, pageSize: -1 });
      await expectFailure(context.endpoint.unary(Operations, methods.listOperations, request), status.INVALID_ARGUMENT);
    },
  ),
  operationsCase(
    ['operations.list.bad-filter', 'SHOULD', 'R-OP-03', 'A filter that cannot be understood is refused, not ignored.'],
    async (context) => {
      const request = ListOperationsRequest.fromPartial({ name: context.profile.instance, filter: 'done = = (' });
      const call = context.endpoint.unary(Operations, methods.listOperations, request);
      await expectFailure(call, status.INVALID_ARGUMENT, status.UNIMPLEMENTED);
    },
  ),
  operationsCase(
    ['operations.list.bad-token', 'SHOULD', 'R-OP-03', 'A page token that the server never gave is refused.'],
    async (context) => {
      const { instance } = context.profile;
      const request = ListOperationsRequest.fromPartial({ name: instance, pageToken: '\u0001 never given' });
      await expectFailure(context.endpoint.unary(Operations, methods.listOperations, request), status.INVALID_ARGUMENT);
    },
  ),
  operationsCase(['operations.delete.forgets', 'MAY', 'R-OP-04', 'A deleted operation is gone.'], async (context) => {
    const name = await finishedOperation(context);
    await context.endpoint.unary(Operations, methods.deleteOperation, { name });
    const { waitExecution } = ExecutionDefinition.methods;
    expectEnd(await context.endpoint.stream(ExecutionDefinition, waitExecution, { name }), status.NOT_FOUND);
  }),
  operationsCase(
    [
      'operations.delete.no-cancel',
      'MAY',
      'R-OP-04',
      'Deleting a running operation does not end what others wait for.',
    ],
    async (context) => {
      const [deleted, other] = await twins(context);
      await context.endpoint.unary(Operations, methods.deleteOperation, { name: deleted });
      assert.equal((await awaited(context, other)).result?.exitCode, 0);
    },
  ),
  operationsCase(
    ['operations.delete.unknown', 'MAY', 'R-OP-04', 'Deleting an operation that does not exist is NOT_FOUND.'],
    async (context) => {
      const call = context.endpoint.unary(Operations, methods.deleteOperation, { name: freshName() });
      await expectFailure(call, status.NOT_FOUND);
    },
  ),
  operationsCase(
    ['operations.wait.finished', 'MAY', 'R-OP-05', 'Waiting for what is finished answers with its response.'],
    async (context) => {
      const name = await finishedOperation(context);
      const timeout = { seconds: 5n, nanos: 0 };
      const operation = await context.endpoint.unary(Operations, methods.waitOperation, { name, timeout });
      assert.equal(responseIn(operation).result?.exitCode, 0);
    },
  ),
  operationsCase(
    [
      'operations.wait.time-limit',
      'MAY',
      'R-OP-05',
      'Waiting for a long run ends at the time asked, with the operation as it is.',
    ],
    async (context) => {
      const name = await longOperation(context);
      const timeout = { seconds: 0n, nanos: 200_000_000 };
      const operation = await context.endpoint.unary(Operations, methods.waitOperation, { name, timeout });
      assert.equal(operation.done, false);
      await context.endpoint.unary(Operations, methods.cancelOperation, { name });
    },
  ),
  operationsCase(
    ['operations.wait.until-done', 'MAY', 'R-OP-05', 'Whoever waits again and again gets the response in the end.'],
    async (context) => {
      const [name] = await twins(context);
      const timeout = { seconds: 10n, nanos: 0 };
      let operation = await context.endpoint.unary(Operations, methods.waitOperation, { name, timeout });
      for (let times = 0; !operation.done && times < 100; times++) {
        operation = await context.endpoint.unary(Operations, methods.waitOperation, { name, timeout });
      }
      assert.equal(responseIn(operation).result?.exitCode, 0);
    },
  ),
  operationsCase(
    ['operations.wait.unknown', 'MAY', 'R-OP-05', 'Waiting for an operation that does not exist is NOT_FOUND.'],
    async (context) => {
      const call = context.endpoint.unary(Operations, methods.waitOperation, { name: freshName(), timeout: undefined });
      await expectFailure(call, status.NOT_FOUND);
    },
  ),
  operationsCase(
    ['operations.filter.done', 'MAY', 'R-OP-03', 'A list can be narrowed to what is done, or not done.'],
    async (context) => {
      const running = await longOperation(context);
      const finished = await finishedOperation(context);
      const done = await listed(context, { pageSize: 50, filter: 'done=true', wanted: [finished] });
      const others = await listed(context, { pageSize: 50, filter: 'NOT done=true', wanted: [running] });
      await context.endpoint.unary(Operations, methods.cancelOperation, { name: running });
      assert.ok(done.every((operation) => operation.done) && done.some(({ name }) => name === finished));
      assert.ok(others.every((operation) => !operation.done) && others.some(({ name }) => name === running));
    },
  ),
  operationsCase(
    ['operations.filter.action', 'MAY', 'R-OP-03', 'A list can be narrowed to one action, and further by its stage.'],
    async (context) => {
      const name = await finishedOperation(context);
      const operation = await context.endpoint.unary(Operations, methods.getOperation, { name });
      const { hash } = present(metadataOf(operation).actionDigest, 'the action digest');
      const names = async (filter: string) =>
        (await listed(context, { pageSize: 50, filter })).map((each) => each.name);
      assert.deepEqual(await names(`action="${hash}" AND (stage=COMPLETED OR stage=QUEUED)`), [name]);
      assert.deepEqual(await names(`action="${hash}" AND stage!=COMPLETED`), []);
    },
  ),
  operationsCase(
    [
      'operations.filter.token',
      'MAY',
      'R-OP-03',
      'A page token is refused with another filter than that it was given for.',
    ],
    async (context) => {
      await finishedOperation(context);
      await finishedOperation(context);
      const request = { name: context.profile.instance, pageSize: 1, filter: 'done=true' };
      const first = ListOperationsRequest.fromPartial(request);
      const { nextPageToken: pageToken } = await context.endpoint.unary(Operations, methods.listOperations, first);
      const second = ListOperationsRequest.fromPartial({ ...request, filter: 'done=false', pageToken });
      await expectFailure(context.endpoint.unary(Operations, methods.listOperations, second), status.INVALID_ARGUMENT);
    },
  ),
];
