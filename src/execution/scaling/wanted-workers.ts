import { bounded, neededWorkers, type PoolNeed } from './needed-workers.ts';
import { groupPools, type ScalingPool, type ScalingView } from './scaling-pool.ts';

/** What is wanted of one pool. */
export interface PoolPlan extends PoolNeed {
  /** At least `neededWorkers`; more while it is too soon to stop some. */
  readonly wantedWorkers: number;
}

/** What has to be remembered between two looks, by the name of the group. */
export type ScalingState = ReadonlyMap<string, PoolMemory>;

/** Workers are given up only after a time in which fewer were needed throughout. */
interface PoolMemory {
  readonly wantedWorkers: number;
  /** When so many were needed last. */
  readonly sinceMs: number;
  /** Most that were needed after that. */
  readonly mostSince: number;
}

/** What stays the same from look to look. */
export interface ScalingOptions {
  readonly pools: readonly ScalingPool[];
  /** Another `drainMs` for one group, by name. */
  readonly drain?: { readonly name: string; readonly drainMs: number };
}

/**
 * How many workers each pool should have now. Pure: all that it knows of earlier is in `state`.
 * Workers that are there at the first look stay wanted for `scaleDownMs`, needed or not: a server that was just started cannot know.
 */
export function wantedWorkers(
  view: ScalingView,
  options: ScalingOptions,
  nowMs: number,
  state: ScalingState,
): { readonly plans: readonly PoolPlan[]; readonly state: ScalingState } {
  const { pools, drain } = options;
  const groups = groupPools(view, pools).map((group) =>
    group.name === drain?.name ? { ...group, drainMs: drain.drainMs } : group,
  );
  const next = new Map<string, PoolMemory>();
  const plans = neededWorkers(view, groups).map((need): PoolPlan => {
    const memory = remembered(need, nowMs, state.get(need.group.name));
    next.set(need.group.name, memory);
    return { ...need, wantedWorkers: memory.wantedWorkers };
  });
  return { plans, state: next };
}

function remembered(need: PoolNeed, nowMs: number, before: PoolMemory | undefined): PoolMemory {
  const { group, neededWorkers: needed } = need;
  const wanted = bounded(before?.wantedWorkers ?? group.nodes, group);
  if (needed >= wanted) return { wantedWorkers: needed, sinceMs: nowMs, mostSince: 0 };
  const sinceMs = before?.sinceMs ?? nowMs;
  const mostSince = Math.max(before?.mostSince ?? 0, needed);
  if (nowMs - sinceMs < group.scaleDownMs) return { wantedWorkers: wanted, sinceMs, mostSince };
  return { wantedWorkers: mostSince, sinceMs: nowMs, mostSince: needed };
}
