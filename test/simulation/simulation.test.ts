import assert from 'node:assert/strict';
import { PLANTED_BUGS } from './planted-bugs.ts';
import { account, knownSeeds } from './report.ts';
import { runSeed, type Verdict } from './world.ts';

const SEEDS = 200;

describe('simulated world', () => {
  it(`keeps every law under seeds 0 to ${SEEDS - 1}`, () => {
    for (let seed = 0; seed < SEEDS; seed++) assertLawful(runSeed(seed));
  });

  it('keeps every law under the seeds that failed once', () => {
    for (const seed of knownSeeds()) assertLawful(runSeed(seed));
  });

  it('is decided by its seed alone', () => {
    assert.deepEqual(runSeed(7), runSeed(7));
    assert.notEqual(runSeed(7).steps, runSeed(8).steps);
  });

  it('is hostile, but most of its operations get a result or a reason: hundreds in ten worlds', () => {
    let results = 0;
    for (let seed = 0; seed < 10; seed++) results += runSeed(seed).results;
    assert.ok(results > 200, `${results} results`);
  });
});

describe('invariants', () => {
  for (const { name, make } of PLANTED_BUGS) {
    it(`notice within ${SEEDS} seeds that a rule is missing: ${name}`, () => {
      for (let seed = 0; seed < SEEDS; seed++) {
        if (runSeed(seed, make).violation !== undefined) return;
      }
      assert.fail(`${SEEDS} worlds without ${name} broke no law`);
    });
  }

  it('give an account with the seed, the last events and a command', () => {
    const [expiry] = PLANTED_BUGS;
    assert.ok(expiry);
    const text = account(runSeed(0, expiry.make));
    assert.match(text, /^seed 0, step \d+: .* is silent and keeps lease-\d+\n/);
    assert.match(text, /\nreplay: npm run simulate -- --seeds 1 --from 0$/);
  });
});

function assertLawful(verdict: Verdict): void {
  assert.equal(verdict.violation, undefined, account(verdict));
}
