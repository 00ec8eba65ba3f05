import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatText } from '../../conformance/report.ts';
import { reportOn } from '../clients/conformance-report.ts';
import { Gantry, stopEverything } from '../clients/gantry.ts';
import { Minio } from '../support/minio.ts';
import type { S3Server } from '../support/s3-server.ts';
import { Versitygw } from '../support/versitygw.ts';
import { killRounds } from './kill-rounds.ts';
import { S3World } from './s3-world.ts';

/** Rounds that follow each other in one bucket and one data folder. */
const ROUNDS_PER_FOLDER = 10;

/**
 * `node test/s3/soak.ts [--rounds N] [--seed S] [--server minio|versitygw]`, after `npm run build`: the conformance suite over that S3 server, then a
 * server is killed N times under load and faults (kill-rounds.ts). Ends with exit code 1 at the first thing that is lost.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '300' },
      seed: { type: 'string', default: '1' },
      server: { type: 'string', default: 'minio' },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'gantry-s3-soak-'));
  const server = await (values.server === 'versitygw' ? Versitygw : Minio).start(folder);
  try {
    await conformance(server);
    console.log(await kills(server, Number(values.rounds), Number(values.seed)));
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await server.kill();
    await stopEverything();
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function conformance(server: S3Server): Promise<void> {
  for (const durability of ['s3', 'local']) {
    const world = await S3World.start(server);
    const gantry = await Gantry.start({ config: world.config({ s3: { durability } }) });
    const report = await reportOn(gantry);
    await gantry.stop();
    await world.stop();
    if (report.counts.fail > 0) throw new Error(formatText(report));
    console.log(`conformance with durability ${durability}: ${report.counts.pass} cases passed`);
  }
}

async function kills(server: S3Server, rounds: number, firstSeed: number): Promise<string> {
  let done = 0;
  let acknowledgements = 0;
  let faults = 0;
  let seed = firstSeed;
  for (; done < rounds; seed++) {
    const durability = seed % 2 === 0 ? 'local' : 's3';
    const verdict = await killRounds(server, { seed, rounds: Math.min(ROUNDS_PER_FOLDER, rounds - done), durability });
    done += Math.min(ROUNDS_PER_FOLDER, rounds - done);
    acknowledgements += verdict.acknowledgements;
    faults += verdict.faults;
    console.log(`seed ${seed}, durability ${durability}: ${JSON.stringify(verdict)}`);
    await stopEverything();
  }
  return `seeds ${firstSeed} to ${seed - 1}: ${done} kills, ${acknowledgements} acknowledgements, ${faults} faults, nothing was lost`;
}

await main();
