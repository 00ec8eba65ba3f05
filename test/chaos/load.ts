import type { SeededRandom } from '../simulation/seeded-random.ts';
import type { BuildClient } from './build-client.ts';
import { type ActionPlan, type ChaosAction, chaosAction } from './chaos-action.ts';
import type { ChaosFleet } from './chaos-fleet.ts';
import type { Ledger } from './ledger.ts';

/** How many actions clients want at a time. */
const STREAMS = 14;

/** Clients with connections of their own. */
const CLIENTS = 3;

/** Clients that want things of all kinds, again and again. */
export class Load {
  readonly #clients: readonly BuildClient[];
  readonly #ledger: Ledger;
  readonly #random: SeededRandom;
  readonly #fleet: ChaosFleet;
  #number = 0;
  /** An action that the next of the clients asks for too. */
  #shared: ChaosAction | undefined;

  constructor(fleet: ChaosFleet, ledger: Ledger, random: SeededRandom) {
    this.#fleet = fleet;
    this.#ledger = ledger;
    this.#random = random;
    this.#clients = Array.from({ length: CLIENTS }, () => fleet.client(random.between(1, 1_000_000)));
  }

  /** Asks for more and more until it is enough; resolves when all that was asked for has ended. */
  async run(isEnough: () => boolean): Promise<void> {
    const stream = async (at: number): Promise<void> => {
      const client = this.#clients[at % CLIENTS];
      while (client !== undefined && !isEnough()) await this.#ledger.build(client, this.#next());
    };
    await Promise.all(Array.from({ length: STREAMS }, (_, at) => stream(at)));
  }

  #next(): ChaosAction {
    const shared = this.#shared;
    this.#shared = undefined;
    if (shared !== undefined) return shared;
    const action = chaosAction(this.#plan(), this.#fleet.canaries);
    const { exitCode, doNotCache } = action.plan;
    if (exitCode === 0 && !doNotCache && this.#random.chance(0.25)) this.#shared = action;
    return action;
  }

  #plan(): ActionPlan {
    const random = this.#random;
    const dice = random.fraction();
    const name = `action-${this.#number++}`;
    const seconds = random.chance(0.75) ? random.between(5, 30) / 100 : random.between(10, 35) / 10;
    const pools = [...new Set(this.#fleet.workers.map(({ plan }) => plan.pool))];
    const [first = '', ...others] = pools;
    return {
      name,
      seconds,
      exitCode: dice < 0.15 ? random.pick([1, 3, 137]) : 0,
      doNotCache: dice > 0.88,
      ...(random.chance(0.6) && { pool: random.pick([first, ...others]) }),
    };
  }
}
