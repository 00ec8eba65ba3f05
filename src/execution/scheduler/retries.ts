import type { ErrorKind } from '../../errors.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import type { Effects } from './effects.ts';
import type { Verdict } from './events.ts';
import type { SchedulerOptions } from './options.ts';
import type { Placement } from './placement.ts';
import type { Quarantine } from './quarantine.ts';
import type { Queue } from './queue.ts';
import { isLive, type Lease, noTrouble, type Task, type Trouble } from './task.ts';
import type { Tasks } from './tasks.ts';

interface Parts<Work, Result> {
  readonly queue: Queue<Work, Result>;
  readonly placement: Placement<Work, Result>;
  readonly tasks: Tasks<Work, Result>;
  readonly quarantine: Quarantine;
  readonly effects: Effects<Work, Result>;
  readonly deadlines: Deadlines;
}

/** So many nodes lost within one lease time are a mass. */
const MASS_LOSS = 3;

/** Losses that are looked back at. */
const MAX_LOSSES = 16;

/** A failure waits so long for a second look to begin: longer, and it is the answer. */
const MAX_SECOND_LOOK_MS = 600_000;

/** What becomes of a task when an attempt ended badly: the next attempt, by the cause, or the end. */
export class Retries<Work, Result> {
  readonly #parts: Parts<Work, Result>;
  readonly #options: SchedulerOptions;
  #requeued = new Set<Task<Work, Result>['demand']>();
  /** The last losses, to tell one from many. */
  #losses: { readonly node: string; readonly action: string; readonly atMs: number }[] = [];

  constructor(parts: Parts<Work, Result>, options: SchedulerOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** The demands that got a task back since the last call. */
  takeRequeued(): ReadonlySet<Task<Work, Result>['demand']> {
    const demands = this.#requeued;
    if (demands.size > 0) this.#requeued = new Set();
    return demands;
  }

  /** Whether a failure of this attempt is to be seen in the largest size class before it is believed (R-BB-23). */
  goesToLarger({ task, sizeClass }: Lease<Work, Result>, verdict: Verdict): boolean {
    const { onLarger, maxAttempts } = this.#options.retries;
    // A fault of the machinery says nothing about the size of the machine.
    if (sizeClass === 0 || verdict === 'worker-fault' || onLarger === 'nothing') return false;
    if (verdict === 'failure' && onLarger !== 'failure') return false;
    if ((task.trouble?.largerClass ?? 0) > 0 || task.leases.length >= maxAttempts) return false;
    // A failure is probably the action's own: it is not worth starting a machine for.
    return this.#parts.placement.largestClass(task.demand, verdict === 'exhausted') > sizeClass;
  }

  /** The size class that the queued tasks of a demand were to run in is gone: any will do. */
  relax(demand: Task<Work, Result>['demand']): void {
    const { queue, effects, tasks } = this.#parts;
    const { instance, needs, avoids, sizeClass } = demand;
    const any = queue.demandOf({ instance, needs, avoids: [...avoids], sizeClass: 0 });
    for (const task of [...demand.queue.items()].sort((a, b) => a.arrival - b.arrival)) {
      if (task.trouble?.fallback !== undefined) {
        tasks.giveUp(task);
        continue;
      }
      queue.remove(task);
      task.demand = any;
      queue.push(task);
      effects.stageAll(task, `there are no workers of size class ${sizeClass} or above any more`);
    }
    this.#requeued.add(any);
  }

  /**
   * Whether a loss is an event of its own. When several nodes are lost within one lease time, with different actions, it is the network
   * or an operator, and no action is to blame. One action that takes down several is.
   */
  isSingle({ node, task }: Lease<Work, Result>, nowMs: number): boolean {
    const sinceMs = nowMs - this.#options.leaseTimeoutMs;
    this.#losses = this.#losses.filter(({ atMs }) => atMs > sinceMs).slice(-MAX_LOSSES);
    const action = task.keyText;
    const others = this.#losses.filter((loss) => loss.action !== action && loss.node !== node.name);
    this.#losses.push({ node: node.name, action, atMs: nowMs });
    return new Set(others.map((loss) => loss.node)).size + 1 < MASS_LOSS;
  }

  /** An attempt that was lost goes on after all: it did no harm. */
  revived({ task, node }: Lease<Work, Result>): void {
    const { trouble } = task;
    if (trouble === undefined) return;
    trouble.lost = Math.max(0, trouble.lost - 1);
    if (trouble.tookDown.delete(node.name)) trouble.downs--;
  }

  /** Its worker was lost. @param facts.kind of the error, if it was the last attempt. */
  lost(
    lease: Lease<Work, Result>,
    reason: string,
    { isToBlame, kind }: { readonly isToBlame: boolean; readonly kind: ErrorKind },
    nowMs: number,
  ): void {
    const { task } = lease;
    const trouble = troubleOf(task);
    trouble.lost++;
    if (isToBlame) {
      trouble.downs++;
      trouble.tookDown.add(lease.node.name);
      avoid(trouble, lease.node.name);
    }
    if (!this.#isOpenEnded(task)) return;
    const { quarantineAfter, maxLost } = this.#options.retries;
    const isOver = trouble.lost > maxLost || this.#isSpent(task);
    // A small fleet has not enough nodes: there it is an action that never ended otherwise, more than once.
    const isPoison =
      trouble.tookDown.size >= quarantineAfter || (isOver && trouble.downs > 1 && trouble.downs === task.leases.length);
    if (quarantineAfter > 0 && isPoison) this.#quarantine(task, trouble, nowMs);
    else if (isOver) {
      const message = `the action lost its worker ${times(trouble.lost)}, the last time because ${reason}`;
      this.#parts.tasks.fail(task, kind, message);
    } else this.#again(lease, reason);
  }

  /** It ended, and another attempt may do better. @param outcome.result the end of the task, if there is none. */
  ended(
    lease: Lease<Work, Result>,
    verdict: Exclude<Verdict, 'success'>,
    { result, cause }: { readonly result: Result; readonly cause: string },
    nowMs: number,
  ): void {
    const { task } = lease;
    const trouble = troubleOf(task);
    const isLarger = this.goesToLarger(lease, verdict);
    if (verdict === 'worker-fault') trouble.faults++;
    if (verdict === 'exhausted') trouble.exhausted++;
    if (!this.#isOpenEnded(task)) return;
    const { maxFaults, maxExhausted } = this.#options.retries;
    if (trouble.faults > maxFaults || trouble.exhausted > maxExhausted || this.#isSpent(task)) {
      this.#parts.tasks.finish(task, { type: 'result', result });
      return;
    }
    if (isLarger) this.#enlarge(lease, { trouble, result, verdict }, nowMs);
    // A failure of the action itself says nothing against the node.
    else avoid(trouble, lease.node.name);
    this.#again(lease, cause === '' ? `worker ${lease.slot} failed` : cause);
  }

  /** Whether its end is open: nothing else runs, and somebody waits. An orphan that nobody claimed just ends. */
  #isOpenEnded(task: Task<Work, Result>): boolean {
    if (task.state !== 'leased' || task.leases.some(isLive)) return false;
    if (task.operations.size > 0) return true;
    this.#parts.tasks.end(task);
    return false;
  }

  #isSpent(task: Task<Work, Result>): boolean {
    return task.leases.length >= this.#options.retries.maxAttempts;
  }

  /** What the small machine said stands if nothing comes of the second look. */
  #enlarge(
    { task, sizeClass }: Lease<Work, Result>,
    {
      trouble,
      result,
      verdict,
    }: { readonly trouble: Trouble<Result>; readonly result: Result; readonly verdict: Verdict },
    nowMs: number,
  ): void {
    const { placement, effects, deadlines, tasks } = this.#parts;
    const largest = placement.largestClass(task.demand, verdict === 'exhausted');
    trouble.largerClass = largest;
    const patience = new Deadline((dueMs) => {
      if (task.state === 'queued') tasks.giveUp(task);
      else deadlines.set(patience, dueMs + MAX_SECOND_LOOK_MS);
    });
    deadlines.set(patience, nowMs + MAX_SECOND_LOOK_MS);
    trouble.fallback = { result, patience };
    const text = `the action failed in size class ${sizeClass} and is tried in class ${largest}`;
    effects.notice({ kind: 'retried-on-larger', key: task.key, text });
  }

