import type { Demand } from './demand.ts';
import { attemptsOf } from './effects.ts';
import { explanationText } from './explanation-text.ts';
import { FairQueue, firstOf, type Queueable } from './fair-queue.ts';
import type { Fleet } from './fleet.ts';
import type { FleetNode } from './fleet-node.ts';
import type { SchedulerOptions } from './options.ts';
import { waitingSinceMs, waitMsOf } from './patience.ts';
import { isUsable, type Placement } from './placement.ts';
import type { Slot } from './pool.ts';
import type { Queue } from './queue.ts';
import { pathOf, type Share, Shares } from './shares.ts';
import { isLive, type Task } from './task.ts';
import type { Tasks } from './tasks.ts';
import type { Block, Explanation } from './view.ts';

/** What an explanation is made of. */
export interface ExplainParts<Work, Result> {
  readonly queue: Queue<Work, Result>;
  readonly fleet: Fleet<Work, Result>;
  readonly tasks: Tasks<Work, Result>;
  readonly placement: Placement<Work, Result>;
  readonly shares: Shares;
}

/** Competitors whose starts are played through: of more, only their number is said, as it would hold up everything else. */
const MAX_REPLAYED = 20_000;

/** Where a task stands among those it competes with. */
interface Line {
  /** Unset if they are too many to count. */
  readonly rank: number | undefined;
  readonly competitors: number;
  /** Expected work of those before it. */
  readonly aheadMs: number;
  /** How many of the competitors have a history. */
  readonly known: number;
  /** The share that most of those before it belong to; undefined if that is its own. */
  readonly ahead: Share | undefined;
}

/** A queued task where the order is replayed. */
interface StandIn<Work, Result> extends Queueable {
  readonly task: Task<Work, Result>;
  readonly queue: FairQueue<StandIn<Work, Result>>;
}

/** Says why a task is where it is. Costs by the number of queued tasks that compete with it. */
export class Explainer<Work, Result> {
  readonly #parts: ExplainParts<Work, Result>;
  readonly #options: SchedulerOptions;

  constructor(parts: ExplainParts<Work, Result>, options: SchedulerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  explain(task: Task<Work, Result>, nowMs: number): Explanation {
    const facts = task.state === 'queued' ? this.#queued(task, nowMs) : notQueued(task);
    return { ...facts, text: explanationText(facts, nowMs) };
  }

  #queued(task: Task<Work, Result>, nowMs: number): Omit<Explanation, 'text'> {
    const line = this.#lineOf(task, nowMs);
    const slots = this.#slotsOf(task.demand);
    return {
      state: 'queued',
      rank: line.rank,
      competitors: line.competitors,
      blocks: this.#blocks(task, slots, line),
      expectedStartMs: this.#expectedStartMs(slots, line, nowMs),
      attempts: attemptsOf(task),
    };
  }

  #blocks(task: Task<Work, Result>, slots: readonly Slot<Work, Result>[], line: Line): readonly Block[] {
    const { fleet } = this.#parts;
    const { demand } = task;
    if (slots.length === 0) return [this.#noWorker(task)];
    const open = slots.filter((slot) => fleet.isOpen(slot));
    const blocks: Block[] = [];
    if (open.length < slots.length) {
      const closed = slots.filter((slot) => !fleet.isOpen(slot));
      blocks.push({ kind: 'drained', slots: closed.length, reason: this.#closedBecause(closed[0]) });
    }
    const idle = open.filter(({ lease }) => lease === undefined);
    if (open.length > 0 && idle.length === 0) blocks.unshift({ kind: 'all-busy', slots: open.length });
    const isAllowed = ({ node }: Slot<Work, Result>): boolean => !demand.avoids.has(node.name);
    const candidates = open.some(isAllowed) ? idle.filter(isAllowed) : idle;
    blocks.push(...this.#scarce(demand, candidates));
    const isAwaited = candidates.some(({ node, isPolling }) => isPolling && isUsable(node, demand));
    const isAvoiding = candidates.length < idle.length && !isAwaited;
    if (isAvoiding) blocks.push({ kind: 'avoids-nodes', nodes: [...demand.avoids] });
    if (line.ahead !== undefined) blocks.push({ kind: 'turn', share: nameOf(line.ahead), running: line.ahead.running });
    return blocks;
  }

  #noWorker(task: Task<Work, Result>): Block {
    const { placement } = this.#parts;
    const { demand } = task;
    for (const { configured } of demand.pools.keys()) {
      if (configured === undefined) continue;
      return { kind: 'pool-empty', pool: configured.name, untilMs: waitingSinceMs(task) + waitMsOf(demand) };
    }
    return { kind: 'no-such-worker', text: placement.explain(demand) };
  }

  #closedBecause(slot: Slot<Work, Result> | undefined): string {
    if (slot === undefined) return '';
    const drain = this.#parts.fleet.drains.first(slot.labels);
    if (drain !== undefined) return drain.reason;
    return slot.node.isolation?.reason ?? 'they want no new work';
  }

  /** What is short on the nodes of idle slots. */
  #scarce(demand: Demand<Work, Result>, idle: readonly Slot<Work, Result>[]): readonly Block[] {
    if (idle.length === 0 || idle.some(({ node }) => isUsable(node, demand))) return [];
    return demand.takes.flatMap(({ name, amount }) => {
      const mostFree = Math.max(...idle.map(({ node }) => freeOf(node, name, demand)));
      return mostFree >= amount ? [] : [{ kind: 'resource' as const, resource: name, wanted: amount, mostFree }];
    });
  }

