import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Endpoint } from '../../conformance/endpoint.ts';
import { NO_DEVIATIONS } from '../../conformance/known-deviations.ts';
import { parseProfile } from '../../conformance/profile.ts';
import type { Report } from '../../conformance/report.ts';
import { runSuite } from '../../conformance/run-suite.ts';
import { SUITE } from '../../conformance/suite.ts';
import { type Gantry, ROOT } from './gantry.ts';

/** What the suite waits for in minutes by default, in a second. */
export const QUICK_EXECUTION = { platform: { graceSeconds: 0 }, adoptionGraceSeconds: 0, idlePollSeconds: 1 };

/** Runs the conformance suite against a server. @param features those that the server has, if not all. */
export async function reportOn(gantry: Gantry, features?: readonly string[]): Promise<Report> {
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
