import type { ActionKey } from '../../digest/action-key.ts';
import { digestToWire } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { ExecuteResponse } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { OperationState } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { ExecutionWork } from '../execution-work.ts';
import type { TaskView } from '../scheduler/view.ts';
import type { InvocationId, InvocationIds } from './invocation-id.ts';
import { platformQueueToWire, queueToWire, suffixOf } from './queue-name.ts';
import type { Queues } from './queues.ts';
import { toWire, type WireClock } from './wire-clock.ts';

/** An operation that is over, within its retention. */
export interface FinishedOperation {
  readonly name: string;
  readonly key: ActionKey;
  /** Wall time. */
  readonly createdAtMs: number;
  readonly priority: number;
  /** From the client's request metadata; empty where it said nothing. */
  readonly ids: { readonly invocation: string; readonly correlated: string; readonly target: string };
  /** An encoded ExecuteResponse. */
  readonly response?: Uint8Array;
}

/** What operations are told with. */
interface OperationContext {
  readonly queues: Queues;
  readonly ids: InvocationIds;
  readonly clock: WireClock;
}

/** One operation of an unfinished task. */
export function operationOfTask(
  name: string,
  task: TaskView<ExecutionWork>,
  context: OperationContext,
): OperationState {
  const { queues, ids, clock } = context;
  const queue = queues.ofTask(task).name;
  return OperationState.fromPartial({
    name,
    invocationName: { sizeClassQueueName: queueToWire(queue), ids: anysOf(ids.of(task.shares)) },
    queuedTimestamp: clock.timestamp(task.queuedAtMs),
    stage: task.state === 'queued' ? { $case: 'queued', value: {} } : { $case: 'executing', value: {} },
    targetId: task.work?.requestMetadata?.targetId ?? '',
    priority: task.priority,
    instanceNameSuffix: suffixOf(task.key.instance, queue.prefix),
    expectedDuration: task.expectedMs === undefined ? undefined : toWire(expectedMicroseconds(task)),
    ...actionOf(task.key),
  });
}

/** What a task is expected to take, in microseconds; 0 if that is unknown. */
export function expectedMicroseconds({ expectedMs }: TaskView<unknown>): number {
  return Math.round((expectedMs ?? 0) * 1000);
}

/** The shares of a finished operation, as far as they are remembered: without the principal. */
export function finishedPath({ ids: { invocation, correlated } }: FinishedOperation, ids: InvocationIds) {
  return ids.of([{ id: correlated }, { id: invocation }]);
}

/**
 * A finished operation. Which queue it was in is forgotten; the instance name stands in its place, since Buildbarn's
 * portal decides by that who may see it.
 * @param isWhole with the bytes of small outputs, if the response has them.
 */
export function operationOfFinished(
  operation: FinishedOperation,
  ids: InvocationIds,
  isWhole: boolean,
): OperationState {
  const { name, key, createdAtMs, priority, response } = operation;
  const completed = ExecuteResponse.decode(response ?? new Uint8Array());
  return OperationState.fromPartial({
    name,
    invocationName: {
      sizeClassQueueName: {
        platformQueueName: platformQueueToWire({ prefix: key.instance, properties: [], sizeClass: 0 }),
      },
      ids: anysOf(finishedPath(operation, ids)),
    },
    queuedTimestamp: toWire(Math.round(createdAtMs * 1000)),
    stage: { $case: 'completed', value: isWhole ? completed : withoutContents(completed) },
    targetId: operation.ids.target,
    priority,
    ...actionOf(key),
  });
}

function actionOf({ action }: ActionKey) {
  return { actionDigest: digestToWire(action), digestFunction: digestFunctionToWire(action.function) };
}

function anysOf(path: readonly InvocationId[]) {
  return path.map(({ any }) => any);
}

/** A page of thousands of operations would have megabytes of outputs. */
function withoutContents(response: ExecuteResponse): ExecuteResponse {
  const { result } = response;
  if (result === undefined) return response;
  const none = new Uint8Array();
  const outputFiles = result.outputFiles.map((file) => ({ ...file, contents: none }));
  return { ...response, result: { ...result, outputFiles, stdoutRaw: none, stderrRaw: none } };
}
