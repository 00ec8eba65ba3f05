import assert from 'node:assert/strict';
import { formatText } from '../../conformance/report.ts';
import { QUICK_EXECUTION, reportOn } from './conformance-report.ts';
import { Gantry, stopEverything } from './gantry.ts';

describe('the conformance suite', () => {
  afterEach(stopEverything);

  it('passes in every level against a server with a worker', async () => {
    const gantry = await Gantry.start({ config: { execution: QUICK_EXECUTION } });
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
