import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { eventually } from '../clients/eventually.ts';
import { stopEverything } from '../clients/gantry.ts';
import type { Ended } from './build-client.ts';
import { AWAIT_GATE, marksOf, openGate } from './canaries.ts';
import { type ActionPlan, type ChaosAction, chaosAction } from './chaos-action.ts';
import { ChaosFleet, WORKER_TIMEOUT_MS } from './chaos-fleet.ts';
import type { ChaosWorker } from './chaos-worker.ts';
import { Ledger } from './ledger.ts';

const PLAIN: ActionPlan = { name: '', seconds: 0.1, exitCode: 0, doNotCache: false };

/** Longer than a worker may be silent. */
const LONG_MS = WORKER_TIMEOUT_MS + 1_000;

describe('workers in trouble', () => {
  let fleet: ChaosFleet;
  let ledger: Ledger;

  const start = async (slots: readonly number[], execution: Readonly<Record<string, unknown>> = {}): Promise<void> => {
    const workers = slots.map((count, at) => ({ name: `worker-${at}`, slots: count, pool: `pool-${at}` }));
    fleet = await ChaosFleet.start({ workers, execution });
    ledger = new Ledger(fleet);
  };
  const worker = (at: number): ChaosWorker => fleet.workers[at] ?? assert.fail(`no worker ${at}`);
  const action = (plan: Partial<ActionPlan> & Pick<ActionPlan, 'name'>): ChaosAction =>
    chaosAction({ ...PLAIN, ...plan }, fleet.canaries);
  /** Asks for actions, and resolves when all of them run. */
  const begin = async (actions: readonly ChaosAction[]): Promise<{ readonly ended: Promise<readonly Ended[]> }> => {
    const client = fleet.client(1);
    const ended = Promise.all(actions.map((each) => ledger.build(client, each)));
    ended.catch(() => undefined);
    await eventually('all run', () => (ledger.running().length === actions.length ? true : undefined));
    return { ended };
  };
  const runsOf = ({ plan }: ChaosAction): number => marksOf(fleet.canaries, plan.name).runs.length;

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.log(fleet.output);
    await fleet.destroy();
    await stopEverything();
  });

  it('has what a killed worker ran finished by another one, and only that is run again', async () => {
    await start([2, 2]);
    const actions = [0, 1, 2, 3].map((at) =>
      action({ name: `killed-${at}`, first: AWAIT_GATE, exitCode: at === 0 ? 7 : 0 }),
    );
    const { ended } = await begin(actions);
    const victim = worker(0);
    await victim.crash();
    openGate(fleet.canaries);
    // Nobody comes back in its place: silence tells.
    await ended;
    for (const each of actions) {
      const { runs } = marksOf(fleet.canaries, each.plan.name);
      const wasKilled = runs.some(({ folder }) => victim.owns(folder));
      assert.equal(runs.length, wasKilled ? 2 : 1, each.plan.name);
    }
    await fleet.quiet([worker(1)]);
    await victim.restart();
    await fleet.quiet();
  });

  it('lets a worker that stood still for a short while go on, and one that did for long too if nobody else took its work', async () => {
    await start([1, 1]);
    const [short, long] = [
      action({ name: 'short', first: AWAIT_GATE, seconds: 3, pool: 'pool-0' }),
      action({ name: 'long', first: AWAIT_GATE, seconds: 3, pool: 'pool-1' }),
    ];
    const { ended } = await begin([short, long]);
    worker(0).sleep();
    worker(1).sleep();
    openGate(fleet.canaries);
    const sleptMs = Date.now();
    await eventually('a short while', () => (Date.now() - sleptMs > 1_500 ? true : undefined));
    worker(0).wake();
    await eventually('longer than a worker may be silent', () => (Date.now() - sleptMs > LONG_MS ? true : undefined));
    worker(1).wake();
    await ended;
    assert.deepEqual([runsOf(short), runsOf(long)], [1, 1]);
    await fleet.quiet();
  });

  it('runs nothing again because the server stood still', async () => {
    await start([3, 5]);
    const actions = Array.from({ length: 5 }, (_, at) =>
      action({ name: `still-${at}`, first: AWAIT_GATE, seconds: 8 }),
    );
    const { ended } = await begin(actions);
    fleet.sleepServer();
    openGate(fleet.canaries);
    const sleptMs = Date.now();
    await eventually('longer than a worker may be silent', () => (Date.now() - sleptMs > LONG_MS ? true : undefined));
    fleet.wakeServer();
    for (const { executes } of await ended) assert.equal(executes, 1);
    assert.deepEqual(actions.map(runsOf), [1, 1, 1, 1, 1]);
    await fleet.quiet();
  });

  it('loses nothing when all connections break again and again', async () => {
    await start([2, 2]);
    const actions = Array.from({ length: 12 }, (_, at) =>
      action({ name: `cut-${at}`, seconds: 1, exitCode: at % 4 === 0 ? 3 : 0, doNotCache: at % 4 === 1 }),
    );
    const client = fleet.client(1);
    let left = actions.length;
    let looks = 0;
    const ended = actions.map(async (each) => {
      const end = await ledger.build(client, each);
      left--;
      return end;
    });
    await eventually('everything is built', async () => {
      const proxies = [...fleet.workers.map(({ proxy }) => proxy), fleet.front];
      if (looks++ % 10 === 0) for (const proxy of proxies) proxy.cut();
      return left === 0 ? true : undefined;
    });
    await Promise.all(ended);
    ledger.expectRunsExplained();
    await fleet.quiet();
  });

  it('exit with 0 when they are told to, after what they run', async () => {
    await start([2, 1]);
    const actions = [0, 1].map((at) => action({ name: `last-${at}`, first: AWAIT_GATE, seconds: 2, pool: 'pool-0' }));
    const { ended } = await begin(actions);
    openGate(fleet.canaries);
    assert.equal(await fleet.terminate(worker(0)), true);
    const { exitCode } = await worker(0).end();
    assert.equal(exitCode, 0, worker(0).output);
    await ended;
    assert.deepEqual(actions.map(runsOf), [1, 1]);
    await fleet.terminate(worker(1));
    assert.equal((await worker(1).end()).exitCode, 0);
    await fleet.quiet([]);
  });

  it('get nothing while they are drained, and their work afterwards', async () => {
    await start([1, 1]);
    await fleet.drain(worker(0));
    const [free, waiting] = [action({ name: 'free' }), action({ name: 'waiting', pool: 'pool-0' })];
    const client = fleet.client(1);
    const last = ledger.build(client, waiting);
    await ledger.build(client, free);
    await eventually('it is queued', async () =>
      (await fleet.snapshot()).counts?.queuedTasks === 1 ? true : undefined,
    );
    assert.equal(runsOf(waiting), 0);
    await fleet.undrain(worker(0));
    await last;
    await fleet.quiet();
  });

  it('are not all taken down by an action that kills each of them', async () => {
    await start([1, 1, 1, 1]);
    // The parent of its parent is the worker.
    const killer = action({ name: 'killer', first: 'kill -9 $(cut -d" " -f4 /proc/$PPID/stat); sleep 60' });
    const supervised = new AbortController();
    const supervision = fleet.workers.map((each) => each.supervise(supervised.signal));
    const client = fleet.client(1);
    const bystanders = Array.from({ length: 6 }, (_, at) => action({ name: `bystander-${at}`, seconds: 0.5 }));
    const [{ response }] = await Promise.all([
      client.build(killer),
      ...bystanders.map((each) => ledger.build(client, each)),
    ]);
    assert.equal(response.status?.code, status.FAILED_PRECONDITION, JSON.stringify(response));
    assert.match(response.status.message, /quarantine/);
    assert.equal(response.result, undefined);
    assert.equal(runsOf(killer), 3);
    const again = await client.execute(killer);
    assert.equal(again.response.status?.code, status.FAILED_PRECONDITION);
    assert.equal(runsOf(killer), 3);
    const { quarantined } = await fleet.snapshot();
    assert.deepEqual(
      quarantined.map((each) => each.action?.hash),
      [killer.digest.hash],
    );
    supervised.abort();
    await Promise.all(supervision);
  });
});
