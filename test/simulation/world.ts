import type { MergePolicy, Notice } from '../../src/execution/scheduler/events.ts';
import { createScheduler } from '../../src/execution/scheduler/scheduler.ts';
import {
  type Character,
  drawActions,
  drawCharacter,
  drawOffer,
  drawOptions,
  drawPool,
  drawShares,
  drawSketch,
} from './draws.ts';
import { Violation } from './law.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimHost, type Start } from './sim-host.ts';
import { SimSlot, type SlotWorld } from './sim-slot.ts';
import { Timeline } from './timeline.ts';
import { MATCHER, type SimAction, type SimOffer } from './vocabulary.ts';

/** How a world ended. */
export interface Verdict {
  readonly seed: number;
  /** Events the scheduler got. */
  readonly steps: number;
  /** Operations that got the result of an action. */
  readonly results: number;
  /** What operators were told of. */
  readonly notices: ReadonlySet<Notice['kind']>;
  readonly violation?: string;
  /** The last events, if there is a violation. */
  readonly history: readonly string[];
}

/** Things go wrong for this long, in simulated milliseconds. */
const CHAOS_MS = 300_000;
/** After that everything must have come to rest by this time. */
const END_MS = 40_000_000;

/**
 * One hostile world. The seed decides the machines, what they offer and know, how fast they are, which crash, fail, fall silent, come back or
 * do not; which messages are late, lost or doubled; which clients vanish, come back, cancel, or ask again; drains; records that fail or
 * hang; when the server stands still, or is killed and starts anew.
 * After `CHAOS_MS` faults end, some machines stay dead, and everything must come to rest.
 */
class World {
  readonly notices = new Set<Notice['kind']>();
  readonly #random: SeededRandom;
  readonly #timeline = new Timeline();
  readonly #character: Character;
  readonly #offers = new Map<unknown, SimOffer>();
  readonly #host: SimHost;
  readonly #slotWorld: SlotWorld;
  readonly #machines: SimSlot[][] = [];
  readonly #actions: [SimAction, ...SimAction[]];
  /** Operations that clients wait for, and what they asked for. */
  readonly #unfinished = new Map<string, SimAction>();
  readonly #faults;
  readonly #machineOffers: SimOffer[] = [];
  #operations = 0;
  #results = 0;

