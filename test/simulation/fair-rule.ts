import type { FairnessOptions } from '../../src/execution/scheduler/options.ts';
import { demandOf, type ModelTask, priorityOf } from './model-parts.ts';

/** Where nobody says who asks. */
const NOBODY = [{ id: '', weight: 1 }];

interface Place {
  readonly points: number;
  readonly arrival: number;
}

/**
 * The order of tasks as `options.ts` promises it, found by looking at all of them: at every level of shares the one with the lowest
 * claim goes first, where the claim is made of what it runs and of the priority and age of its first task.
 */
export class FairRule {
  readonly #options: FairnessOptions;
  readonly #running = new Map<string, number>();

  readonly #servedMs: ReadonlyMap<string, number>;

  /** @param tasks all that are unfinished. @param servedMs when something of a share began last. */
  constructor(tasks: Iterable<ModelTask>, servedMs: ReadonlyMap<string, number>, options: FairnessOptions) {
    this.#options = options;
    this.#servedMs = servedMs;
    for (const task of tasks) {
      if (task.live.size === 0) continue;
      for (const text of shareTexts(task)) {
        this.#running.set(text, (this.#running.get(text) ?? 0) + task.live.size);
      }
    }
  }

  /** The task that goes first among those a slot could run. */
  first(tasks: readonly ModelTask[], level = 0): ModelTask | undefined {
    const [any] = tasks;
    if (any === undefined || tasks.length === 1) return any;
    // Above the innermost level all siblings are compared, however deep their paths are.
    if (level > 0 && level === pathOf(any).length) return this.#firstInside(tasks);
    let best: readonly ModelTask[] = [];
    let bestPlace: Place | undefined;
    for (const group of grouped(tasks, (task) => textOf(task, level))) {
      const place = this.#placeOf(group, level);
      if (bestPlace !== undefined && !isBefore(place, bestPlace)) continue;
      best = group;
      bestPlace = place;
    }
    return this.first(best, level + 1);
  }

  /** Whether it would be sooner the turn of the task in these shares than in its own. */
  isSooner(shares: ModelTask['shares'], task: ModelTask): boolean {
    const other = { ...task, shares };
    const level = shareTexts(other).findIndex((text, index) => text !== shareTexts(task)[index]);
    return level >= 0 && this.#turnOf(other, level) < this.#turnOf(task, level);
  }

  /** Claim of the share of a task at this level, put back as it was served after the task had been queued. */
  #turnOf(task: ModelTask, level: number): number {
    const text = textOf(task, level);
    const weight = pathOf(task)[level]?.weight ?? 1;
    const claim = this.#options.pointsPerDoubling * Math.log2(((this.#running.get(text) ?? 0) + 1) / weight);
    const lateMs = Math.max(0, (this.#servedMs.get(text) ?? 0) - task.queuedAtMs);
    return claim + lateMs * (1 / this.#options.ageingMsPerPoint);
  }

  /** Claim of a share plus the seniority of its first task; of tasks with different demands the most senior. */
  #placeOf(group: readonly ModelTask[], level: number): Place {
    let best: Place | undefined;
    for (const tasks of grouped(group, demandOf)) {
      const first = this.first(tasks, level + 1);
      if (first === undefined) continue;
      const key = pathOf(first)[level] ?? { id: '', weight: 1 };
      const text = textOf(first, level);
      const running = this.#running.get(text) ?? 0;
      const claim = this.#options.pointsPerDoubling * Math.log2((running + 1) / key.weight);
      // What waited before its share was served last has waited since then only.
      const lateMs = Math.max(0, (this.#servedMs.get(text) ?? 0) - first.queuedAtMs);
      const points = claim + this.#seniority(first) + lateMs * (1 / this.#options.ageingMsPerPoint);
      const place = { points, arrival: first.arrival };
      if (best === undefined || isBefore(place, best)) best = place;
    }
    return best ?? { points: Number.POSITIVE_INFINITY, arrival: 0 };
  }

  #firstInside(tasks: readonly ModelTask[]): ModelTask | undefined {
    let best: ModelTask | undefined;
    let bestPlace: Place | undefined;
    for (const task of tasks) {
      const place = { points: this.#order(task), arrival: task.arrival };
      if (bestPlace !== undefined && !isBefore(place, bestPlace)) continue;
      best = task;
      bestPlace = place;
    }
    return best;
  }

  #seniority(task: ModelTask): number {
    const { maxPriority, ageingMsPerPoint } = this.#options;
    const priority = Math.min(maxPriority, Math.max(-maxPriority, priorityOf(task)));
    return priority + task.queuedAtMs / ageingMsPerPoint;
  }

  /** Longest first: what is expected to take long counts as having waited longer. */
  #order(task: ModelTask): number {
    const { ageingMsPerPoint, longestFirst, unknownMs } = this.#options;
    const expectedMs = task.expectedMs ?? unknownMs;
    return this.#seniority(task) - (longestFirst * expectedMs) / ageingMsPerPoint;
  }
}

function pathOf({ shares }: ModelTask): ModelTask['shares'] {
  return shares.length === 0 ? NOBODY : shares;
}

/** Names of its shares among all, from the outermost. */
export function shareTexts(task: ModelTask): readonly string[] {
  return pathOf(task).map((_, level) => textOf(task, level));
}

function textOf(task: ModelTask, level: number): string {
  const path = pathOf(task);
  return [path.length, ...path.slice(0, level + 1).map(({ id }) => id)].join('\0');
}

function grouped(tasks: readonly ModelTask[], by: (task: ModelTask) => string): Iterable<readonly ModelTask[]> {
  const groups = new Map<string, ModelTask[]>();
  for (const task of tasks) {
    const text = by(task);
    const known = groups.get(text);
    if (known === undefined) groups.set(text, [task]);
    else known.push(task);
  }
  return groups.values();
}

function isBefore(a: Place, b: Place): boolean {
  return a.points === b.points ? a.arrival < b.arrival : a.points < b.points;
}
