import type { Explanation, SchedulerView } from '../../src/execution/scheduler/view.ts';
import { check } from './law.ts';
import type { Model } from './model.ts';
import { fits, type ModelOperation, type ModelTask } from './model-parts.ts';
import type { SimWork } from './vocabulary.ts';

/** The laws of the view: it counts what the outside counts, and says why anything waits. */
export class ViewLaws {
  readonly #view: SchedulerView<SimWork>;
  readonly #model: Model;

  constructor(view: SchedulerView<SimWork>, model: Model) {
    this.#view = view;
    this.#model = model;
  }

  /** @throws Violation */
  look(nowMs: number): void {
    this.#counts();
    for (const operation of this.#model.operations.values()) {
      if (!operation.isFinished) this.#explains(operation, nowMs);
    }
  }

  #counts(): void {
    const { fleet, tasks, unfinished } = this.#model;
    const slots = [...fleet.slots.values()];
    const states = [...tasks.tasks].map(({ state }) => state);
    const count = (state: ModelTask['state']): number => states.filter((other) => other === state).length;
    const expected = {
      operations: unfinished,
      queuedTasks: count('queued'),
      executingTasks: count('leased'),
      recordingTasks: count('recording'),
      slots: slots.length,
      busySlots: slots.filter(({ lease }) => lease !== undefined).length,
      waitingSlots: slots.filter((slot) => slot.isPolling && fleet.isOpen(slot)).length,
      drainedSlots: slots.filter((slot) => fleet.isDrained(slot) || slot.node.isolatedUntilMs !== undefined).length,
    };
    const told = this.#view.counts;
    const names = Object.keys(expected) as (keyof typeof expected)[];
    for (const name of names)
      check(told[name] === expected[name], `there are ${expected[name]} ${name}, not ${told[name]}`);
    const queued = [...this.#view.demands()].reduce((sum, demand) => sum + demand.queued, 0);
    check(queued === expected.queuedTasks, `the demands have ${queued} tasks`);
    const inPools = [...this.#view.pools()].reduce((sum, pool) => sum + pool.slots, 0);
    check(inPools === expected.slots, `the pools have ${inPools} slots`);
  }

  #explains({ name, task }: ModelOperation, nowMs: number): void {
    const explanation = this.#view.explain(name, nowMs);
    check(explanation !== undefined && explanation.text !== '', `nobody says why ${name} waits`);
    const state = { queued: 'queued', leased: 'executing', recording: 'recording', kept: '', over: '' }[task.state];
    check(explanation.state === state, `${name} is ${state}, and explained as ${explanation.state}`);
    check(explanation.attempts.length === task.leases.length, `${name} is explained with the wrong attempts`);
    if (task.state === 'queued') this.#blocks(name, task, explanation);
  }

  #blocks(name: string, task: ModelTask, { rank, competitors, blocks, expectedStartMs }: Explanation): void {
    const rivals = this.#rivals(task);
    check(competitors === rivals, `${name} competes with ${rivals} tasks, not ${competitors}`);
    check(rank !== undefined && rank >= 1 && rank <= rivals, `${name} has the rank ${rank} of ${rivals}`);
    check(!Number.isNaN(expectedStartMs ?? 0), `${name} is expected to start at ${expectedStartMs}`);
    const slots = [...this.#model.fleet.slots.values()].filter(({ offer }) => fits(task, offer));
    const open = slots.filter((slot) => this.#model.fleet.isOpen(slot));
    for (const block of blocks) {
      if (block.kind === 'all-busy') {
        check(
          open.every(({ lease }) => lease !== undefined),
          `${name} waits for busy slots, and some are idle`,
        );
        check(block.slots === open.length, `${name} waits for ${open.length} slots, not ${block.slots}`);
      } else if (block.kind === 'drained') {
        const closed = slots.length - open.length;
        check(block.slots === closed, `${name} is explained by ${block.slots} closed slots, and there are ${closed}`);
      } else if (block.kind === 'no-such-worker' || block.kind === 'pool-empty') {
        check(slots.length === 0, `${name} is explained by workers that are absent, and there are ${slots.length}`);
      }
    }
    const isBusy = open.length > 0 && open.every(({ lease }) => lease !== undefined);
    check(!isBusy || blocks.some(({ kind }) => kind === 'all-busy'), `${name} waits for busy slots, which is not said`);
    const isAbsent = slots.length === 0;
    check(!isAbsent || blocks.length === 1, `${name} has no worker, which is not said`);
  }

  /** Queued tasks that some kind of worker could run as well as this one; only kinds that are connected are known for sure. */
  #rivals(task: ModelTask): number {
    return this.#model.tasks.queued().filter((other) => other === task || this.#model.fleet.compete(task, other))
      .length;
  }
}
