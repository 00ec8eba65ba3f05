import assert from 'node:assert/strict';
import { loadConfig } from '../config/load.ts';
import { DEFAULT_OPTIONS } from '../execution/scheduler/options.ts';
import { schedulerPolicy } from './scheduler-policy.ts';

function policyOf(...overrides: readonly (readonly [key: string, value: unknown])[]) {
  const flags = overrides.map(([key, value]) => ({ path: key.split('.'), value, source: 'test' }));
  const loaded = loadConfig({ environment: {}, flags });
  assert.ok(loaded.ok);
  return schedulerPolicy(loaded.config);
}

describe('schedulerPolicy', () => {
  it('is that of the scheduler by default', () => {
    const { retries, fairness, hedging, isolation, maxResends, platformGraceMs } = DEFAULT_OPTIONS;
    assert.deepEqual(policyOf(), { retries, fairness, hedging, isolation, maxResends, platformGraceMs });
  });

  it('takes seconds for milliseconds', () => {
    const policy = policyOf(
      ['execution.fairness.ageingSecondsPerPoint', 30],
      ['execution.hedging.minSeconds', 5],
      ['execution.retries.quarantineSeconds', 7],
    );
    assert.deepEqual(
      [policy.fairness.ageingMsPerPoint, policy.hedging.minMs, policy.retries.quarantineMs],
      [30_000, 5000, 7000],
    );
  });
});