  #again(lease: Lease<Work, Result>, reason: string): void {
    const { task } = lease;
    const { queue, effects } = this.#parts;
    const { instance, needs, sizeClass } = task.demand;
    const trouble = troubleOf(task);
    task.demand = queue.demandOf({
      instance,
      needs,
      avoids: trouble.faultyNodes,
      sizeClass: trouble.largerClass > 0 ? trouble.largerClass : sizeClass,
    });
    task.state = 'queued';
    task.hintedNode = undefined;
    queue.push(task);
    this.#requeued.add(task.demand);
    effects.stageAll(task, `attempt ${lease.attempt} did not end well: ${reason}`);
  }

  #quarantine(task: Task<Work, Result>, { tookDown, downs }: Trouble<Result>, nowMs: number): void {
    const nodes = [...tookDown].join(', ');
    const reason = `the action is quarantined: it took down its worker ${times(downs)} (on ${nodes})`;
    const { quarantine, effects, tasks } = this.#parts;
    quarantine.add({ key: task.key, reason, untilMs: nowMs + this.#options.retries.quarantineMs });
    effects.notice({ kind: 'action-quarantined', key: task.key, text: reason });
    tasks.fail(task, 'precondition', reason);
  }
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

function avoid<Result>(trouble: Trouble<Result>, node: string): void {
  trouble.faultyNodes = [...new Set([...trouble.faultyNodes, node])].sort();
}

function troubleOf<Work, Result>(task: Task<Work, Result>): Trouble<Result> {
  task.trouble ??= noTrouble();
  return task.trouble;
}
