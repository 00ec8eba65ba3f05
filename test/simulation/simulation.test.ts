import assert from 'node:assert/strict';
import { PLANTED_BUGS } from './planted-bugs.ts';
import { account, knownSeeds } from './report.ts';
import { runSeed, type Verdict } from './world.ts';

const SEEDS = 200;

describe('simulated world', () => {
  let verdicts: readonly Verdict[] = [];

  before(() => {
    verdicts = Array.from({ length: SEEDS }, (_, seed) => runSeed(seed));
  });

  it(`keeps every law under seeds 0 to ${SEEDS - 1}`, () => {
    for (const verdict of verdicts) assertLawful(verdict);
  });

  it('keeps every law under the seeds that failed once', () => {
    for (const seed of knownSeeds()) assertLawful(runSeed(seed));
  });

  it('is decided by its seed alone', () => {
    assert.deepEqual(runSeed(7), runSeed(7));
    assert.notEqual(runSeed(7).steps, runSeed(8).steps);
  });

  it(`is hostile, but most of its operations get a result or a reason: thousands in ${SEEDS} worlds`, () => {
    const results = verdicts.reduce((sum, verdict) => sum + verdict.results, 0);
    assert.ok(results > 2_000, `${results} results`);
  });

  it('has everything in it that operators are told of', () => {
    const kinds = new Set(verdicts.flatMap(({ notices }) => [...notices]));
    const expected = ['action-quarantined', 'adopted', 'hedge-started', 'node-isolated', 'orphan-stopped'];
    assert.deepEqual([...kinds].sort(), [...expected, 'retried-on-larger']);
  });
});

describe('invariants', () => {
  for (const { name, start } of PLANTED_BUGS) {
    it(`notice within ${SEEDS} seeds that a rule is missing: ${name}`, () => {
      for (let seed = 0; seed < SEEDS; seed++) {
        if (runSeed(seed, start).violation !== undefined) return;
      }
      assert.fail(`${SEEDS} worlds without ${name} broke no law`);
    });
  }

  it('give an account with the seed, the law, the last events and a command', () => {
    const silent = PLANTED_BUGS.find(({ name }) => name === 'attempts');
    assert.ok(silent);
    let seed = 0;
    while (runSeed(seed, silent.start).violation === undefined) seed++;
    const lines = account(runSeed(seed, silent.start)).split('\n');
    assert.match(lines[0] ?? '', new RegExp(`^seed ${seed}, step \\d+: operation\\d+ ended with the attempts`));
    assert.match(lines.at(-2) ?? '', /^[\d.]+ \w+ .*→ .*finish operation\d+ /);
    assert.equal(lines.at(-1), `replay: npm run simulate -- --seeds 1 --from ${seed}`);
  });
});

function assertLawful(verdict: Verdict): void {
  assert.equal(verdict.violation, undefined, account(verdict));
}
