import { setTimeout as delay } from 'node:timers/promises';
import type { CaseContext } from '../../conformance/case.ts';
import { Gantry } from '../clients/gantry.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { seededPlan } from '../support/faulty-s3-plan.ts';
import type { S3Server } from '../support/s3-server.ts';
import { Ledger } from './ledger.ts';
import { drained, S3World } from './s3-world.ts';

/** Who stores things at the same time. */
const STREAMS = 6;

/** What goes wrong on the way to S3 while a server is loaded. */
const RATES = {
  status: 0.08,
  'fail-after': 0.04,
  reset: 0.05,
  stall: 0.02,
  'slow-first-byte': 0.05,
  truncate: 0.03,
};

/** How many rounds go by between two looks from another machine. */
const ROUNDS_PER_RECOVERY = 3;

/** How a run goes. */
export interface KillOptions {
  readonly seed: number;
  readonly rounds: number;
  readonly durability: 's3' | 'local';
}

/** What happened. */
export interface KillVerdict {
  readonly acknowledgements: number;
  /** Times that a server was killed before it was ready. */
  readonly killedStarting: number;
  readonly faults: number;
}

/**
 * Kills a server again and again, at moments that the seed decides, under a load of uploads and with trouble on the way to S3. After each kill
 * the next server is asked for all that was acknowledged; now and then, and at the end, so is one on an empty machine.
 * @throws AssertionError if something is lost.
 */
export async function killRounds(server: S3Server, options: KillOptions): Promise<KillVerdict> {
  const { seed, rounds, durability } = options;
  const random = new SeededRandom(seed);
  const ledger = new Ledger(seed);
  const world = await S3World.start(server);
  const impatient = { requestTimeoutSeconds: 1, refreshSeconds: 1, maxSmallPacksPerSecond: 20, durability };
  const config = world.config({ s3: impatient });
  let killedStarting = 0;
  try {
    let data: string | undefined;
    for (let round = 1; round <= rounds; round++) {
      // Reading the index takes many requests: with trouble in each start there would be little else.
      if (random.chance(0.25)) makeTrouble(world, random, seed * 1000 + round);
      const begun = Gantry.begin({ role: 'server', config, ...(data !== undefined && { data }) });
      data = begun.data;
      if (random.chance(0.2)) {
        await delay(random.between(100, 700));
        begun.child.signal('SIGKILL');
        await begun.child.end();
        killedStarting++;
      } else {
        const gantry = await begun.ready();
        makeTrouble(world, random, seed * 2000 + round);
        await loadUntilKilled(gantry, world.client(gantry), { ledger, random });
      }
      endTrouble(world);
      const isLast = round === rounds;
      if (isLast || random.chance(0.7)) {
        const where = `seed ${seed}, round ${round}, ${durability}`;
        const next = await Gantry.start({ role: 'server', config, data });
        await ledger.expectKept(world.client(next), `${where}, the same machine`);
        if (isLast || round % ROUNDS_PER_RECOVERY === 0)
          await expectRecovered(next, { world, ledger, where, durability });
        await next.crash();
      }
    }
    return { acknowledgements: ledger.acknowledgements, killedStarting, faults: world.proxy.injected() };
  } finally {
    await world.stop();
  }
}

/** Under `s3` at any time, under `local` when all has been uploaded, a machine that knows nothing finds everything. */
async function expectRecovered(
  gantry: Gantry,
  parts: {
    readonly world: S3World;
    readonly ledger: Ledger;
    readonly where: string;
    readonly durability: 's3' | 'local';
  },
): Promise<void> {
  const { world, ledger, where, durability } = parts;
  if (durability === 'local') await drained(gantry);
  const fresh = await Gantry.start({ role: 'server', config: world.config() });
  await ledger.expectKept(world.client(fresh), `${where}, an empty machine`);
  await fresh.stop();
}

/** Several clients store until, after so many answers of any kind, the server is killed while the others wait for theirs. */
async function loadUntilKilled(
  gantry: Gantry,
  client: CaseContext,
  { ledger, random }: { readonly ledger: Ledger; readonly random: SeededRandom },
): Promise<void> {
  let left = random.between(1, 60);
  let killed: Promise<void> | undefined;
  const stream = async (): Promise<void> => {
    while (killed === undefined) {
      await ledger.putSomething(client);
      if (--left <= 0) killed ??= gantry.crash();
    }
  };
  await Promise.all(Array.from({ length: STREAMS }, stream));
  await killed;
}

function makeTrouble(world: S3World, random: SeededRandom, seed: number): void {
  world.proxy.setPlan(random.chance(0.8) ? seededPlan(seed, RATES) : undefined);
  world.proxy.skewClock(random.chance(0.3) ? random.pick([-3_600_000, 3_600_000]) : 0);
}

function endTrouble(world: S3World): void {
  world.proxy.setPlan(undefined);
  world.proxy.skewClock(0);
  world.proxy.release();
}
