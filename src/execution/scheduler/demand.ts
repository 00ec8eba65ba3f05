import type { InstanceName } from '../../digest/instance-name.ts';
import type { Amount, Requirement } from '../../platform/platform.ts';
import type { Ages } from './ages.ts';
import type { Deadline } from './deadlines.ts';
import type { FairQueue } from './fair-queue.ts';
import type { FleetNode } from './fleet-node.ts';
import type { Pool } from './pool.ts';
import type { Task } from './task.ts';

/** Queued tasks that any slot treats alike: same instance name, requirement, nodes to avoid and size class. */
export interface Demand<Work, Result> {
  readonly text: string;
  readonly instance: InstanceName;
  readonly needs: Requirement;
  readonly takes: readonly Amount[];
  /** Nodes that failed these tasks through their own fault: used only if no other node would do. */
  readonly avoids: ReadonlySet<string>;
  /** The smallest size class that will do; 0: any. */
  readonly sizeClass: number;
  readonly queue: FairQueue<Task<Work, Result>>;
  /** The same tasks by `queuedAtMs`. */
  readonly ages: Ages<Task<Work, Result>>;
  /** What the queued tasks are expected to need, all together. */
  queuedWorkMs: number;
  /** Every pool that fits, and how many preferences it satisfies. */
  readonly pools: Map<Pool<Work, Result>, number>;
  /** A node that is being emptied for the next of these tasks. */
  reservation: FleetNode<Work, Result> | undefined;
  /** The state of the fleet in which no slot was found; undefined if that was not so. */
  lookedInVain: number | undefined;
  /** While only pools without workers could run them. */
  readonly patience: Deadline;
}

/** The text that tells demands apart. */
export function demandText(
  instance: InstanceName,
  needs: Requirement,
  avoids: readonly string[],
  sizeClass: number,
): string {
  return JSON.stringify([
    instance,
    needs.properties.map(({ name, values }) => [name, values]),
    needs.digestFunction,
    needs.legacyOutputs,
    needs.takes?.map(({ name, amount }) => [name, amount]) ?? 0,
    needs.preferences?.map(({ name, values }) => [name, values]) ?? 0,
    avoids,
    sizeClass,
  ]);
}
