import type { InstanceName } from '../../src/digest/instance-name.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import type { MergePolicy, Scheduler } from '../../src/execution/scheduler/events.ts';
import { DEFAULT_OPTIONS, type SchedulerOptions } from '../../src/execution/scheduler/options.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import { Violation } from './invariants.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimHost } from './sim-host.ts';
import { SimSlot, type SlotWorld } from './sim-slot.ts';
import { Timeline } from './timeline.ts';
import {
  MATCHER,
  type SimAction,
  type SimOffer,
  type SimResult,
  type SimWork,
  simAction,
  simOffer,
} from './vocabulary.ts';

/** Makes the scheduler of a world; planted bugs pass one of their own. */
export type MakeScheduler = (options: SchedulerOptions) => Scheduler<SimWork, SimResult>;

/** How a world ended. */
export interface Verdict {
  readonly seed: number;
  /** Events the scheduler got. */
  readonly steps: number;
  /** Operations that got the result of an action. */
  readonly results: number;
  readonly violation?: string;
  /** The last events, if there is a violation. */
  readonly history: readonly string[];
}

/** Things go wrong for this long, in simulated milliseconds. */
const CHAOS_MS = 300_000;
/** After that everything must have come to rest by this time. */
const END_MS = 40_000_000;

const INSTANCES: readonly [InstanceName, ...InstanceName[]] = [
  parseInstanceName(''),
  parseInstanceName('team'),
  parseInstanceName('team/app'),
];

/**
 * One hostile world. The seed decides the machines, what they offer, how fast they are, which crash, fall silent, come back or do not; which
 * messages are late, lost or doubled; which clients vanish, come back or cancel; drains; records that fail or hang.
 * After `CHAOS_MS` faults end, some machines stay dead, and everything must come to rest.
 */
class World {
  readonly #random: SeededRandom;
  readonly #timeline = new Timeline();
  readonly #options: SchedulerOptions;
  readonly #offers = new Map<unknown, SimOffer>();
  readonly #host: SimHost;
  readonly #slotWorld: SlotWorld;
  readonly #machines: SimSlot[][] = [];
  readonly #actions: [SimAction, ...SimAction[]];
  readonly #finished = new Set<string>();
  readonly #faults;
  #operations = 0;
  #results = 0;

