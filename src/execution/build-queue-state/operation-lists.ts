import type { InstanceName } from '../../digest/instance-name.ts';
import { ExecutionStage_Value } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type {
  ListOperationsRequest,
  ListOperationsResponse,
  ListQueuedOperationsRequest,
  ListQueuedOperationsResponse,
} from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { ExecutionWork } from '../execution-work.ts';
import type { TaskView } from '../scheduler/view.ts';
import { type InvocationId, invocationKey, isBelow } from './invocation-id.ts';
import { expectedMicroseconds, type FinishedOperation, finishedPath, operationOfFinished } from './operation-state.ts';
import { pageOf } from './page.ts';
import type { Snapshot } from './snapshot.ts';
import { compareTexts } from './text-order.ts';
import { fromWire } from './wire-clock.ts';

type Task = TaskView<ExecutionWork>;

/** An operation that may go on a page. */
type Listed = { readonly name: string } & ({ readonly task: Task } | { readonly finished: FinishedOperation });

/** What `listOperations` gives, and to whom. */
interface OperationSource {
  /** Both as they were when the snapshot was made. */
  readonly tasks: readonly Task[];
  readonly finished: readonly FinishedOperation[];
  /** Whether the caller may see what is under an instance name. */
  readonly isVisible: (instance: InstanceName) => boolean;
}

/** What queued operations are ordered by. Times are in microseconds, as on the wire. */
interface Turn {
  readonly priority: number;
  readonly expected: number;
  readonly queuedAt: number;
}

/** Operations that are queued, run, or are finished and not forgotten; sorted by name. @throws invalid-argument. */
export function listOperations(
  snapshot: Snapshot,
  request: ListOperationsRequest,
  source: OperationSource,
): ListOperationsResponse {
  const after = request.startAfter?.operationName;
  const page = pageOf(listed(snapshot, request, source), {
    pageSize: request.pageSize,
    ...(after !== undefined && { isAfter: ({ name }) => name > after }),
    compare: (a, b) => compareTexts(a.name, b.name),
  });
  const operations = page.items.map((item) =>
    'task' in item
      ? snapshot.operationOf(item.name, item.task)
      : operationOfFinished(item.finished, snapshot.ids, false),
  );
  return { operations, paginationInfo: page.info };
}

/**
 * Operations that wait in one place of a queue's tree, in Buildbarn's order: priority, longest expected, earliest. What is below
 * the place is not listed. @throws not-found; invalid-argument.
 */
export function listQueuedOperations(
  snapshot: Snapshot,
  request: ListQueuedOperationsRequest,
): ListQueuedOperationsResponse {
  const { startAfter } = request;
  const start = startAfter && {
    priority: startAfter.priority,
    expected: fromWire(startAfter.expectedDuration),
    queuedAt: fromWire(startAfter.queuedTimestamp),
  };
  const page = pageOf(queued(snapshot, request), {
    pageSize: request.pageSize,
    ...(start !== undefined && { isAfter: (item) => byTurn(item, start) > 0 }),
    compare: byTurn,
  });
  const queuedOperations = page.items.map(({ name, task }) => ({
    ...snapshot.operationOf(name, task),
    invocationName: undefined,
  }));
  return { queuedOperations, paginationInfo: page.info };
}

function* listed(
  { ids }: Snapshot,
  { filterInvocationId, filterStage }: ListOperationsRequest,
  { tasks, finished, isVisible }: OperationSource,
): Iterable<Listed> {
  const key = filterInvocationId && invocationKey(filterInvocationId);
  const isWanted = (pathOf: () => readonly InvocationId[]): boolean =>
    key === undefined || pathOf().some((step) => step.key === key);
  const isStage = (stage: ExecutionStage_Value): boolean =>
    filterStage === ExecutionStage_Value.UNKNOWN || filterStage === stage;
  for (const task of tasks) {
    const stage = task.state === 'queued' ? ExecutionStage_Value.QUEUED : ExecutionStage_Value.EXECUTING;
    if (!isStage(stage) || !isVisible(task.key.instance) || !isWanted(() => ids.of(task.shares))) continue;
    for (const name of task.operations) yield { name, task };
  }
  if (!isStage(ExecutionStage_Value.COMPLETED)) return;
  for (const operation of finished) {
    if (!isVisible(operation.key.instance) || !isWanted(() => finishedPath(operation, ids))) continue;
    yield { name: operation.name, finished: operation };
  }
}

function* queued(
  snapshot: Snapshot,
  { invocationName }: ListQueuedOperationsRequest,
): Iterable<Turn & { readonly name: string; readonly task: Task }> {
  const { queue, keys } = snapshot.invocation(invocationName);
  for (const task of snapshot.view.tasks()) {
    if (task.state !== 'queued' || snapshot.queues.ofTask(task) !== queue) continue;
    const path = snapshot.ids.of(task.shares);
    if (path.length !== keys.length || !isBelow(path, keys)) continue;
    const expected = expectedMicroseconds(task);
    const queuedAt = snapshot.clock.microseconds(task.queuedAtMs);
    for (const name of task.operations) yield { priority: task.priority, expected, queuedAt, name, task };
  }
}

function byTurn(a: Turn, b: Turn): number {
  return a.priority - b.priority || b.expected - a.expected || a.queuedAt - b.queuedAt;
}
