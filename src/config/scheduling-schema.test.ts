import assert from 'node:assert/strict';
import { configurationSchema } from './schema.ts';
import { GIB } from './units.ts';

type Execution = ReturnType<typeof executionOf>;

function executionOf(execution: object) {
  return configurationSchema.parse({ execution }).execution;
}

/** What is wrong with a section of `execution`, as `key: message`. */
function problemsOf(execution: object): readonly string[] {
  const issues = configurationSchema.safeParse({ execution }).error?.issues ?? [];
  return issues.map(({ path, message }) => `${path.slice(1).join('.')}: ${message}`);
}

describe('the policies of the scheduler', () => {
  const defaults: Execution = executionOf({});

  it('have a default for every key', () => {
    assert.equal(defaults.adoptionGraceSeconds, 120);
    assert.deepEqual(defaults.retries, {
      ...{ maxAttempts: 5, maxLost: 3, maxFaults: 2, maxExhausted: 1, onLarger: 'failure' },
      ...{ quarantineAfter: 3, quarantineSeconds: 3600, maxQuarantined: 1000 },
    });
    assert.deepEqual(defaults.fairness, {
      ...{ levels: ['principal', 'correlated', 'invocation'], ageingSecondsPerPoint: 60, pointsPerDoubling: 100 },
      ...{ maxPriority: 1000, longestFirst: 4, unknownSeconds: 10, weights: [] },
    });
    assert.deepEqual(defaults.hedging, { enabled: false, factor: 4, minSeconds: 30, maxShare: 0.05 });
    assert.deepEqual(defaults.isolation, { faultsInARow: 5, window: 40, maxShare: 0.25, forSeconds: 900 });
    assert.deepEqual(defaults.history, { maxActions: 100_000 });
    assert.deepEqual(defaults.trace, { file: '', maxBytes: GIB });
  });

  it('can be changed one key at a time', () => {
    const changed = executionOf({ retries: { maxLost: 0 }, hedging: { enabled: true }, fairness: { levels: [] } });
    assert.deepEqual(changed.retries, { ...defaults.retries, maxLost: 0 });
    assert.deepEqual(changed.hedging, { ...defaults.hedging, enabled: true });
    assert.deepEqual(changed.fairness, { ...defaults.fairness, levels: [] });
  });

  for (const [execution, message] of [
    [{ workerTimeoutSeconds: 19 }, /^workerTimeoutSeconds: must be at least twice execution\.synchronizeSeconds, 20: /],
    [{ synchronizeSeconds: 31 }, /^workerTimeoutSeconds: must be at least twice execution\.synchronizeSeconds, 62: /],
    [{ adoptionGraceSeconds: 3601 }, /^adoptionGraceSeconds: .*<=3600/],
    [{ retries: { maxAttempts: 0 } }, /^retries\.maxAttempts: .*>=1/],
    [{ retries: { onLarger: 'always' } }, /^retries\.onLarger: /],
    [{ fairness: { ageingSecondsPerPoint: 0 } }, /^fairness\.ageingSecondsPerPoint: .*>=1/],
    [{ fairness: { pointsPerDoubling: 0 } }, /^fairness\.pointsPerDoubling: .*>=1/],
    [{ fairness: { levels: ['user'] } }, /^fairness\.levels\.0: /],
    [{ fairness: { levels: ['principal', 'principal'] } }, /^fairness\.levels: names a level twice$/],
    [{ hedging: { factor: 1 } }, /^hedging\.factor: .*>=1\.1/],
    [{ hedging: { maxShare: 1.5 } }, /^hedging\.maxShare: .*<=1/],
    [{ hedging: { isOn: true } }, /isOn/],
    [{ isolation: { faultsInARow: 41 } }, /^isolation\.faultsInARow: must not be above execution\.isolation\.window$/],
    [{ history: { maxActions: -1 } }, /^history\.maxActions: .*>=0/],
    [{ trace: { maxBytes: '1 kB' } }, /^trace\.maxBytes: .*>=1048576/],
  ] as const) {
    it(`refuse ${JSON.stringify(execution)}, naming the key`, () => {
      const [problem = '', ...others] = problemsOf(execution);
      assert.deepEqual(others, []);
      assert.match(problem, message);
    });
  }
});

describe('execution.fairness.weights', () => {
  const weightsOf = (weights: readonly object[], others: object = {}) =>
    problemsOf({ fairness: { weights, ...others } });

  it('are by level, with a star at the end for many', () => {
    const weights = [
      { level: 'principal', id: 'ci-*', weight: 4 },
      { level: 'invocation', id: 'ci-*', weight: 0.5 },
      { level: 'principal', id: '*', weight: 1 },
      { level: 'principal', id: '', weight: 0.01 },
    ];
    assert.deepEqual(weightsOf(weights), []);
    assert.deepEqual(executionOf({ fairness: { weights } }).fairness.weights, weights);
  });

  for (const weight of [0, -1, 1001, Number.NaN]) {
    it(`refuse the weight ${weight}`, () => {
      assert.match(weightsOf([{ level: 'principal', id: 'a', weight }]).join(), /^fairness\.weights\.0\.weight: /);
    });
  }

  for (const id of ['a*b', '**', 'x'.repeat(1025)]) {
    it(`refuse the id ${id.slice(0, 10)}`, () => {
      assert.match(weightsOf([{ level: 'principal', id, weight: 1 }]).join(), /^fairness\.weights\.0\.id: /);
    });
  }

  it('stand once, and for a level that shares', () => {
    const weights = [
      { level: 'principal', id: 'a', weight: 2 },
      { level: 'invocation', id: 'a', weight: 2 },
      { level: 'principal', id: 'a', weight: 3 },
    ];
    assert.deepEqual(weightsOf(weights), ['fairness.weights.2.id: there is a weight for the principal "a" already']);
    assert.deepEqual(weightsOf(weights.slice(0, 2), { levels: ['principal'] }), [
      'fairness.weights.1.level: "invocation" is not one of execution.fairness.levels',
    ]);
  });
});
