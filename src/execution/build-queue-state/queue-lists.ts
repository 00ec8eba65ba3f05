import { ReapiError } from '../../errors.ts';
import {
  type DrainState,
  type InvocationChildState,
  type ListInvocationChildrenRequest,
  ListInvocationChildrenRequest_Filter,
  type PlatformQueueState,
  type SizeClassQueueName,
} from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import { hasQueued, isActive, type Place, placeToWire } from './invocation-tree.ts';
import { refuseTooLong } from './page.ts';
import { QueueDrains } from './queue-drains.ts';
import { platformQueueText, platformQueueToWire, workerIdOf } from './queue-name.ts';
import type { Queue } from './queues.ts';
import type { Invocation, Snapshot } from './snapshot.ts';
import { compareTexts, mapText } from './text-order.ts';

/**
 * All queues. None has a timeout: a queue without workers goes when nothing waits for it.
 * @throws quota-exceeded: there are too many.
 */
export function listPlatformQueues(snapshot: Snapshot): PlatformQueueState[] {
  const trees = snapshot.trees();
  const drains = new QueueDrains(snapshot.view, snapshot.queues);
  const queues = snapshot.queues.all();
  refuseTooLong(queues.length, 'queues');
  const stateOf = (queue: Queue) => ({
    sizeClass: queue.name.sizeClass,
    timeout: undefined,
    workersCount: queue.slots,
    drainsCount: drains.of(queue).length,
    rootInvocation: placeToWire(trees.root(queue)),
  });
  const byPlatform = Map.groupBy(queues, ({ name }) => platformQueueText(name));
  return [...byPlatform.values()].flatMap((group) =>
    group.slice(0, 1).map(({ name }) => ({ name: platformQueueToWire(name), sizeClassQueues: group.map(stateOf) })),
  );
}

/** The places one level below another. @throws quota-exceeded: there are too many; invalid-argument. */
export function listInvocationChildren(
  invocation: Invocation,
  filter: ListInvocationChildrenRequest['filter'],
): InvocationChildState[] {
  const children = childrenOf(invocation, filter);
  return children.map((place) => ({ id: place.id, state: placeToWire(place) }));
}

/** The drains that hold for a queue, sorted by pattern. @throws not-found; invalid-argument. */
export function listDrains(snapshot: Snapshot, name: SizeClassQueueName | undefined): DrainState[] {
  const drains = new QueueDrains(snapshot.view, snapshot.queues).of(snapshot.queue(name));
  const states = drains.map(({ pattern, sinceMs }) => ({
    workerIdPattern: workerIdOf(pattern),
    createdTimestamp: snapshot.clock.timestamp(sinceMs),
  }));
  return states.sort((a, b) => compareTexts(mapText(a.workerIdPattern), mapText(b.workerIdPattern)));
}

function childrenOf(
  { queue, ids, trees }: Invocation,
  filter: ListInvocationChildrenRequest['filter'],
): readonly Place[] {
  const all = [...(trees.find(queue, ids)?.children ?? [])];
  // Before they are sorted, which takes longer.
  const some = (isListed: (place: Place) => boolean) => {
    const listed = all.filter(([, place]) => isListed(place));
    refuseTooLong(listed.length, 'invocations');
    return listed;
  };
  switch (filter) {
    case ListInvocationChildrenRequest_Filter.ALL:
      return sortedPlaces(some(() => true));
    case ListInvocationChildrenRequest_Filter.ACTIVE:
      return sortedPlaces(some(isActive));
    case ListInvocationChildrenRequest_Filter.QUEUED:
      some(hasQueued);
      return trees.inTurn(queue, ids);
    default:
      throw new ReapiError('invalid-argument', `${filter} is no filter`, { field: 'filter' });
  }
}

function sortedPlaces(places: [string, Place][]): readonly Place[] {
  return places.sort(([a], [b]) => compareTexts(a, b)).map(([, place]) => place);
}
