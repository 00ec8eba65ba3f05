import type { InstanceName } from '../../digest/instance-name.ts';
import type { Requirement } from '../../platform/platform.ts';
import { Ages } from './ages.ts';
import { Deadline } from './deadlines.ts';
import { type Demand, demandText } from './demand.ts';
import { FairQueue } from './fair-queue.ts';
import type { Task } from './task.ts';

/** Demands without tasks that are kept for the matches they remember. */
const MAX_IDLE_DEMANDS = 256;

/** What a task asks for beside its requirement. */
export interface Demanded {
  readonly instance: InstanceName;
  readonly needs: Requirement;
  /** Sorted. */
  readonly avoids: readonly string[];
  readonly sizeClass: number;
}

/** Is told of demands, so that they know the pools that fit. */
export interface DemandListener<Work, Result> {
  /** To be filled with its pools. */
  onDemand(demand: Demand<Work, Result>): void;
  /** Its tasks have waited too long for a pool without workers. */
  onPatienceOver(demand: Demand<Work, Result>): void;
  /** Its last task left the queue. */
  onEmpty(demand: Demand<Work, Result>): void;
}

/** The tasks that wait for a slot, by demand, so that deciding costs by the number of demands and not of tasks. */
export class Queue<Work, Result> {
  readonly #demands = new Map<string, Demand<Work, Result>>();
  readonly #busy = new Set<Demand<Work, Result>>();
  readonly #wary = new Set<Demand<Work, Result>>();
  readonly #unknownMs: number;
  #listener: DemandListener<Work, Result> | undefined;
  #size = 0;

  /** @param options.unknownMs what a task without history is taken to need. */
  constructor(options: { readonly unknownMs: number }) {
    this.#unknownMs = options.unknownMs;
  }

  /** Sets who is told of demands. */
  listen(listener: DemandListener<Work, Result>): void {
    this.#listener = listener;
  }

  /** Number of queued tasks. */
  get size(): number {
    return this.#size;
  }

  /** Demands with at least one task, in the order in which they got their first. */
  get demands(): ReadonlySet<Demand<Work, Result>> {
    return this.#busy;
  }

  /** Those of them that avoid a node. */
  get waryDemands(): ReadonlySet<Demand<Work, Result>> {
    return this.#wary;
  }

  /** Also those without tasks that are remembered. */
  get allDemands(): Iterable<Demand<Work, Result>> {
    return this.#demands.values();
  }

  /** What a task without history counts as, or what is expected of it. */
  workOf(task: Task<Work, Result>): number {
    return task.expectedMs ?? this.#unknownMs;
  }

  /** The demand of tasks with these wishes. */
  demandOf({ instance, needs, avoids, sizeClass }: Demanded): Demand<Work, Result> {
    const text = demandText(instance, needs, avoids, sizeClass);
    const known = this.#demands.get(text);
    if (known !== undefined) return known;
    if (this.#demands.size - this.#busy.size >= MAX_IDLE_DEMANDS) this.#forgetIdle();
    const demand: Demand<Work, Result> = {
      text,
      instance,
      needs,
      takes: needs.takes ?? [],
      avoids: new Set(avoids),
      sizeClass,
      queue: new FairQueue<Task<Work, Result>>(),
      ages: new Ages<Task<Work, Result>>(),
      queuedWorkMs: 0,
      pools: new Map(),
      reservation: undefined,
      lookedInVain: undefined,
      patience: new Deadline(() => this.#listener?.onPatienceOver(demand)),
    };
    this.#demands.set(text, demand);
    this.#listener?.onDemand(demand);
    return demand;
  }

  /** Queues a task with its demand, or with the one that took its place while the task was away. */
  push(task: Task<Work, Result>): void {
    const demand = this.#demands.get(task.demand.text) ?? task.demand;
    if (demand !== task.demand) task.demand = demand;
    else if (!this.#demands.has(demand.text)) this.#revive(demand);
    demand.queue.push(task);
    demand.ages.add(task);
    demand.queuedWorkMs += this.workOf(task);
    this.#size++;
    if (this.#busy.has(demand)) return;
    this.#busy.add(demand);
    for (const pool of demand.pools.keys()) pool.demands.add(demand);
    if (demand.avoids.size > 0) this.#wary.add(demand);
  }

  /** Takes a queued task out. */
  remove(task: Task<Work, Result>): void {
    const { demand } = task;
    demand.queue.remove(task);
    demand.ages.remove(task);
    demand.queuedWorkMs -= this.workOf(task);
    this.#size--;
    if (demand.queue.size > 0) return;
    demand.queuedWorkMs = 0;
    this.#busy.delete(demand);
    this.#wary.delete(demand);
    for (const pool of demand.pools.keys()) pool.demands.delete(demand);
    this.#listener?.onEmpty(demand);
  }

  #revive(demand: Demand<Work, Result>): void {
    this.#demands.set(demand.text, demand);
    demand.pools.clear();
    demand.lookedInVain = undefined;
    this.#listener?.onDemand(demand);
  }

  #forgetIdle(): void {
    for (const demand of this.#demands.values()) {
      if (!this.#busy.has(demand)) this.#demands.delete(demand.text);
    }
  }
}
