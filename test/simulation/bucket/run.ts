import { parseArgs } from 'node:util';
import { account, LAST_EVENTS } from './report.ts';
import { runSeed } from './world.ts';

/** `npm run simulate:bucket -- --seeds N --from M`: runs N worlds and stops at the first violation, with exit code 1. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '0' },
      events: { type: 'string', default: String(LAST_EVENTS) },
    },
  });
  const first = Number(values.from);
  const end = first + Number(values.seeds);
  let acknowledged = 0;
  let deletions = 0;
  for (let seed = first; seed < end; seed++) {
    const verdict = await runSeed(seed);
    acknowledged += verdict.acknowledged;
    deletions += verdict.deletions;
    if (verdict.violation !== undefined) {
      console.error(account(verdict, Number(values.events)));
      process.exitCode = 1;
      return;
    }
  }
  console.log(
    `seeds ${first} to ${end - 1}: ${acknowledged} writes, ${deletions} containers deleted, no law was broken`,
  );
}

await main();
