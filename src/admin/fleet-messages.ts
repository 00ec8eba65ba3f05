import type { ActionKey } from '../digest/action-key.ts';
import type {
  DemandView,
  DrainView,
  IsolatedView,
  PoolView,
  QuarantineView,
  ShareView,
  SlotView,
} from '../execution/scheduler/view.ts';
import type {
  Demand,
  Drain,
  FleetAction,
  IsolatedNode,
  Pool,
  QuarantinedAction,
  RunningLease,
  Share,
  Slot,
} from '../gen/gantry/v1/fleet.ts';
import { offerText, requirementText } from './platform-text.ts';

/** An action as operators see it. */
export function actionToWire({ instance, action }: ActionKey): FleetAction {
  return {
    instanceName: instance,
    digestFunction: action.function,
    hash: action.hash,
    sizeBytes: BigInt(action.sizeBytes),
  };
}

/** Slots with the same offer. */
export function poolToWire(pool: PoolView): Pool {
  return {
    id: pool.id,
    name: pool.name,
    instanceNamePrefix: pool.prefix,
    platform: offerText(pool.offer),
    sizeClass: pool.offer.sizeClass ?? 0,
    slots: pool.slots,
    busySlots: pool.busySlots,
    waitingSlots: pool.waitingSlots,
    drainedSlots: pool.drainedSlots,
    nodes: pool.nodes,
  };
}

/** Queued tasks that any slot treats alike. @param pools all, by id. @param nowMs the scheduler's time. */
export function demandToWire(demand: DemandView, pools: ReadonlyMap<string, PoolView>, nowMs: number): Demand {
  return {
    instanceName: demand.instance,
    platform: requirementText(demand.needs),
    sizeClass: demand.sizeClass,
    queued: demand.queued,
    queuedWorkSeconds: demand.queuedWorkMs / 1000,
    oldestSeconds: secondsSince(demand.oldestQueuedAtMs, nowMs),
    pools: [...demand.pools],
    blocked: blockedText(demand.pools.flatMap((id) => pools.get(id) ?? [])),
  };
}

/** What keeps a demand waiting, from the numbers of the pools that could run it: cheap, for many. */
function blockedText(pools: readonly PoolView[]): string {
  const sum = (of: (pool: PoolView) => number): number => pools.reduce((total, pool) => total + of(pool), 0);
  const slots = sum((pool) => pool.slots);
  const drained = sum((pool) => pool.drainedSlots);
  const names = pools.flatMap(({ name }) => (name === '' ? [] : [`"${name}"`])).join(', ');
  if (pools.length === 0) return 'no worker fits';
  if (slots === 0) return names === '' ? 'no worker now' : `pool ${names} has no worker now`;
  if (drained === slots) return `all ${slots.toLocaleString('en-US')} slots drained`;
  if (sum((pool) => pool.waitingSlots) > 0) return 'slots are free: it waits for room on their nodes, or its turn';
  const busy = (slots - drained).toLocaleString('en-US');
  return `all ${busy} slots busy${drained === 0 ? '' : `, ${drained.toLocaleString('en-US')} drained`}`;
}

/** What a slot holds; undefined if nothing. @param title what the build tool calls the work. */
export function leaseToWire<Work>(
  slot: SlotView<Work>,
  title: (work: Work) => string,
  nowMs: number,
): RunningLease | undefined {
  const { hold, task } = slot;
  if (hold === undefined) return undefined;
  const attempt = task?.attempts.findLast(({ slot: name, end }) => name === slot.name && end === undefined);
  return {
    action: actionToWire(hold.key),
    operation: task?.operations[0] ?? '',
    operations: task?.operations.length ?? 0,
    runningSeconds: secondsSince(attempt?.startedAtMs ?? hold.queuedAtMs, nowMs),
    expectedSeconds: task?.expectedMs === undefined ? undefined : task.expectedMs / 1000,
    pool: slot.pool,
    node: slot.node,
    slot: slot.name,
    attempt: hold.attempt,
    title: hold.work === undefined ? '' : title(hold.work),
    shares: (task?.shares ?? []).map(({ id }) => id),
  };
}

/** One slot and its state. */
export function slotToWire(slot: SlotView<unknown>, nowMs: number): Slot {
  return {
    name: slot.name,
    labels: { ...slot.labels },
    pool: slot.pool,
    state: slot.hold !== undefined ? 'busy' : slot.isPolling ? 'waiting' : 'idle',
    isDrained: slot.isDrained,
    isTerminating: slot.isTerminating,
    prefersIdle: slot.prefersIdle,
    silentSeconds: secondsSince(slot.lastHeardMs, nowMs),
    action: slot.hold && actionToWire(slot.hold.key),
  };
}

/** One share of the fleet. */
export function shareToWire({ path, tasks, running }: ShareView): Share {
  return {
    path: path.map(({ id }) => id),
    weight: path.at(-1)?.weight ?? 1,
    running,
    // A task that is hedged runs twice.
    queued: Math.max(0, tasks - running),
  };
}

/** A drain in force. */
export function drainToWire(drain: DrainView, nowMs: number): Drain {
  return {
    labels: { ...drain.pattern },
    reason: drain.reason,
    isTermination: drain.isTermination,
    ageSeconds: secondsSince(drain.sinceMs, nowMs),
  };
}

/** A node that was isolated. */
export function isolatedToWire({ node, reason, sinceMs }: IsolatedView, nowMs: number): IsolatedNode {
  return { node, reason, ageSeconds: secondsSince(sinceMs, nowMs) };
}

/** An action that is refused. */
export function quarantinedToWire({ key, reason, untilMs }: QuarantineView, nowMs: number): QuarantinedAction {
  return { action: actionToWire(key), reason, leftSeconds: secondsSince(nowMs, untilMs) };
}

/** Never below 0. */
export function secondsSince(thenMs: number, nowMs: number): number {
  return Math.max(0, nowMs - thenMs) / 1000;
}
