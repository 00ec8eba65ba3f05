import assert from 'node:assert/strict';
import { Endpoint } from './endpoint.ts';
import { NO_DEVIATIONS } from './known-deviations.ts';
import { DEFAULT_PROFILE } from './profile.ts';
import { exitCodeOf } from './report.ts';
import { runSuite } from './run-suite.ts';
import { SUITE } from './suite.ts';

describe('SUITE', () => {
  it('has no two cases of one id', () => {
    assert.equal(new Set(SUITE.map(({ id }) => id)).size, SUITE.length);
  });

  it('gives each case an id, a sentence and the requirements it comes from', () => {
    for (const { id, rule, requirements } of SUITE) {
      assert.match(id, /^[a-z][a-z-]*(\.[a-z0-9-]+)+$/);
      assert.match(rule, /^[A-Z0-9].*\.$/, id);
      for (const requirement of requirements) assert.match(requirement, /^R-[A-Z]{2,3}-\d\d$/, id);
    }
  });

  it('passes no case when nobody answers', async () => {
    // Port 1 on this machine: refused at once, or given up after the time limit.
    const profile = { ...DEFAULT_PROFILE, callTimeoutMs: 200 };
    const endpoint = new Endpoint('127.0.0.1:1', profile);
    try {
      const report = await runSuite(SUITE, { endpoint, profile }, NO_DEVIATIONS);
      assert.deepEqual([report.counts.pass, exitCodeOf(report)], [0, 1]);
      assert.equal(report.counts.fail + report.counts.skip, SUITE.length);
    } finally {
      endpoint.close();
    }
  });
});
