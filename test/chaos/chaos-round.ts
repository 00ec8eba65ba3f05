import { SeededRandom } from '../simulation/seeded-random.ts';
import { ChaosFleet } from './chaos-fleet.ts';
import type { WorkerPlan } from './chaos-worker.ts';
import { Faults } from './faults.ts';
import { Ledger } from './ledger.ts';
import { Load } from './load.ts';

/** Innocent actions lose workers again and again here, which must not be held against them or the workers. */
const FORGIVING = {
  retries: { maxAttempts: 50, maxLost: 50, maxFaults: 50, quarantineAfter: 0 },
  isolation: { faultsInARow: 0 },
};

/** What happened in a round. */
export interface RoundVerdict {
  readonly executions: number;
  readonly story: readonly string[];
}

/**
 * Clients build, everything goes wrong, as the seed decides, and in the end nothing is the worse for it: every execution ended as it has to,
 * nothing ran again without a reason, nothing is left over, and a last crash of the server loses nothing.
 * @throws AssertionError, with all that happened.
 */
export async function chaosRound(seed: number, faultCount: number): Promise<RoundVerdict> {
  const random = new SeededRandom(seed);
  const fleet = await ChaosFleet.start({ workers: workersOf(random), execution: FORGIVING });
  const ledger = new Ledger(fleet);
  const faults = new Faults(fleet, ledger, random);
  try {
    await play(fleet, { ledger, faults, random, faultCount });
    return { executions: ledger.ended, story: faults.story };
  } catch (cause) {
    const told = [`seed ${seed}: ${String(cause)}`, ...faults.story, fleet.output].join('\n');
    throw new Error(told, { cause });
  } finally {
    await fleet.destroy();
  }
}

async function play(
  fleet: ChaosFleet,
  parts: {
    readonly ledger: Ledger;
    readonly faults: Faults;
    readonly random: SeededRandom;
    readonly faultCount: number;
  },
): Promise<void> {
  const { ledger, faults, random, faultCount } = parts;
  let isEnough = false;
  const load = new Load(fleet, ledger, random).run(() => isEnough);
  const trouble = faults.make(faultCount).finally(() => {
    isEnough = true;
  });
  await Promise.all([load, trouble]);
  await fleet.quiet();
  ledger.expectRunsExplained();
  const diedMs = Date.now();
  await fleet.killServer();
  await fleet.startServer();
  await ledger.expectKept(fleet.client(random.between(1, 1_000_000)), diedMs);
  await fleet.quiet();
}

function workersOf(random: SeededRandom): readonly WorkerPlan[] {
  return ['red', 'blue', 'red', 'blue'].slice(0, random.between(3, 4)).map((pool, at) => ({
    name: `worker-${at}`,
    slots: random.between(1, 4),
    pool,
  }));
}
