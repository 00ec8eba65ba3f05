import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkModel } from './model-property.ts';

/** Runs between which folders are removed. */
const BATCH = 200;

/** `node test/torture/model.ts [--runs N]`: compares a local store with a naive model, by N random sequences of steps. */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { runs: { type: 'string', default: '2000' } } });
  const runs = Number(values.runs);
  for (let done = 0; done < runs; done += BATCH) {
    const folder = mkdtempSync(join(tmpdir(), 'gantry-model-'));
    try {
      await checkModel(Math.min(BATCH, runs - done), () => mkdtempSync(join(folder, 'store-')));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  console.log(`${runs} random sequences, no law was broken`);
}

await main();
