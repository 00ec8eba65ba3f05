import { ReapiError } from '../../errors.ts';
import { Code } from '../../gen/google/rpc/code.ts';
import type { Status } from '../../gen/google/rpc/status.ts';
import type { AddOrRemoveDrainRequest } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { DrainEvent, Labels } from '../scheduler/events.ts';
import type { SchedulerView } from '../scheduler/view.ts';
import type { FleetActions } from './fleet-actions.ts';
import { QUEUE_LABEL, queueFromWire, queueText } from './queue-name.ts';
import type { Queue } from './queues.ts';
import type { Snapshot } from './snapshot.ts';
import { mapText } from './text-order.ts';

/** Most labels of a pattern, as of a worker id. */
const MAX_PATTERN_ENTRIES = 32;

/** Names and values of a pattern together: drains are kept. */
const MAX_PATTERN_CHARACTERS = 4_096;

/**
 * Begins a drain of the workers of one queue.
 * @throws not-found: there is no such queue; precondition: its workers cannot be told from others; quota-exceeded; invalid-argument.
 */
export function addDrain(snapshot: Snapshot, actions: FleetActions, request: AddOrRemoveDrainRequest): void {
  const pattern = checkedPattern(request.workerIdPattern);
  const queue = snapshot.queue(request.sizeClassQueueName);
  for (const { pool, labels } of snapshot.view.slots()) {
    if (snapshot.queues.ofPool(pool) !== queue || labels[QUEUE_LABEL] === queue.text) continue;
    throw new ReapiError('precondition', 'workers of this queue came by a protocol that does not drain by queue');
  }
  const reason = 'drained through BuildQueueState';
  drainWith(snapshot.view, actions, { pattern: { ...pattern, [QUEUE_LABEL]: queue.text }, on: true, reason });
}

/**
 * Ends such a drain; nothing happens if there is none.
 * @throws precondition: it holds for the whole fleet; not-found: there is neither such a drain nor such a queue; invalid-argument.
 */
export function removeDrain(snapshot: Snapshot, actions: FleetActions, request: AddOrRemoveDrainRequest): void {
  const workerId = checkedPattern(request.workerIdPattern);
  const name = queueFromWire(request.sizeClassQueueName);
  const pattern = { ...workerId, [QUEUE_LABEL]: queueText(name) };
  const inForce = new Set(snapshot.view.drains().map((drain) => mapText(drain.pattern)));
  if (inForce.has(mapText(pattern))) {
    actions.drain({ pattern, on: false });
    return;
  }
  snapshot.queue(request.sizeClassQueueName);
  if (!inForce.has(mapText(workerId))) return;
  throw new ReapiError('precondition', 'this drain was not made for one queue: it is to be ended for the whole fleet');
}

/** Begins a drain and sees to it that it is in force. @throws quota-exceeded: there are too many. */
export function drainWith(
  view: Pick<SchedulerView<unknown>, 'drains'>,
  actions: FleetActions,
  change: Omit<DrainEvent, 'type'>,
): void {
  actions.drain(change);
  const text = mapText(change.pattern);
  const drains = view.drains();
  if (drains.some(({ pattern }) => mapText(pattern) === text)) return;
  throw new ReapiError('quota-exceeded', `${drains.length} drains are in force; end some before you begin another`);
}

/** Names of the operations that wait in a queue without workers. @throws precondition: it has workers. */
export function operationsWithoutWorkers(snapshot: Snapshot, queue: Queue): readonly string[] {
  if (queue.slots > 0) {
    throw new ReapiError('precondition', `the size class queue has ${queue.slots} workers: its operations will run`);
  }
  const tasks = [...snapshot.view.tasks()].filter(
    (task) => task.state === 'queued' && snapshot.queues.ofTask(task) === queue,
  );
  return tasks.flatMap(({ operations }) => operations);
}

/** The status that clients of killed operations get. @throws invalid-argument: absent, OK or no code at all. */
export function killStatus(status: Status | undefined): Status {
  if (status !== undefined && status.code > Code.OK && status.code <= Code.UNAUTHENTICATED) return status;
  throw new ReapiError('invalid-argument', 'status must say what went wrong: clients get it as the outcome', {
    field: 'status',
  });
}

/** A pattern that may select workers. @throws invalid-argument: too long, or it uses a reserved label. */
export function checkedPattern(pattern: Labels): Labels {
  const entries = Object.entries(pattern);
  const characters = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (entries.length > MAX_PATTERN_ENTRIES || characters > MAX_PATTERN_CHARACTERS) throw wrongPattern('is too long');
  if (Object.hasOwn(pattern, QUEUE_LABEL)) throw wrongPattern(`has the reserved label ${QUEUE_LABEL}`);
  return pattern;
}

function wrongPattern(what: string): ReapiError {
  return new ReapiError('invalid-argument', `the pattern ${what}`, { field: 'worker_id_pattern' });
}
