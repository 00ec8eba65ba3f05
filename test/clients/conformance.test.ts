import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Endpoint } from '../../conformance/endpoint.ts';
import { NO_DEVIATIONS } from '../../conformance/known-deviations.ts';
import { parseProfile } from '../../conformance/profile.ts';
import { formatText, type Report } from '../../conformance/report.ts';
import { runSuite } from '../../conformance/run-suite.ts';
import { SUITE } from '../../conformance/suite.ts';
import { Gantry, ROOT, stopEverything } from './gantry.ts';

async function reportOn(gantry: Gantry, features?: readonly string[]): Promise<Report> {
  const text = readFileSync(join(ROOT, 'conformance/profiles/gantry.json'), 'utf8');
  const json: unknown = JSON.parse(text);
  assert.ok(json instanceof Object);
  const profile = parseProfile(JSON.stringify(features === undefined ? json : { ...json, features }));
  const endpoint = new Endpoint(gantry.grpcAddress, profile);
  try {
    return await runSuite(SUITE, { endpoint, profile }, NO_DEVIATIONS);
  } finally {
    endpoint.close();
  }
}

describe('the conformance suite', () => {
  afterEach(stopEverything);

  it('passes in every level against a server with a worker', async () => {
    const gantry = await Gantry.start({ config: { execution: { platform: { graceSeconds: 0 } } } });
    const report = await reportOn(gantry);
    assert.equal(report.counts.fail, 0, formatText(report));
  });

  it('passes against a server that serves two instance names only', async () => {
    const instanceNames = { kind: 'list', names: ['main', 'other'] };
    const gantry = await Gantry.start({ flags: ['--embedded-worker=false'], config: { instanceNames } });
    const report = await reportOn(gantry, ['actionCacheUpdate', 'restrictedInstances', 'queryWriteStatus']);
    assert.equal(report.counts.fail, 0, formatText(report));
  });
});
