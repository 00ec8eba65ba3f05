import assert from 'node:assert/strict';
import { stopEverything } from '../clients/gantry.ts';
import { chaosRound } from './chaos-round.ts';

describe('a fleet to which everything happens at once', () => {
  afterEach(stopEverything);

  it('finishes everything rightly, runs nothing again without a reason and loses nothing', async () => {
    const { executions } = await chaosRound(1, 12);
    assert.ok(executions > 10, `${executions} executions`);
  });
});
