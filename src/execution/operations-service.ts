import { type Authorizer, demand } from '../auth/authorizer.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestFunctionToWire } from '../digest/digest-function.ts';
import type { InstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import {
  ExecutedActionMetadata,
  ExecuteOperationMetadata,
  ExecutionStage_Value,
  RequestMetadata,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { OperationAttempts } from '../gen/gantry/v1/operation_record.ts';
import {
  type ListOperationsRequest,
  type ListOperationsResponse,
  type Operation,
  OperationsDefinition,
} from '../gen/google/longrunning/operations.ts';
import type { Any } from '../gen/google/protobuf/any.ts';
import { packAny } from '../rpc/any.ts';
import type { Call } from '../rpc/call.ts';
import { type Method, unary } from '../rpc/methods.ts';
import type { Clock } from '../system/clock.ts';
import type { Executions } from './executions.ts';
import { instanceOfCollection, listOperations } from './operations/list-operations.ts';
import { attemptToWire, requestMetadataOf } from './operations/operation-record.ts';
import { NO_IDS } from './operations/request-ids.ts';
import { millisecondsOf, timestampOf } from './operations/wire-times.ts';
import type { OperationState, Operations, Stage } from './operations.ts';

/** What the service works with. */
export interface OperationsServiceParts {
  readonly operations: Operations;
  readonly executions: Pick<Executions, 'cancel'>;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  /** Aborts when the server begins to stop: whoever waits is told UNAVAILABLE at once (R-XC-11). */
  readonly stopping: AbortSignal;
}

const WIRE_STAGE: Readonly<Record<Stage, ExecutionStage_Value>> = {
  'cache-check': ExecutionStage_Value.CACHE_CHECK,
  queued: ExecutionStage_Value.QUEUED,
  executing: ExecutionStage_Value.EXECUTING,
  completed: ExecutionStage_Value.COMPLETED,
};

/** So much of a call's time may pass before WaitOperation answers: the rest is for the way back. */
const SHARE_OF_DEADLINE = 0.9;

const EXECUTION = 'build.bazel.remote.execution.v2';

/**
 * The message clients get for a state: `error` is never set (R-EX-02), digest and function always are (R-EX-27).
 * @param detail `full` adds the attempts and what the build tool said, which whoever follows an Execute has no use for.
 */
export function operationMessage(state: OperationState, detail: 'stream' | 'full' = 'stream'): Operation {
  const { key } = state;
  const metadata = ExecuteOperationMetadata.fromPartial({
    stage: WIRE_STAGE[state.stage],
    actionDigest: digestToWire(key.action),
    digestFunction: digestFunctionToWire(key.action.function),
    partialExecutionMetadata: partialMetadata(state, detail),
  });
  return {
    name: state.name,
    metadata: packAny(`${EXECUTION}.ExecuteOperationMetadata`, ExecuteOperationMetadata.encode(metadata).finish()),
    done: state.response !== undefined,
    result: state.response && { $case: 'response', value: packAny(`${EXECUTION}.ExecuteResponse`, state.response) },
  };
}

/** What is known so far (R-EX-29). What stands there of an attempt that was lost would mislead: it is left out while the action is queued again. */
function partialMetadata(state: OperationState, detail: 'stream' | 'full'): ExecutedActionMetadata {
  const { slot, startedAtMs, stage } = state;
  const hasWorker = stage === 'executing' || stage === 'completed';
  return ExecutedActionMetadata.fromPartial({
    queuedTimestamp: timestampOf(state.createdAtMs),
    ...(hasWorker && slot !== undefined && { worker: slot }),
    ...(hasWorker && startedAtMs !== undefined && { workerStartTimestamp: timestampOf(startedAtMs) }),
    ...(detail === 'full' && { auxiliaryMetadata: auxiliaryMetadata(state) }),
  });
}

function auxiliaryMetadata({ ids, attempts }: OperationState): Any[] {
  const packed: Any[] = [];
  if (ids !== NO_IDS) {
    packed.push(packAny(`${EXECUTION}.RequestMetadata`, RequestMetadata.encode(requestMetadataOf(ids)).finish()));
  }
  if (attempts.length > 0) {
    const message = OperationAttempts.fromPartial({ attempts: attempts.map(attemptToWire) });
    packed.push(packAny('gantry.v1.OperationAttempts', OperationAttempts.encode(message).finish()));
  }
  return packed;
}

/** `google.longrunning.Operations`: Get, List, Cancel, Delete, Wait (R-OP-01 … R-OP-06). */
export function operationsMethods(parts: OperationsServiceParts): Method[] {
  const { operations, executions, clock, stopping } = parts;
  const { methods } = OperationsDefinition;
  const find = async (name: string, call: Call): Promise<OperationState> => {
    if (name === '') throw new ReapiError('invalid-argument', 'the name is empty', { field: 'name' });
    const state = await operations.find(name, call.signal);
    await demand(parts.authorizer, call.principal, 'execute', state.key.instance);
    return state;
  };
  return [
    unary(OperationsDefinition, methods.getOperation, async (request, call) =>
      operationMessage(await find(request.name, call), 'full'),
    ),
    unary(OperationsDefinition, methods.cancelOperation, async (request, call) => {
      const { name, stage } = await find(request.name, call);
      if (stage !== 'completed') executions.cancel(name);
      return {};
    }),
    unary(OperationsDefinition, methods.deleteOperation, async (request, call) => {
      await operations.delete((await find(request.name, call)).name, call.signal);
      return {};
    }),
    unary(OperationsDefinition, methods.waitOperation, async (request, call) => {
      const state = await find(request.name, call);
      const askedMs = request.timeout === undefined ? Number.POSITIVE_INFINITY : millisecondsOf(request.timeout);
      const leftMs = (call.deadlineMs ?? Number.POSITIVE_INFINITY) - clock.nowMs();
      const timeoutMs = Math.min(askedMs, SHARE_OF_DEADLINE * leftMs);
      if (state.stage === 'completed' || timeoutMs <= 0) return operationMessage(state, 'full');
      const signal = AbortSignal.any([call.signal, stopping]);
      return operationMessage(await waitUntilDone(operations, clock, state.name, { timeoutMs, signal }), 'full');
    }),
    unary(OperationsDefinition, methods.listOperations, (request, call) => list(parts, request, call)),
  ];
}

async function list(
  { operations, authorizer }: OperationsServiceParts,
  request: ListOperationsRequest,
  call: Call,
): Promise<ListOperationsResponse> {
  if (request.returnPartialSuccess) throw new ReapiError('unimplemented', 'return_partial_success is not supported');
  const instance = instanceOfCollection(request.name);
  if (instance !== undefined) await demand(authorizer, call.principal, 'execute', instance);
  const mayBeSeen = (of: InstanceName): Promise<boolean> => authorizer.allows(call.principal, 'execute', of);
  const page = await listOperations(operations, request, mayBeSeen, call.signal);
  return {
    operations: page.operations.map((state) => operationMessage(state, 'full')),
    nextPageToken: page.nextPageToken,
    unreachable: [],
  };
}

interface WaitLimits {
  /** May be infinite. */
  readonly timeoutMs: number;
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
  const timer = Number.isFinite(timeoutMs)
    ? clock.wakeAt(clock.monotonicMs() + timeoutMs, () => timeUp.abort())
    : undefined;
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
