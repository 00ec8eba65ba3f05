import assert from 'node:assert/strict';
import { PLANTED_BUGS } from './planted-bugs.ts';
import { account, knownSeeds } from './report.ts';
import { runSeed, type Verdict } from './world.ts';

const SEEDS = 12;

/** A missing rule has to show in one of so many worlds. */
const PLANTED_SEEDS = 200;

describe('simulated servers on one bucket', () => {
  it(`keep every law under seeds 0 to ${SEEDS - 1}`, async () => {
    for (let seed = 0; seed < SEEDS; seed++) assertLawful(await runSeed(seed));
  });

  it('keep every law under the seeds that failed once', async () => {
    for (const seed of knownSeeds()) assertLawful(await runSeed(seed));
  });

  it('are decided by their seed alone', async () => {
    assert.deepEqual(await runSeed(7), await runSeed(7));
    assert.notEqual((await runSeed(8)).acknowledged, (await runSeed(7)).acknowledged);
  });

  it('see many containers live and die: a hundred in three worlds', async () => {
    let deletions = 0;
    for (let seed = 0; seed < 3; seed++) deletions += (await runSeed(seed)).deletions;
    assert.ok(deletions > 100, `${deletions} deletions`);
  });
});

describe('laws of servers on one bucket', () => {
  for (const { name, plant, fromSeed = 0 } of PLANTED_BUGS) {
    it(`notice within ${PLANTED_SEEDS} seeds that a rule is missing: ${name}`, async () => {
      for (let seed = fromSeed; seed < fromSeed + PLANTED_SEEDS; seed++) {
        if ((await runSeed(seed, plant)).violation !== undefined) return;
      }
      assert.fail(`${PLANTED_SEEDS} worlds without ${name} broke no law`);
    });
  }

  it('give an account with the seed, the last events and a command', async () => {
    const [leases] = PLANTED_BUGS;
    assert.ok(leases);
    let verdict = await runSeed(0, leases.plant);
    for (let seed = 1; verdict.violation === undefined; seed++) verdict = await runSeed(seed, leases.plant);
    const text = account(verdict);
    assert.match(text, /^seed \d+, [\d.]+ s: .*\n[\d.]+ s: /);
    assert.match(text, /\nreplay: npm run simulate:bucket -- --seeds 1 --from \d+ --events 20000$/);
  });
});

function assertLawful(verdict: Verdict): void {
  assert.equal(verdict.violation, undefined, account(verdict));
}
