import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROUNDS_PER_FOLDER, runFolder } from './kill-rounds.ts';

/**
 * `node test/torture/kill.ts [--rounds N] [--seed S] [--sync group|none] [--dir D]`: kills a store N times under load, ten times a
 * folder, and stops at the first promise that is broken, with exit code 1; the folder of the failure stays.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '100' },
      seed: { type: 'string', default: '0' },
      sync: { type: 'string' },
      dir: { type: 'string', default: tmpdir() },
    },
  });
  const rounds = Number(values.rounds);
  const firstSeed = Number(values.seed);
  let done = 0;
  let killed = 0;
  let acknowledgements = 0;
  let seed = firstSeed;
  for (; done < rounds; seed++) {
    const sync = values.sync === 'group' || values.sync === 'none' ? values.sync : seed % 2 === 0 ? 'group' : 'none';
    const folder = mkdtempSync(join(values.dir, 'gantry-kill-'));
    const verdict = await runFolder(folder, { seed, sync, rounds: Math.min(ROUNDS_PER_FOLDER, rounds - done) });
    done += verdict.rounds;
    killed += verdict.killed;
    acknowledgements += verdict.acknowledgements;
    if (verdict.violations.length > 0) {
      console.error(`seed ${seed}, sync ${sync}, folder ${folder}:\n${verdict.violations.slice(0, 20).join('\n')}`);
      console.error(`again: node test/torture/kill.ts --rounds ${ROUNDS_PER_FOLDER} --seed ${seed} --sync ${sync}`);
      process.exitCode = 1;
      return;
    }
    rmSync(folder, { recursive: true });
  }
  console.log(
    `seeds ${firstSeed} to ${seed - 1}: ${done} rounds, ${killed} of them killed before they were done, ` +
      `${acknowledgements} acknowledgements, no promise was broken`,
  );
}

await main();
