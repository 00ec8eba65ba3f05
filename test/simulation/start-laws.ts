import type { LeaseOrder } from '../../src/execution/scheduler/events.ts';
import type { SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { FairRule } from './fair-rule.ts';
import { check } from './law.ts';
import type { Model } from './model.ts';
import { demandOf, fits, type ModelSlot, type ModelTask, takenFrom } from './model-parts.ts';
import type { SimWork } from './vocabulary.ts';

/**
 * The laws of new leases:
 *
 * - they go to a slot that satisfies the task, serves its instance name, is open and has enough left on its node;
 * - the task waits, and is the one whose turn it is by `FairRule` among those the slot could run; or it is a straggler that
 *   is tried a second time, on another machine, while nothing else waits for this slot;
 * - attempts count up one by one to their limit, on machines that have not failed the task while there are others.
 */
export class StartLaws {
  readonly #model: Model;
  readonly #options: SchedulerOptions;

  constructor(model: Model, options: SchedulerOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** A slot that holds nothing is told to hold something. @throws Violation */
  check(hold: LeaseOrder<SimWork>, slot: ModelSlot, nowMs: number): void {
    const { lease: id, work, attempt } = hold;
    check(work !== undefined, `${slot.name} is told to hold ${id} without work`);
    check(!this.#model.tasks.leases.has(id), `${id} came back on ${slot.name}`);
    const task = this.#model.operations.get(work.madeBy)?.task;
    check(
      task !== undefined && task.madeBy === work.madeBy,
      `${id} is for ${work.madeBy}, which has no task of its own`,
    );
    check(id.startsWith(this.#options.leasePrefix), `${id} is no lease id of this server`);
    check(!this.#model.isReuniting(nowMs), `${id} was started before workers could say what they run`);
    check(fits(task, slot.offer), `${slot.name} does not satisfy ${id}`);
    check(!this.#model.fleet.isDrained(slot), `${slot.name} is drained and got ${id}`);
    check(!slot.prefersIdle, `${slot.name} prefers to be idle and got ${id}`);
    check(slot.node.isolatedUntilMs === undefined, `${slot.name} is isolated and got ${id}`);
    check(attempt === task.leases.length + 1, `attempt ${attempt} of ${task.id} follows ${task.leases.length}`);
    check(this.hasRoom(task, slot), `${slot.node.name} has too little left for ${id}`);
    const isHedge = task.state === 'leased';
    if (isHedge) this.#hedge(task, slot, nowMs);
    else this.#turn(task, slot);
    this.#model.tasks.start(task, slot, { id, isConfirmed: false, isHedge }, nowMs);
  }

  /** Whether its node has enough left; a lease that is alone there always has. */
  hasRoom({ action }: ModelTask, { node }: ModelSlot): boolean {
    if (action.cores === undefined || node.cores === undefined) return true;
    const taken = takenFrom(node, this.#model.tasks.leases.values());
    return taken === 0 || taken + action.cores <= node.cores;
  }

  /** Whether what is left on the node may be kept for a task that needs more of it. */
  mayBeKept(task: ModelTask, slot: ModelSlot, queued: readonly ModelTask[]): boolean {
    if (task.action.cores === undefined) return false;
    return queued.some((other) => {
      if (other.action.cores === undefined || demandOf(other) === demandOf(task)) return false;
      return [...this.#model.fleet.slots.values()].some(({ node, offer }) => node === slot.node && fits(other, offer));
    });
  }

  #turn(task: ModelTask, slot: ModelSlot): void {
    check(task.state === 'queued', `${task.id} is ${task.state} and was started on ${slot.name}`);
    const { maxAttempts } = this.#options.retries;
    check(task.leases.length < maxAttempts, `${task.id} has had ${task.leases.length} attempts`);
    const isAvoided = (other: ModelTask): boolean =>
      other.faultyNodes.has(slot.node.name) && this.#model.fleet.hasOtherNode(other);
    check(!isAvoided(task), `${task.id} came back to ${slot.node.name}, which failed it`);
    const queued = this.#model.tasks.queued();
    let rivals = queued.filter((other) => fits(other, slot.offer) && !isAvoided(other));
    const { tasks, servedMs } = this.#model.tasks;
    const rule = new FairRule(tasks, servedMs, this.#options.fairness);
    for (;;) {
      const first = rule.first(rivals);
      if (first === undefined || first === task) return;
      const mayWait = !this.hasRoom(first, slot) || this.mayBeKept(first, slot, queued);
      check(mayWait, `${slot.name} got ${task.id} before ${first.id}`);
      rivals = rivals.filter((other) => demandOf(other) !== demandOf(first));
    }
  }

  #hedge(task: ModelTask, slot: ModelSlot, nowMs: number): void {
    const { isOn, factor, minMs } = this.#options.hedging;
    const [first, ...others] = task.live;
    check(isOn && first !== undefined, `${task.id} runs, and was started again on ${slot.name}`);
    check(others.length === 0, `${task.id} is tried more than twice at a time`);
    check(task.isMergeable && task.expectedMs !== undefined, `${task.id} must not be tried twice`);
    const dueMs = first.startedAtMs + Math.max(minMs, factor * task.expectedMs);
    check(nowMs >= dueMs, `${task.id} is no straggler yet`);
    check(
      task.leases.every(({ node }) => node !== slot.node),
      `${task.id} is tried again on ${slot.node.name}`,
    );
    const queued = this.#model.tasks.queued();
    const waits = queued.find((other) => {
      if (!fits(other, slot.offer) || !this.hasRoom(other, slot) || this.mayBeKept(other, slot, queued)) return false;
      return !(other.faultyNodes.has(slot.node.name) && this.#model.fleet.hasOtherNode(other));
    });
    check(waits === undefined, `${task.id} is tried twice while ${waits?.id} waits for ${slot.name}`);
  }
}
