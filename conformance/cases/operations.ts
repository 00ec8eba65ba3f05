import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { ExecuteRequest, ExecutionDefinition } from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ListOperationsRequest,
  OperationsDefinition as Operations,
} from '../../src/gen/google/longrunning/operations.ts';
import { execute, prepareAction, responseIn, responseOf } from '../actions.ts';
import { freshName, storeBlobs } from '../blobs.ts';
import { type CaseContext, type ConformanceCase, conformanceCase, type Level } from '../case.ts';
import { expectEnd, expectFailure, present } from '../expect.ts';
import type { Feature } from '../profile.ts';

const { methods } = Operations;

/** The methods that a server may leave out, by the second part of a case's id. */
const FEATURE_OF: Readonly<Record<string, Feature>> = {
  delete: 'operationsDelete',
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
  const request = ExecuteRequest.fromPartial({ instanceName: context.profile.instance, actionDigest: prepared.digest });
  const { execute: method } = ExecutionDefinition.methods;
  const cut = await context.endpoint.stream(ExecutionDefinition, method, request, { takeMessages: 1 });
  return present(cut.messages[0], 'the first message').name;
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
      const names: string[] = [];
      let pageToken = '';
      do {
        const request = ListOperationsRequest.fromPartial({ name: context.profile.instance, pageSize: 50, pageToken });
        const page = await context.endpoint.unary(Operations, methods.listOperations, request);
        assert.ok(page.operations.length <= 50, 'a page is too long');
        names.push(...page.operations.map((operation) => operation.name));
        pageToken = page.nextPageToken;
      } while (pageToken !== '' && names.length < 10_000);
      assert.ok(names.includes(name), `${name} is not in the list`);
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
];