  /** All slots that fit, open or not. */
  #slotsOf(demand: Demand<Work, Result>): readonly Slot<Work, Result>[] {
    return [...demand.pools.keys()].flatMap(({ slots }) => [...slots]);
  }

  /** Lets those who compete begin one after the other, with copies of their shares, until it is the turn of this task. */
  #lineOf(task: Task<Work, Result>, nowMs: number): Line {
    const rivals = [...this.#rivalsOf(task.demand)];
    const all = rivals.reduce((sum, { queue }) => sum + queue.size, 0);
    if (all > MAX_REPLAYED) return { rank: undefined, competitors: all, aheadMs: 0, known: 0, ahead: undefined };
    const shares = new Shares(this.#options.fairness);
    const queues: FairQueue<StandIn<Work, Result>>[] = [];
    let [known, competitors] = [0, 0];
    for (const demand of rivals) {
      const queue = new FairQueue<StandIn<Work, Result>>();
      queues.push(queue);
      for (const rival of demand.queue.items()) {
        const { order, arrival, seniority, queuedAtMs } = rival;
        const share = shares.enterLike(rival.share);
        queue.push({ heapIndex: -1, share, order, arrival, seniority, queuedAtMs, task: rival, queue });
        if (rival.expectedMs !== undefined) known++;
      }
      competitors += queue.size;
    }
    const before: Task<Work, Result>[] = [];
    for (;;) {
      const first = firstOf(queues);
      if (first === undefined || first.task === task) break;
      first.queue.remove(first);
      shares.ran(first.share, 1, nowMs);
      before.push(first.task);
    }
    const aheadMs = before.reduce((sum, other) => sum + this.#parts.queue.workOf(other), 0);
    return { rank: before.length + 1, competitors, aheadMs, known, ahead: mostOf(before, task.share) };
  }

  /** Demands that some slot fits which fits this one, and itself. */
  *#rivalsOf(demand: Demand<Work, Result>): Iterable<Demand<Work, Result>> {
    for (const other of this.#parts.queue.demands) {
      if (other === demand || [...other.pools.keys()].some((pool) => demand.pools.has(pool))) yield other;
    }
  }

  /** What is before it, and what still runs, spread over the slots. Unset if too little of it is known. */
  #expectedStartMs(slots: readonly Slot<Work, Result>[], line: Line, nowMs: number): number | undefined {
    const open = slots.filter((slot) => this.#parts.fleet.isOpen(slot));
    const isUnknown = line.rank === undefined || line.known * 2 < line.competitors;
    if (open.length === 0 || isUnknown) return undefined;
    let remainingMs = line.aheadMs;
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const { lease } of open) {
      const workMs = lease === undefined ? 0 : this.#parts.queue.workOf(lease.task);
      const leftMs = lease === undefined ? 0 : Math.max(0, lease.startedAtMs + workMs - nowMs);
      remainingMs += leftMs;
      soonestMs = Math.min(soonestMs, leftMs);
    }
    return nowMs + Math.max(soonestMs, line.rank === 1 ? soonestMs : remainingMs / open.length);
  }
}

function notQueued<Work, Result>(task: Task<Work, Result>): Omit<Explanation, 'text'> {
  return {
    state: task.leases.some(isLive) ? 'executing' : 'recording',
    rank: undefined,
    competitors: undefined,
    blocks: [],
    expectedStartMs: undefined,
    attempts: attemptsOf(task),
  };
}

/** How much of it is left on the node for this demand: nothing while the node is emptied for another that needs it. */
function freeOf<Work, Result>(node: FleetNode<Work, Result>, resource: string, demand: Demand<Work, Result>): number {
  const { reservation } = node;
  const isKept = reservation !== undefined && reservation !== demand;
  return isKept && reservation.takes.some(({ name }) => name === resource) ? 0 : node.freeOf(resource);
}

/** The share that most of these belong to, if more than to `own`. */
function mostOf<Work, Result>(tasks: readonly Task<Work, Result>[], own: Share): Share | undefined {
  const counts = new Map<Share, number>();
  for (const { share } of tasks) counts.set(share, (counts.get(share) ?? 0) + 1);
  let [most, biggest] = [counts.get(own) ?? 0, undefined as Share | undefined];
  for (const [share, count] of counts) {
    if (count > most) [most, biggest] = [count, share];
  }
  return biggest;
}

/** The innermost of its names that says something. */
function nameOf(share: Share): string {
  return pathOf(share).findLast(({ id }) => id !== '')?.id ?? 'others';
}
