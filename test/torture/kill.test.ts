import assert from 'node:assert/strict';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ROUNDS_PER_FOLDER, runFolder } from './kill-rounds.ts';

describe('LocalStore in a process that is killed', () => {
  for (const [sync, seed] of [
    ['group', 1001],
    ['none', 1002],
    ['group', 1003],
    ['none', 1004],
  ] as const) {
    it(`keeps what it acknowledged, and shows nothing torn: seed ${seed}, sync ${sync}`, async () => {
      const verdict = await runFolder(temporaryFolder(), { seed, sync, rounds: ROUNDS_PER_FOLDER });
      assert.deepEqual(verdict.violations, []);
      assert.ok(verdict.killed > 0 && verdict.acknowledgements > 0);
    });
  }
});
