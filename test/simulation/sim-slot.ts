import type { Completion, LeaseOrder } from '../../src/execution/scheduler/events.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimHost } from './sim-host.ts';
import type { Timeline } from './timeline.ts';
import type { SimEvent, SimOffer, SimResult, SimWork } from './vocabulary.ts';

/** Longest that a slot waits for an answer before it calls again, in milliseconds. */
const CALL_TIMEOUT_MS = 75_000;

/** Rates of what goes wrong with one machine and its connection; all between 0 and 1, none while `isCalm`. */
export interface SlotFaults {
  isCalm: boolean;
  readonly messageLost: number;
  readonly messageTwice: number;
  readonly messageSlow: number;
  readonly workerFaulty: number;
}

interface Holding {
  readonly order: LeaseOrder<SimWork>;
  completed?: Completion<SimResult>;
}

/** What the slots of one world share. */
export interface SlotWorld {
  readonly timeline: Timeline;
  readonly random: SeededRandom;
  readonly host: SimHost;
  readonly faults: SlotFaults;
}

/** A slot that synchronises as R-BW says, over a connection that loses, repeats and delays messages. It reports, obeys, and forgets all when it crashes. */
export class SimSlot {
  readonly name: string;
  readonly node: string;
  readonly #world: SlotWorld;
  /** A plain bb_worker does not know lease ids. */
  readonly #isPlain: boolean;
  offer: SimOffer;
  prefersIdle = false;
  /** Called when an action takes its worker down. */
  onPoisoned: () => void = () => undefined;
  #life = 0;
  #isAlive = false;
  #isStuck = false;
  #calls = 0;
  #holding: Holding | undefined;

  constructor(
    world: SlotWorld,
    facts: { readonly name: string; readonly node: string; readonly offer: SimOffer; readonly isPlain: boolean },
  ) {
    this.#world = world;
    this.name = facts.name;
    this.node = facts.node;
    this.offer = facts.offer;
    this.#isPlain = facts.isPlain;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  start(): void {
    this.#isAlive = true;
    this.#isStuck = false;
    this.#sync();
  }

  /** Everything is forgotten; the host may notice if it holds an open poll. */
  crash(isNoticed: boolean): void {
    this.#life++;
    this.#calls++;
    this.#isAlive = false;
    this.#holding = undefined;
    if (isNoticed) this.#world.host.broken(this.name);
  }

  /** Says nothing for a while, but goes on running what it holds. */
  fallSilent(forMs: number): void {
    this.#isStuck = true;
    this.#inThisLife(forMs, () => {
      this.#isStuck = false;
      this.#sync();
    });
  }

  #sync(): void {
    if (!this.#isAlive || this.#isStuck) return;
    const call = ++this.#calls;
    const event = this.#report();
    const answer = (hold: LeaseOrder<SimWork> | undefined): void => {
      this.#transmit(() => {
        if (call === this.#calls) this.#obey(hold);
      });
    };
    this.#transmit(() => this.#world.host.call(event, answer));
    this.#inThisLife(CALL_TIMEOUT_MS, () => {
      if (call === this.#calls) this.#sync();
    });
  }

  #report(): Extract<SimEvent, { type: 'sync' }> {
    const held = this.#holding;
    const { wire, prefix } = this.offer;
    return {
      type: 'sync',
      slot: this.name,
      node: this.node,
      offer: wire,
      instancePrefix: prefix,
      prefersIdle: this.prefersIdle,
      ...(held === undefined
        ? {}
        : {
            holding: {
              action: held.order.key.action,
              ...(this.#isPlain ? {} : { lease: held.order.lease }),
              ...(held.completed === undefined ? {} : { completed: held.completed }),
            },
          }),
    };
  }

  #obey(hold: LeaseOrder<SimWork> | undefined): void {
    const { random } = this.#world;
    this.#calls++;
    const held = this.#holding;
    if (hold === undefined) this.#holding = undefined;
    else if (held?.order.lease !== hold.lease || held.completed !== undefined) this.#run(hold);
    const waitMs =
      this.#holding !== undefined || this.prefersIdle ? random.between(2_000, 10_000) : random.between(1, 50);
    const calls = this.#calls;
    this.#inThisLife(waitMs, () => {
      if (calls === this.#calls) this.#sync();
    });
  }

  #run(order: LeaseOrder<SimWork>): void {
    const { action, madeBy } = order.work;
    this.#holding = undefined;
    if (action.nature === 'is-refused') return;
    const holding: Holding = { order };
    this.#holding = holding;
    const { random, faults } = this.#world;
    const durationMs = Math.round(action.durationMs * (0.5 + random.fraction()));
    const isWorkerFault = !faults.isCalm && random.chance(faults.workerFaulty);
    this.#inThisLife(durationMs, () => {
      if (this.#holding !== holding) return;
      if (action.nature === 'crashes') {
        this.onPoisoned();
        return;
      }
      const result = { madeBy, isFault: isWorkerFault, isPlain: this.#isPlain, action: action.key.action.hash };
      holding.completed = { result, isWorkerFault };
      this.#sync();
    });
  }

  /** Delivers a message: late, twice or never, if there are faults. */
  #transmit(deliver: () => void): void {
    const { random, faults, timeline } = this.#world;
    const delayMs = (): number => random.between(1, !faults.isCalm && random.chance(faults.messageSlow) ? 20_000 : 40);
    if (!faults.isCalm && random.chance(faults.messageLost)) return;
    timeline.after(delayMs(), deliver);
    if (!faults.isCalm && random.chance(faults.messageTwice)) timeline.after(delayMs(), deliver);
  }

  #inThisLife(delayMs: number, act: () => void): void {
    const life = this.#life;
    this.#world.timeline.after(delayMs, () => {
      if (life === this.#life) act();
    });
  }
}
