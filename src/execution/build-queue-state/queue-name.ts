import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import type { PlatformQueueName, SizeClassQueueName } from '../../gen/pkg/proto/buildqueuestate/buildqueuestate.ts';
import type { PlatformProperty, PropertySet, Requirement, WorkerOffer } from '../../platform/platform.ts';
import type { Labels } from '../scheduler/events.ts';
import { compareTexts } from './text-order.ts';

/** What Buildbarn calls a size class queue: workers of one kind and size, and what is to run on them. */
export interface QueueName {
  readonly prefix: InstanceName;
  /** Sorted by name, then value. */
  readonly properties: readonly PlatformProperty[];
  /** 0: none (R-BB-22). */
  readonly sizeClass: number;
}

/**
 * Label that says which queue a slot belongs to. Buildbarn's drains are of one queue, the scheduler's select by labels: a
 * drain of a queue has this label in its pattern. No worker id can have it, see `queueLabels`.
 */
export const QUEUE_LABEL = 'gantry:queue';

/** Most properties in the name of a queue that a request may have. */
const MAX_PROPERTIES = 256;

/** The labels of a slot: its worker id, and the queue it belongs to, which overrides what it says itself. */
export function queueLabels(workerId: Labels, prefix: InstanceName, offer: WorkerOffer): Labels {
  return { ...workerId, [QUEUE_LABEL]: queueText(queueOfOffer(prefix, offer)) };
}

/** The worker id in the labels of a slot or in the pattern of a drain. */
export function workerIdOf(labels: Labels): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => name !== QUEUE_LABEL));
}

/** Where slots with this offer belong. Of several alternatives the first gives the name: a platform has but one set of properties. */
export function queueOfOffer(prefix: InstanceName, offer: WorkerOffer): QueueName {
  const [first = { properties: [] }] = offer.alternatives;
  return { prefix, properties: propertiesOf(first), sizeClass: offer.sizeClass ?? 0 };
}

/** Where tasks are shown that no pool could run: in a queue without workers that is named by what they need. */
export function queueOfNeeds(instance: InstanceName, needs: Requirement, sizeClass: number): QueueName {
  return { prefix: instance, properties: propertiesOf(needs), sizeClass };
}

/** Equal exactly for equal names; sorts by prefix, then platform, then size class. */
export function queueText({ prefix, properties, sizeClass }: QueueName): string {
  return JSON.stringify([prefix, properties.map(({ name, value }) => [name, value]), sizeClass]);
}

/** Equal exactly for names that differ in nothing but the size class. */
export function platformQueueText(name: QueueName): string {
  return queueText({ ...name, sizeClass: 0 });
}

/** The name in a request; its properties may come in any order. @throws invalid-argument. */
export function queueFromWire(wire: SizeClassQueueName | undefined): QueueName {
  if (wire === undefined) throw missing('size_class_queue_name');
  const { platformQueueName, sizeClass } = wire;
  if (platformQueueName === undefined) throw missing('platform_queue_name');
  const properties = platformQueueName.platform?.properties ?? [];
  if (properties.length > MAX_PROPERTIES) {
    throw new ReapiError('invalid-argument', `a platform has at most ${MAX_PROPERTIES} properties here`, {
      field: 'platform',
    });
  }
  return { prefix: parseInstanceName(platformQueueName.instanceNamePrefix), properties: sorted(properties), sizeClass };
}

/** As clients give it back. */
export function queueToWire(name: QueueName): SizeClassQueueName {
  return { platformQueueName: platformQueueToWire(name), sizeClass: name.sizeClass };
}

/** The name without the size class. */
export function platformQueueToWire({ prefix, properties }: QueueName): PlatformQueueName {
  return { instanceNamePrefix: prefix, platform: { properties: properties.map((property) => ({ ...property })) } };
}

/** What an instance name has behind the prefix of a queue (R-BB-14). */
export function suffixOf(instance: InstanceName, prefix: InstanceName): string {
  if (prefix === '') return instance;
  return instance.slice(prefix.length).replace(/^\//, '');
}

function propertiesOf({ properties }: PropertySet): PlatformProperty[] {
  return sorted(properties.flatMap(({ name, values }) => values.map((value) => ({ name, value }))));
}

function sorted(properties: readonly PlatformProperty[]): PlatformProperty[] {
  return properties.toSorted((a, b) => compareTexts(a.name, b.name) || compareTexts(a.value, b.value));
}

function missing(field: string): ReapiError {
  return new ReapiError('invalid-argument', `${field} is required`, { field });
}
