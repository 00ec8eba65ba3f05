import { ReapiError } from '../../errors.ts';
import type {
  ListWorkersRequest,
  ListWorkersResponse,
  OperationState,
  SizeClassQueueName,
  WorkerState,
} from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { ExecutionWork } from '../execution-work.ts';
import type { SlotView, TaskView } from '../scheduler/view.ts';
import { isBelow } from './invocation-id.ts';
import { isFree } from './invocation-tree.ts';
import { pageOf } from './page.ts';
import { workerIdOf } from './queue-name.ts';
import { required, type Snapshot } from './snapshot.ts';
import { compareTexts, mapText } from './text-order.ts';

type Slot = SlotView<ExecutionWork>;
type FilterType = NonNullable<NonNullable<ListWorkersRequest['filter']>['type']>;

/** Slots of one queue, sorted by worker id. @throws not-found: no such queue or invocation; invalid-argument. */
export function listWorkers(snapshot: Snapshot, request: ListWorkersRequest): ListWorkersResponse {
  const after = request.startAfter && mapText(request.startAfter.workerId);
  const slots = matching(snapshot, filterOf(request));
  const all = slots.map((slot) => ({ slot, text: mapText(workerIdOf(slot.labels)) }));
  const page = pageOf(all, {
    pageSize: request.pageSize,
    ...(after !== undefined && { isAfter: ({ text }) => text > after }),
    compare: (a, b) => compareTexts(a.text, b.text),
  });
  return { workers: page.items.map(({ slot }) => workerOf(snapshot, slot)), paginationInfo: page.info };
}

/** The queue whose workers are asked for. @throws invalid-argument. */
export function queueOfWorkers(request: ListWorkersRequest): SizeClassQueueName | undefined {
  const type = filterOf(request);
  return type.$case === 'all' ? type.value : required(type.value).sizeClassQueueName;
}

function filterOf({ filter }: ListWorkersRequest): FilterType {
  if (filter?.type !== undefined) return filter.type;
  throw new ReapiError('invalid-argument', 'filter is required', { field: 'filter' });
}

function matching(snapshot: Snapshot, type: FilterType): readonly Slot[] {
  const { view, queues, ids } = snapshot;
  if (type.$case === 'all') {
    const queue = snapshot.queue(type.value);
    return [...view.slots()].filter(({ pool }) => queues.ofPool(pool) === queue);
  }
  const { queue, keys } = snapshot.invocation(type.value);
  const isExecuting = type.$case === 'executing';
  return [...view.slots()].filter((slot) => {
    if (queues.ofPool(slot.pool) !== queue) return false;
    if (isExecuting ? slot.hold === undefined : !isFree(slot)) return false;
    return isBelow(ids.of(isExecuting ? (slot.task?.shares ?? []) : slot.lastShares), keys);
  });
}

function workerOf(snapshot: Snapshot, slot: Slot): WorkerState {
  return {
    id: workerIdOf(slot.labels),
    timeout: slot.isPolling ? undefined : snapshot.clock.timestamp(slot.expiresAtMs),
    currentOperation: slot.task && currentOf(snapshot, slot.task),
    drained: slot.isDrained || slot.isTerminating,
  };
}

/** The first of a task's operations by name. Work of a former server has none: its state has no name. */
function currentOf(snapshot: Snapshot, task: TaskView<ExecutionWork>): OperationState {
  const [name = ''] = task.operations.toSorted();
  return { ...snapshot.operationOf(name, task), invocationName: undefined, stage: undefined };
}