  constructor(seed: number, make: MakeScheduler) {
    const random = new SeededRandom(seed);
    this.#random = random;
    this.#options = drawOptions(random);
    const rate = (most: number): number => (random.chance(0.4) ? 0 : random.fraction() * most);
    this.#faults = {
      isCalm: false,
      recordFails: rate(0.3),
      recordHangs: rate(0.2),
      messageLost: rate(0.2),
      messageTwice: rate(0.2),
      messageSlow: rate(0.2),
      workerFaulty: rate(0.4),
    };
    const shared = { timeline: this.#timeline, random, faults: this.#faults };
    this.#host = new SimHost(make(this.#options), shared, this.#offers, this.#options);
    this.#host.onFinished = (operation, hasResult) => {
      this.#finished.add(operation);
      if (hasResult) this.#results++;
    };
    this.#slotWorld = { ...shared, host: this.#host };
    this.#actions = this.#drawActions();
    for (let count = random.between(1, 4); count > 0; count--) this.#addMachine();
    for (let count = random.between(10, 150); count > 0; count--) this.#plan(() => this.#submit());
    for (let count = random.between(0, 4); count > 0; count--) this.#plan(() => this.#drain());
    this.#timeline.after(CHAOS_MS, () => this.#calm());
  }

  get steps(): number {
    return this.#host.steps;
  }

  get results(): number {
    return this.#results;
  }

  get history(): readonly string[] {
    return this.#host.history;
  }

  /** @throws Violation */
  run(): void {
    while (this.#timeline.step(END_MS)) {
      if (this.#timeline.nowMs > CHAOS_MS && this.#isAtRest()) return;
    }
    this.#host.invariants.atRest();
  }

  #isAtRest(): boolean {
    return this.#finished.size === this.#operations && this.#host.model.tasks.size === 0 && this.#areSlotsFree();
  }

  #areSlotsFree(): boolean {
    return [...this.#host.model.slots.values()].every((slot) => slot.lease === undefined);
  }

  #plan(act: () => void): void {
    this.#timeline.after(this.#random.between(0, CHAOS_MS), act);
  }

  #drawActions(): [SimAction, ...SimAction[]] {
    const random = this.#random;
    const draw = (number: number): SimAction =>
      simAction(number, random.pick(INSTANCES), {
        os: random.pick(['linux', 'linux', 'linux', 'macos', undefined]),
        pool: random.pick([undefined, undefined, undefined, undefined, 'a', 'b', 'gpu']),
        durationMs: random.pick([100, 3_000, 20_000, 70_000]),
        nature: random.chance(0.1) ? random.pick(['crashes', 'is-refused']) : 'ordinary',
      });
    const actions: [SimAction, ...SimAction[]] = [draw(0)];
    for (let number = random.between(1, 9); number > 0; number--) actions.push(draw(number));
    return actions;
  }

  #drawOffer(): SimOffer {
    const random = this.#random;
    const pools = ['a', 'b'].filter(() => random.chance(0.6));
    const sets = [{ os: random.pick(['linux', 'linux', 'macos']), pools }];
    if (random.chance(0.2)) sets.push({ os: 'macos', pools: ['gpu'] });
    const offer = simOffer(sets, random.chance(0.85) ? INSTANCES[0] : random.pick(INSTANCES));
    this.#offers.set(offer.wire, offer);
    return offer;
  }

  #addMachine(): void {
    const random = this.#random;
    const node = `node${this.#machines.length}`;
    const offer = this.#drawOffer();
    const isPlain = random.chance(0.3);
    const slots: SimSlot[] = [];
    for (let thread = random.between(1, 3); thread > 0; thread--) {
      const slot = new SimSlot(this.#slotWorld, { name: `${node}.${thread}`, node, offer, isPlain });
      slot.onPoisoned = () => this.#crash(slots, 0);
      slots.push(slot);
      this.#timeline.after(random.between(0, random.chance(0.2) ? CHAOS_MS : 2_000), () => slot.start());
    }
    this.#machines.push(slots);
    for (let count = random.between(0, 3); count > 0; count--) this.#plan(() => this.#crash(slots, 0.3));
    for (let count = random.between(0, 2); count > 0; count--) this.#plan(() => this.#fallSilent(slots));
    for (let count = random.between(0, 2); count > 0; count--) this.#plan(() => this.#turnIdle(slots));
  }

  #crash(slots: readonly SimSlot[], forGood: number): void {
    const random = this.#random;
    if (!slots.some((slot) => slot.isAlive)) return;
    const isNoticed = random.chance(0.5);
    for (const slot of slots) slot.crash(isNoticed);
    if (random.chance(forGood)) return;
    const offer = random.chance(0.2) && !this.#faults.isCalm ? this.#drawOffer() : undefined;
    this.#timeline.after(random.between(100, 100_000), () => {
      for (const slot of slots) {
        slot.offer = offer ?? slot.offer;
        slot.start();
      }
    });
  }

  #fallSilent(slots: readonly SimSlot[]): void {
    for (const slot of slots) if (slot.isAlive) slot.fallSilent(this.#random.between(1_000, 200_000));
  }

  #turnIdle(slots: readonly SimSlot[]): void {
    for (const slot of slots) slot.prefersIdle = true;
    this.#timeline.after(this.#random.between(1_000, 60_000), () => {
      for (const slot of slots) slot.prefersIdle = false;
    });
  }

  #drain(): void {
    const node = `node${this.#random.between(0, this.#machines.length - 1)}`;
    this.#host.send({ type: 'drain', node, on: true });
    this.#timeline.after(this.#random.between(1_000, 120_000), () =>
      this.#host.send({ type: 'drain', node, on: false }),
    );
  }

  #submit(): void {
    const random = this.#random;
    const operation = `operation${this.#operations++}`;
    const action = random.pick(this.#actions);
    const merge: MergePolicy = random.pick(['any', 'any', 'any', 'fresh', 'never']);
    const { key, needs } = action;
    const work = { madeBy: operation, action };
    this.#host.send({ type: 'submit', operation, key, needs, priority: random.between(-1, 1), merge, work });
    if (random.chance(0.3)) this.#client(operation, 'detach');
    if (random.chance(0.1)) this.#client(operation, 'cancel');
  }

  #client(operation: string, type: 'detach' | 'cancel'): void {
    const random = this.#random;
    this.#timeline.after(random.between(0, 30_000), () => {
      this.#host.send({ type, operation });
      if (type === 'cancel' || random.chance(0.5)) return;
      this.#timeline.after(random.between(1_000, 90_000), () => this.#host.send({ type: 'attach', operation }));
    });
  }

  #calm(): void {
    this.#faults.isCalm = true;
  }
}

function drawOptions(random: SeededRandom): SchedulerOptions {
  return {
    ...DEFAULT_OPTIONS,
    maxAttempts: random.between(1, 4),
    maxResends: random.between(2, 9),
    maxQueuedTasks: random.chance(0.1) ? 3 : DEFAULT_OPTIONS.maxQueuedTasks,
    maxOperations: random.chance(0.05) ? 5 : DEFAULT_OPTIONS.maxOperations,
    maxSlots: random.chance(0.05) ? 2 : DEFAULT_OPTIONS.maxSlots,
  };
}

/** Runs the world of one seed to its end or its first violation. */
export function runSeed(seed: number, make: MakeScheduler = (options) => createScheduler(MATCHER, options)): Verdict {
  const world = new World(seed, make);
  try {
    world.run();
    return { seed, steps: world.steps, results: world.results, history: [] };
  } catch (error) {
    const isLaw = error instanceof Violation;
    const violation = isLaw ? error.message : String(error instanceof Error ? error.stack : error);
    return { seed, steps: world.steps, results: world.results, violation, history: world.history };
  }
}
