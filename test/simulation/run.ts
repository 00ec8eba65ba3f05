import { parseArgs } from 'node:util';
import { account } from './report.ts';
import { runSeed } from './world.ts';

/** `npm run simulate -- --seeds N --from M`: runs N worlds and stops at the first violation, with exit code 1. */
function main(): void {
  const { values } = parseArgs({
    options: { seeds: { type: 'string', default: '1000' }, from: { type: 'string', default: '0' } },
  });
  const first = Number(values.from);
  const end = first + Number(values.seeds);
  let steps = 0;
  for (let seed = first; seed < end; seed++) {
    const verdict = runSeed(seed);
    steps += verdict.steps;
    if (verdict.violation !== undefined) {
      console.error(account(verdict));
      process.exitCode = 1;
      return;
    }
  }
  console.log(`seeds ${first} to ${end - 1}: ${steps} events, no law was broken`);
}

main();
