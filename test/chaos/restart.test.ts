import assert from 'node:assert/strict';
import { eventually } from '../clients/eventually.ts';
import { stopEverything } from '../clients/gantry.ts';
import { AWAIT_GATE, marksOf, openGate } from './canaries.ts';
import { chaosAction } from './chaos-action.ts';
import { ChaosFleet } from './chaos-fleet.ts';
import type { WorkerPlan } from './chaos-worker.ts';
import { Ledger } from './ledger.ts';

const PLAIN = { exitCode: 0, doNotCache: false };

/** Two workers with so many slots each. */
function twoWorkers(slots: number): readonly WorkerPlan[] {
  return ['one', 'two'].map((name) => ({ name, slots, pool: 'plain' }));
}

describe('a server that is killed while actions run', () => {
  let fleet: ChaosFleet | undefined;

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.log(fleet?.output);
    await fleet?.destroy();
    fleet = undefined;
    await stopEverything();
  });

  for (const [title, seconds, slots, end] of [
    ['killed', 5, 4, 'killServer'],
    ['killed, with slots to spare,', 4, 20, 'killServer'],
    ['stopped', 4, 4, 'stopServer'],
  ] as const) {
    it(`has all 8 of 8 actions finished when it was ${title} and is started again, and each ran once`, async () => {
      fleet = await ChaosFleet.start({ workers: twoWorkers(slots) });
      const { canaries } = fleet;
      const ledger = new Ledger(fleet);
      const client = fleet.client(1);
      const actions = Array.from({ length: 8 }, (_, at) =>
        chaosAction({ ...PLAIN, name: `plain-${at}`, first: AWAIT_GATE, seconds }, canaries),
      );
      const builds = Promise.all(actions.map((action) => ledger.build(client, action)));
      await eventually('all run', () => (ledger.running().length === 8 ? true : undefined));
      await fleet[end]();
      openGate(canaries);
      await fleet.startServer();
      const ended = await builds;
      assert.ok(
        ended.every(({ executes }) => executes >= 2),
        'each was asked for again',
      );
      for (const { plan } of actions) {
        const { runs, ends } = marksOf(canaries, plan.name);
        assert.deepEqual([runs.length, ends], [1, 1], plan.name);
      }
      await fleet.quiet();
    });
  }

  it('loses no result, no output and no finished operation', async () => {
    fleet = await ChaosFleet.start({ workers: twoWorkers(4) });
    const { canaries } = fleet;
    const ledger = new Ledger(fleet);
    const client = fleet.client(1);
    const actions = Array.from({ length: 60 }, (_, at) =>
      chaosAction({ name: `short-${at}`, seconds: 0.05, exitCode: at % 10 === 9 ? 3 : 0, doNotCache: false }, canaries),
    );
    const builds = Promise.all(actions.map((action) => ledger.build(client, action)));
    // Seen below, or the test has failed before.
    builds.catch(() => undefined);
    for (const least of [10, 30, 60]) {
      await eventually(`${least} ended`, () => (ledger.ended >= least ? true : undefined));
      const diedMs = Date.now();
      await fleet.killServer();
      const isBack = ledger.serverDied();
      await fleet.startServer();
      isBack();
      await ledger.expectKept(client, diedMs);
    }
    await builds;
    ledger.expectRunsExplained();
    await fleet.quiet();
  });
});