  constructor(seed: number, start: Start) {
    const random = new SeededRandom(seed);
    this.#random = random;
    this.#character = drawCharacter(random);
    const pools = random.chance(0.4) ? [drawPool(random, this.#drawOffer())] : [];
    const options = drawOptions(random, this.#character, pools);
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
    this.#actions = drawActions(random, this.#character);
    const actions = new Map(this.#actions.map((action) => [action.key.action.hash, action]));
    const shared = { timeline: this.#timeline, random, faults: this.#faults };
    this.#host = new SimHost(start, shared, { offers: this.#offers, actions, pools }, options);
    this.#host.onFinished = (operation, hasResult) => {
      this.#unfinished.delete(operation);
      if (hasResult) this.#results++;
    };
    this.#host.onNotice = (notice) => {
      this.notices.add(notice.kind);
      this.#pardon(notice);
    };
    this.#slotWorld = { ...shared, host: this.#host };
    this.#planAll();
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

  #planAll(): void {
    const random = this.#random;
    const machines = this.#character.hasBrokenMachines ? 6 : random.between(1, 4);
    for (let count = machines; count > 0; count--) this.#addMachine();
    const asked = random.between(10, this.#character.returns < 0.5 ? 30 : 150);
    for (let count = asked; count > 0; count--) {
      this.#plan(() => this.#submit(random.pick(this.#actions)));
    }
    for (let count = random.between(0, 4); count > 0; count--) this.#plan(() => this.#drain());
    if (random.chance(0.3)) this.#plan(() => this.#host.pause(random.between(1_000, 200_000)));
    for (let count = this.#character.kills; count > 0; count--) this.#plan(() => this.#kill());
    this.#timeline.after(CHAOS_MS, () => this.#calm());
  }

  #isAtRest(): boolean {
    const { tasks, fleet } = this.#host.model;
    const isFree = [...fleet.slots.values()].every((slot) => slot.lease === undefined);
    return this.#unfinished.size === 0 && tasks.tasks.size === 0 && isFree && !this.#host.isDown;
  }

  #plan(act: () => void): void {
    this.#timeline.after(this.#random.between(0, CHAOS_MS), act);
  }

  #drawOffer(): SimOffer {
    const offer = drawOffer(this.#random, this.#character);
    this.#offers.set(offer.wire, offer);
    return offer;
  }

  /** All the same, two in turn, or as it comes. */
  #nextOffer(): SimOffer {
    const { kinds } = this.#character;
    const known = kinds === 0 ? undefined : this.#machineOffers[this.#machines.length % kinds];
    const offer = known ?? this.#drawOffer();
    this.#machineOffers.push(offer);
    return offer;
  }

  #addMachine(): void {
    const random = this.#random;
    const node = `node${this.#machines.length}`;
    const offer = this.#nextOffer();
    const version = random.pick(this.#character.versions);
    const { hasBrokenMachines } = this.#character;
    const isBroken = this.#machines.length < 2 && hasBrokenMachines;
    const worst = random.pick([
      { faulty: 0.9, failing: 0 },
      { faulty: 0.9, failing: 0 },
      { faulty: 0, failing: 0.9 },
    ]);
    const health = isBroken ? worst : { faulty: hasBrokenMachines ? 0 : this.#faults.workerFaulty, failing: 0.05 };
    const cached = drawSketch(random);
    const slots: SimSlot[] = [];
    for (let thread = random.between(1, 3); thread > 0; thread--) {
      const labels = { node, thread: String(thread) };
      const slot = new SimSlot(this.#slotWorld, {
        ...{ name: `${node}.${thread}`, node, labels, health, offer, version, cached },
      });
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
    const version = random.chance(0.2) ? random.pick(this.#character.versions) : undefined;
    this.#timeline.after(random.between(100, 100_000), () => {
      for (const slot of slots) {
        slot.offer = offer ?? slot.offer;
        slot.version = version ?? slot.version;
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
    const random = this.#random;
    const node = `node${random.between(0, this.#machines.length - 1)}`;
    const pattern = random.pick([{ node }, { node }, { node, thread: '1' }, { thread: '2' }, {}]);
    const isTermination = random.chance(0.4);
    this.#host.send({ type: 'drain', pattern, on: true, ...(isTermination ? { isTermination } : {}) });
    this.#timeline.after(random.between(1_000, 120_000), () => this.#host.send({ type: 'drain', pattern, on: false }));
  }

  /** An operator may find that it was right all the same. */
  #pardon(notice: Notice): void {
    const random = this.#random;
    const { kind } = notice;
    if ((kind !== 'node-isolated' && kind !== 'action-quarantined') || random.chance(0.5)) return;
    this.#timeline.after(random.between(1_000, 30_000), () => {
      if (kind === 'node-isolated') this.#host.send({ type: 'forgive', node: notice.node });
      else this.#host.send({ type: 'release', key: notice.key });
    });
  }

  /** Clients find their operations unknown, and most ask again. */
  #kill(): void {
    const random = this.#random;
    if (this.#host.isDown) return;
    const downMs = random.between(100, 20_000);
    this.#host.kill(downMs);
    const asked = [...this.#unfinished.values()];
    this.#unfinished.clear();
    for (const action of asked) {
      if (random.chance(this.#character.returns))
        this.#timeline.after(downMs + random.between(1, 30_000), () => this.#submit(action));
    }
  }

  #submit(action: SimAction): void {
    if (this.#host.isDown) return;
    const random = this.#random;
    const operation = `operation${this.#operations++}`;
    const merge: MergePolicy = random.pick(['any', 'any', 'any', 'fresh', 'never']);
    const { key, needs, expectedMs } = action;
    const { hasShares, hasClasses } = this.#character;
    this.#unfinished.set(operation, action);
    this.#host.send({
      ...{ type: 'submit', operation, key, needs, merge, priority: random.between(-2, 2) },
      work: { madeBy: operation, action },
      ...(expectedMs === undefined ? {} : { expectedMs }),
      ...(hasShares ? { shares: drawShares(random) } : {}),
      ...(hasClasses && random.chance(0.3) ? { sizeClass: random.pick([1, 4, 8]) } : {}),
      inputs: [{ hash: key.action.hash, sizeBytes: 1_000_000 }],
    });
    if (random.chance(0.3)) this.#client(operation, 'detach');
    if (random.chance(0.1)) this.#client(operation, 'cancel');
  }

  #client(operation: string, type: 'detach' | 'cancel'): void {
    const random = this.#random;
    // Between whole milliseconds: what is due at the very same time as something else may come in any order.
    this.#timeline.after(random.between(0, 30_000) + 0.5, () => {
      this.#host.send({ type, operation });
      if (type === 'cancel' || random.chance(0.5)) return;
      this.#timeline.after(random.between(1_000, 90_000), () => this.#host.send({ type: 'attach', operation }));
    });
  }

  #calm(): void {
    this.#faults.isCalm = true;
  }
}

/** Runs the world of one seed to its end or its first violation. @param start makes its scheduler; planted bugs pass one of their own. */
export function runSeed(seed: number, start: Start = (options) => createScheduler(MATCHER, options)): Verdict {
  const world = new World(seed, start);
  try {
    world.run();
    return { seed, steps: world.steps, results: world.results, notices: world.notices, history: [] };
  } catch (error) {
    const isLaw = error instanceof Violation;
    const violation = isLaw ? error.message : String(error instanceof Error ? error.stack : error);
    return {
      seed,
      steps: world.steps,
      results: world.results,
      notices: world.notices,
      violation,
      history: world.history,
    };
  }
}
