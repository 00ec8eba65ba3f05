import type { Completion, Labels, LeaseOrder, LeaseReport, Verdict } from '../../src/execution/scheduler/events.ts';
import type { CacheSketch } from '../../src/platform/locality.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Answer, SimHost } from './sim-host.ts';
import type { Timeline } from './timeline.ts';
import type { SimAction, SimOffer, SimResult, SimSync, SimWork } from './vocabulary.ts';

/** Longest that a slot waits for an answer before it calls again, in milliseconds. */
const CALL_TIMEOUT_MS = 75_000;

/**
 * What a worker knows. A plain bb_worker reports the action digest only, our previous version the lease too, this one the
 * whole key, and the next one what it has cached, and that it can exit.
 */
export type Version = 'plain' | 'previous' | 'ours' | 'next';

/** Rates of what goes wrong with one machine and its connection; all between 0 and 1, none while `isCalm`. */
export interface SlotFaults {
  isCalm: boolean;
  readonly messageLost: number;
  readonly messageTwice: number;
  readonly messageSlow: number;
}

/** What is wrong with a machine, as rates. */
export interface Health {
  readonly faulty: number;
  readonly failing: number;
}

interface Holding {
  readonly order: LeaseOrder<SimWork>;
  readonly action: SimAction;
  completed?: Completion<SimResult>;
}

/** What the slots of one world share. */
export interface SlotWorld {
  readonly timeline: Timeline;
  readonly random: SeededRandom;
  readonly host: SimHost;
  readonly faults: SlotFaults;
}

/** What a slot is. */
export interface SlotFacts {
  readonly name: string;
  readonly node: string;
  readonly labels: Labels;
  readonly health: Health;
  readonly offer: SimOffer;
  readonly version: Version;
  readonly cached: CacheSketch;
}

/** A slot that synchronises as R-BW says, over a connection that loses, repeats and delays messages. It reports, obeys, and forgets all when it crashes. */
export class SimSlot {
  readonly #world: SlotWorld;
  readonly #facts: SlotFacts;
  offer: SimOffer;
  version: Version;
  prefersIdle = false;
  /** Called when an action takes its worker down. */
  onPoisoned: () => void = () => undefined;
  #life = 0;
  #isAlive = false;
  #isStuck = false;
  #calls = 0;
  #holding: Holding | undefined;

  constructor(world: SlotWorld, facts: SlotFacts) {
    this.#world = world;
    this.#facts = facts;
    this.offer = facts.offer;
    this.version = facts.version;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  start(): void {
    if (this.#isAlive) return;
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
    if (isNoticed) this.#world.host.broken(this.#facts.name);
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
    const life = this.#life;
    const event = this.#report();
    const reply = (answer: Answer): void => {
      this.#transmit(() => {
        if (call === this.#calls) this.#obey(answer);
      });
    };
    const broken = (): void => {
      this.#world.timeline.after(this.#world.random.between(100, 15_000), () => {
        if (life === this.#life && call === this.#calls) this.#sync();
      });
    };
    this.#transmit(() => this.#world.host.call(event, { reply, broken }));
    this.#inThisLife(CALL_TIMEOUT_MS, () => {
      if (call === this.#calls) this.#sync();
    });
  }

  #report(): SimSync {
    const { name: slot, node, labels, cached } = this.#facts;
    const { wire, prefix } = this.offer;
    const isPlain = this.version === 'plain';
    return {
      type: 'sync',
      slot,
      node,
      offer: wire,
      instancePrefix: prefix,
      prefersIdle: this.prefersIdle,
      ...(isPlain || this.version === 'previous' ? {} : { labels }),
      ...(isPlain || this.version === 'previous' ? {} : { incarnation: String(this.#life) }),
      ...(this.version === 'next' ? { canExit: true, prefetches: true, cached } : {}),
      ...(this.#holding === undefined ? {} : { holding: this.#holdingReport(this.#holding) }),
    };
  }

  #holdingReport({ order, completed }: Holding): LeaseReport<SimResult> {
    return {
      action: order.key.action,
      ...(this.version === 'plain' ? {} : { lease: order.lease }),
      ...(this.version === 'ours' || this.version === 'next' ? { key: order.key } : {}),
      ...(completed === undefined ? {} : { completed }),
    };
  }

  #obey({ hold, exits }: Answer): void {
    const { random } = this.#world;
    this.#calls++;
    const held = this.#holding;
    if (exits === true) {
      this.crash(true);
      this.#world.timeline.after(random.between(1_000, 60_000), () => this.start());
      return;
    }
    if (hold === undefined) this.#holding = undefined;
    else if (held === undefined || !this.#isSame(held, hold)) this.#run(hold);
    const waitMs =
      this.#holding !== undefined || this.prefersIdle ? random.between(2_000, 10_000) : random.between(1, 50);
    const calls = this.#calls;
    this.#inThisLife(waitMs, () => {
      if (calls === this.#calls) this.#sync();
    });
  }

  /** A plain worker goes on with the same action, whoever wants it. */
  #isSame({ order, completed }: Holding, hold: LeaseOrder<SimWork>): boolean {
    if (completed !== undefined) return false;
    return this.version === 'plain' ? order.key.action.hash === hold.key.action.hash : order.lease === hold.lease;
  }

  #run(order: LeaseOrder<SimWork>): void {
    this.#holding = undefined;
    // Work that only a former server knew is told about by number alone: there is nothing to start.
    if (order.work === undefined || order.work.action.nature === 'is-refused') return;
    const { action } = order.work;
    const holding: Holding = { order, action };
    this.#holding = holding;
    const durationMs = Math.round(action.durationMs * (0.5 + this.#world.random.fraction()));
    this.#inThisLife(durationMs, () => {
      if (this.#holding !== holding) return;
      if (action.nature === 'crashes') {
        this.onPoisoned();
        return;
      }
      const verdict = this.#verdict(action);
      const isPlain = this.version === 'plain';
      const result = { lease: order.lease, verdict, isPlain, action: action.key.action.hash };
      holding.completed = { result, verdict };
      this.#sync();
    });
  }

  #verdict(action: SimAction): Verdict {
    const { random, faults } = this.#world;
    const { health } = this.#facts;
    if (!faults.isCalm && random.chance(health.faulty)) return 'worker-fault';
    const isShort = action.nature === 'is-big' && this.offer.sizeClass < 4;
    if (isShort && this.version !== 'plain' && this.version !== 'previous') return 'exhausted';
    const hasFailed = isShort || action.nature === 'fails' || random.chance(health.failing);
    return hasFailed ? 'failure' : 'success';
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
