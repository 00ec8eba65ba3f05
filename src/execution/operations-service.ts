import { type Authorizer, demand, type Permission } from '../auth/authorizer.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestFunctionToWire } from '../digest/digest-function.ts';
import { ReapiError } from '../errors.ts';
import {
  ExecuteOperationMetadata,
  ExecutionStage_Value,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Operation, OperationsDefinition } from '../gen/google/longrunning/operations.ts';
import { packAny } from '../rpc/any.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, unary } from '../rpc/methods.ts';
import type { Clock } from '../system/clock.ts';
import type { Executions } from './executions.ts';
import type { OperationState, Operations, Stage } from './operations.ts';

/** What the service works with. */
export interface OperationsServiceParts {
  readonly operations: Operations;
  readonly executions: Executions;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  /** Aborts when the server begins to stop: whoever waits is told UNAVAILABLE at once (R-XC-11). */
  readonly stopping: AbortSignal;
}

/** Most operations in one page of a list, and the default. */
export const MAX_PAGE_SIZE = 1000;

const WIRE_STAGE: Readonly<Record<Stage, ExecutionStage_Value>> = {
  'cache-check': ExecutionStage_Value.CACHE_CHECK,
  queued: ExecutionStage_Value.QUEUED,
  executing: ExecutionStage_Value.EXECUTING,
  completed: ExecutionStage_Value.COMPLETED,
};

/** The message clients get for a state: `error` is never set (R-EX-02), digest and function always are (R-EX-27). */
export function operationMessage(state: OperationState): Operation {
  const { key, createdAtMs } = state;
  const seconds = Math.floor(createdAtMs / 1000);
  const metadata = ExecuteOperationMetadata.fromPartial({
    stage: WIRE_STAGE[state.stage],
    actionDigest: digestToWire(key.action),
    digestFunction: digestFunctionToWire(key.action.function),
    partialExecutionMetadata: {
      queuedTimestamp: { seconds: BigInt(seconds), nanos: Math.round((createdAtMs - seconds * 1000) * 1e6) },
    },
  });
  const fullName = 'build.bazel.remote.execution.v2';
  return {
    name: state.name,
    metadata: packAny(`${fullName}.ExecuteOperationMetadata`, ExecuteOperationMetadata.encode(metadata).finish()),
    done: state.response !== undefined,
    result: state.response && {
      $case: 'response',
      value: packAny(`${fullName}.ExecuteResponse`, state.response),
    },
  };
}

/** `google.longrunning.Operations`: Get, List, Cancel, Delete, Wait (R-OP-01 … R-OP-06). */
export function operationsMethods(parts: OperationsServiceParts): Method[] {
  const { operations, executions, clock, stopping } = parts;
  const { methods } = OperationsDefinition;
  const find = async (name: string, call: Call, what: Permission = 'execute'): Promise<OperationState> => {
    if (name === '') throw new ReapiError('invalid-argument', 'the name is empty', { field: 'name' });
    const state = operations.get(name);
    await demand(parts.authorizer, call.principal, what, state.key.instance);
    return state;
  };
  return [
    unary(OperationsDefinition, methods.getOperation, async (request, call) =>
      operationMessage(await find(request.name, call)),
    ),
    unary(OperationsDefinition, methods.cancelOperation, async (request, call) => {
      executions.cancel((await find(request.name, call)).name);
      return {};
    }),
    unary(OperationsDefinition, methods.deleteOperation, async (request, call) => {
      operations.delete((await find(request.name, call)).name);
      return {};
    }),
    unary(OperationsDefinition, methods.waitOperation, async (request, call) => {
      const state = await find(request.name, call);
      const { timeout } = request;
      const timeoutMs = timeout === undefined ? undefined : Number(timeout.seconds) * 1000 + timeout.nanos / 1e6;
      const signal = AbortSignal.any([call.signal, stopping]);
      return operationMessage(await waitUntilDone(operations, clock, state.name, { timeoutMs, signal }));
    }),
    unary(OperationsDefinition, methods.listOperations, async (request, call) => {
      if (request.returnPartialSuccess) {
        throw new ReapiError('unimplemented', 'return_partial_success is not supported');
      }
      return list(parts, request, call);
    }),
  ];
}

interface WaitLimits {
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

/** The state when it is done, or the state when `timeoutMs` has passed (R-OP-05). */
async function waitUntilDone(
  operations: Operations,
  clock: Clock,
  name: string,
  limits: WaitLimits,
): Promise<OperationState> {
  const timeUp = new AbortController();
  const { timeoutMs, signal } = limits;
  const timer =
    timeoutMs === undefined ? undefined : clock.wakeAt(clock.monotonicMs() + timeoutMs, () => timeUp.abort());
  try {
    for await (const state of operations.watch(name, AbortSignal.any([signal, timeUp.signal]))) {
      if (state.stage === 'completed') return state;
    }
  } catch (error) {
    if (!timeUp.signal.aborted) throw error;
  } finally {
    timer?.cancel();
  }
  return operations.get(name);
}

async function list(
  parts: OperationsServiceParts,
  request: { readonly name: string; readonly pageSize: number; readonly pageToken: string; readonly filter: string },
  call: Call,
): Promise<{ operations: Operation[]; nextPageToken: string; unreachable: string[] }> {
  if (request.filter !== '') throw new ReapiError('unimplemented', 'filters are not supported', { field: 'filter' });
  if (request.pageSize < 0) throw new ReapiError('invalid-argument', 'page_size is negative', { field: 'page_size' });
  const pageSize = Math.min(request.pageSize === 0 ? MAX_PAGE_SIZE : request.pageSize, MAX_PAGE_SIZE);
  const page: Operation[] = [];
  let isPast = request.pageToken === '';
  let last = '';
  for (const state of parts.operations.list()) {
    if (!isPast) {
      isPast = state.name === request.pageToken;
      continue;
    }
    if (!isBelow(state, request.name)) continue;
    if (!(await parts.authorizer.allows(call.principal, 'execute', state.key.instance))) continue;
    if (page.length === pageSize) return { operations: page, nextPageToken: last, unreachable: [] };
    page.push(operationMessage(state));
    last = state.name;
  }
  if (!isPast) {
    throw new ReapiError('invalid-argument', 'the page token is unknown or has expired', { field: 'page_token' });
  }
  return { operations: page, nextPageToken: '', unreachable: [] };
}

/** `name` is a collection: an instance name, optionally followed by `/operations`; empty means every instance. */
function isBelow(state: OperationState, name: string): boolean {
  if (name === '' || name === 'operations') return true;
  const instance = name.endsWith('/operations') ? name.slice(0, -'/operations'.length) : name;
  return state.key.instance === instance;
}
