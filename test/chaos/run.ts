import { parseArgs } from 'node:util';
import { stopEverything } from '../clients/gantry.ts';
import { chaosRound } from './chaos-round.ts';

/** `node test/chaos/run.ts [--rounds N] [--from SEED] [--faults F]`, after `npm run build`. Ends with exit code 1 if a round fails. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '20' },
      from: { type: 'string', default: '1' },
      faults: { type: 'string', default: '13' },
    },
  });
  const first = Number(values.from);
  let executions = 0;
  const failed: number[] = [];
  for (let seed = first; seed < first + Number(values.rounds); seed++) {
    try {
      const verdict = await chaosRound(seed, Number(values.faults));
      executions += verdict.executions;
      console.log(`seed ${seed}: ${verdict.executions} executions, ${verdict.story.length / 2} faults`);
    } catch (error) {
      console.error(error instanceof Error ? error.message : error);
      failed.push(seed);
    }
    await stopEverything();
  }
  console.log(
    `${values.rounds} rounds from seed ${first}: ${executions} executions, failed seeds: ${failed.join(', ') || 'none'}`,
  );
  if (failed.length > 0) process.exitCode = 1;
}

await main();
