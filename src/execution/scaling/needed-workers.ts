import type { Amount, Requirement } from '../../platform/platform.ts';
import type { DemandView, SlotView } from '../scheduler/view.ts';
import type { PoolGroup, ScalingView } from './scaling-pool.ts';

/** What a group of pools has and needs right now. */
export interface PoolNeed {
  readonly group: PoolGroup;
  /** Within the bounds of the group. */
  readonly neededWorkers: number;
  /** Of the queued tasks that were counted for this group, what they are expected to take. */
  readonly queuedWorkMs: number;
  /** Slots that hold something. */
  readonly busySlots: number;
  /** Those among the others that take no work: drained, isolated or about to leave. */
  readonly idleDrainedSlots: number;
}

/** Parts of a slot below it come from rounding, not from work. */
const ROUNDING = 1e-9;

/**
 * How many workers each group needs, from what is executing and what is queued.
 *
 * Counted in slots. What executes holds its slot, or more of them if it takes more than a slot's part of what the node has.
 * A drained slot counts too, as its worker is there and does nothing for the queue. Queued work asks for as many slots as do it within
 * `drainMs`, but no more than there are tasks. It is poured into the groups that fit, in their order: first into free slots of all of them, then
 * into workers that could still be started, up to `maxWorkers`; so it is never counted twice. More queued work never makes
 * any group need fewer workers, as each vessel is filled in an order that does not depend on the amounts.
 */
export function neededWorkers(
  view: Pick<ScalingView, 'demands' | 'slots'>,
  groups: readonly PoolGroup[],
): readonly PoolNeed[] {
  const vessels = groups.map((group) => new Vessel(group));
  const byPool = new Map(vessels.flatMap((vessel) => vessel.group.ids.map((id) => [id, vessel] as const)));
  for (const slot of view.slots()) byPool.get(slot.pool)?.add(slot);
  const order = new Map(vessels.toSorted(smallestFirst).map((vessel, at) => [vessel, at]));
  for (const demand of view.demands()) {
    const fitting = new Set(demand.pools.flatMap((id) => byPool.get(id) ?? []));
    pour(
      demand,
      [...fitting].sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0)),
    );
  }
  return vessels.map((vessel) => vessel.need());
}

function pour(demand: DemandView, vessels: readonly Vessel[]): void {
  if (demand.queued === 0) return;
  let rest = 1;
  for (const kind of ['free', 'startable'] as const) {
    for (const vessel of vessels) {
      if (rest <= 0) return;
      rest -= vessel.fill(kind, demand, rest);
    }
  }
  // Above every bound: it is the first group that would need more.
  vessels[0]?.keep(demand, rest);
}

/** Small machines first: what fits them needs no larger one. Else in order, configured ones before what nobody can start. */
function smallestFirst(a: Vessel, b: Vessel): number {
  return Number(b.group.isConfigured) - Number(a.group.isConfigured) || a.group.sizeClass - b.group.sizeClass;
}

/** Room for queued work in one group, and what was poured into it. In slots. */
class Vessel {
  readonly group: PoolGroup;
  #busySlots = 0;
  #idleDrainedSlots = 0;
  /** What the busy slots take, at least one each. */
  #executing = 0;
  /** Unset until the last slot was added. */
  #room: { free: number; startable: number } | undefined;
  #filled = 0;
  #queuedWorkMs = 0;

  constructor(group: PoolGroup) {
    this.group = group;
  }

  add({ hold, task, isDrained, isTerminating, prefersIdle }: SlotView<unknown>): void {
    if (hold !== undefined) {
      this.#busySlots++;
      this.#executing += slotsTaken(task?.needs.takes, this.group);
    } else if (isDrained || isTerminating || prefersIdle) this.#idleDrainedSlots++;
  }

  /** @param rest the part of the demand that has no place yet. @returns the part that found one here. */
  fill(kind: 'free' | 'startable', demand: DemandView, rest: number): number {
    this.#room ??= this.#measure();
    const whole = slotsWanted(demand, this.group);
    const slots = Math.min(this.#room[kind], rest * whole);
    this.#room[kind] -= slots;
    this.#filled += slots;
    const part = slots / whole;
    this.keep(demand, part);
    return part;
  }

  keep(demand: DemandView, part: number): void {
    this.#queuedWorkMs += demand.queuedWorkMs * part;
  }

  need(): PoolNeed {
    const { group } = this;
    const used = this.#executing + this.#filled;
    const slots = used > ROUNDING ? used + this.#idleDrainedSlots : 0;
    const workers = Math.ceil(slots / group.slotsPerWorker - ROUNDING);
    return {
      group,
      neededWorkers: bounded(workers, group),
      queuedWorkMs: this.#queuedWorkMs,
      busySlots: this.#busySlots,
      idleDrainedSlots: this.#idleDrainedSlots,
    };
  }

  #measure(): { free: number; startable: number } {
    const { slots, slotsPerWorker, maxWorkers } = this.group;
    const free = Math.max(0, slots - this.#executing - this.#idleDrainedSlots);
    return { free, startable: Math.max(0, maxWorkers * slotsPerWorker - slots) };
  }
}

/** Within the bounds of the group. */
export function bounded(workers: number, { minWorkers, maxWorkers }: PoolGroup): number {
  return Math.min(maxWorkers, Math.max(minWorkers, workers));
}

/** More than 0, also of work that is expected to take no time. */
function slotsWanted({ queued, queuedWorkMs, needs }: DemandView, group: PoolGroup): number {
  const atOnce = Math.min(queued, Math.max(1, queuedWorkMs) / group.drainMs);
  return atOnce * slotsTaken(needs.takes, group);
}

/** How many slots a task keeps others from using: one, or more if it takes more than a slot's part of the node. */
function slotsTaken(takes: Requirement['takes'], { capacity, slotsPerWorker }: PoolGroup): number {
  const parts = (takes ?? []).map(({ name, amount }) => amount / amountOf(capacity, name));
  return Math.min(slotsPerWorker, Math.max(1, ...parts.map((part) => part * slotsPerWorker)));
}

/** Of what a node does not count there is no end. */
function amountOf(capacity: readonly Amount[], name: string): number {
  const amount = capacity.find((each) => each.name === name)?.amount ?? 0;
  return amount > 0 ? amount : Number.POSITIVE_INFINITY;
}
