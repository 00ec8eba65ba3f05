import assert from 'node:assert/strict';
import { FLEET_START_MS, FleetWorld } from '../../test/support/fleet-world.ts';
import { digestPath } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { parseInstanceName } from '../digest/instance-name.ts';

const ACTION = digestOf('sha256', Buffer.from('action'));
const PATH = digestPath(ACTION);
const KEY = { instance: parseInstanceName('main'), action: ACTION };
const NAME = 'main/operations/1';

describe('commands about the fleet', () => {
  let world: FleetWorld;

  beforeEach(async () => {
    world = new FleetWorld();
    await world.start();
  });

  afterEach(() => world.stop());

  function addQueued(): void {
    world.view.addTask({
      ...{ action: ACTION, instance: 'main', operations: [NAME, 'main/operations/2'], shares: ['alice\x1b[2J', ''] },
      ...{ queuedAtMs: FLEET_START_MS - 200_000, expectedMs: 4_000, priority: -5 },
    });
    world.view.addExplanation(NAME, {
      ...{ state: 'queued', rank: 3, competitors: 40, blocks: [{ kind: 'all-busy', slots: 12 }] },
      expectedStartMs: FLEET_START_MS + 120_000,
      attempts: [
        {
          ...{ attempt: 1, slot: 'a/1', node: 'node=a', startedAtMs: FLEET_START_MS - 90_000 },
          end: { atMs: FLEET_START_MS - 30_000, how: 'worker-lost', cause: 'silent\x07' },
        },
      ],
      text: '3rd of 40 in line for 12 busy slots.',
    });
  }

  const QUEUED = `\
Operation ${NAME}: queued, asked for 3 min 20 s ago; such actions take 4 s
Action ${PATH}, instance name "main"; 1 other operation waits for the same
For alice\\x1b[2J › (none), priority -5

3rd of 40 in line for 12 busy slots.

What it waits for:
  all 12 slots that fit are busy

ATTEMPT  STARTED                     RAN  ENDED        NODE    WHY
      1  2026-11-21T11:58:30Z  1 min 0 s  worker-lost  node=a  silent\\x07
`;

  describe('gantry why', () => {
    it('explains an operation, without what a terminal would obey', async () => {
      addQueued();
      assert.deepEqual(await world.run('why', NAME), { code: 0, out: QUEUED, err: '' });
    });

    it('explains an action, with every spelling', async () => {
      addQueued();
      for (const args of [[`${PATH}@main`], [PATH, '--instance', 'main'], [`main/blobs/${PATH}`]]) {
        assert.deepEqual(await world.run('why', ...args), { code: 0, out: QUEUED, err: '' });
      }
    });

    it('prints for programs', async () => {
      addQueued();
      const operation = JSON.parse((await world.run('why', NAME, '--json')).out);
      assert.deepEqual([operation.rank, operation.blocks[0].kind, operation.action.sizeBytes], [3, 'all-busy', 6]);
      const { operations } = JSON.parse((await world.run('why', `${PATH}@main`, '--json')).out);
      assert.deepEqual(operations, [operation]);
    });

    it('says how finished ones ended, and that an action is refused', async () => {
      const ended = { atMs: FLEET_START_MS, how: 'exit code 1', attempts: [] };
      world.known.push({ name: NAME, key: KEY, createdAtMs: FLEET_START_MS - 60_000, ended });
      world.view.addQuarantined({ key: KEY, reason: 'it kills', untilMs: FLEET_START_MS + 60_000 });
      const { code, out } = await world.run('why', `${PATH}@main`);
      assert.deepEqual(
        [code, out],
        [
          0,
          `\
The action is refused for another 1 min 0 s: it kills

Operation ${NAME}: finished, created 1 min 0 s ago
Action ${PATH}, instance name "main"

It finished at 2026-11-21T12:00:00.000Z: exit code 1.
`,
        ],
      );
    });

    it('fails if nothing is known', async () => {
      const operation = await world.run('why', NAME);
      const message = 'gantry: there is no such operation; it may have expired\n';
      assert.deepEqual(operation, { code: 1, out: '', err: message });
      const { code, out } = await world.run('why', PATH);
      assert.deepEqual(
        [code, out],
        [1, `Action ${PATH}\nIt is not in the queue, and no finished operation of it is retained.\n`],
      );
    });
  });

  describe('gantry top', () => {
    it('prints one snapshot where there is no terminal', async () => {
      addQueued();
      const { code, out, err } = await world.run('top');
      assert.deepEqual([code, err], [0, '']);
      assert.match(out, /^gantry top {2}127\.0\.0\.1:\d+ {2}2026-11-21 12:00:00 UTC\n2 operations: 1 queued/);
      assert.match(out, /^main: any +1 +4 s +3 min 20 s {2}no worker fits$/m);
      assert.equal(out.includes('\x1b'), false);
      assert.equal((await world.run('top', '--once')).out, out);
    });
  });

  describe('gantry fleet', () => {
    beforeEach(() => {
      const { view } = world;
      const pool = view.addPool({ name: 'linux' });
      const task = view.addTask({ action: ACTION, instance: 'main' });
      view.addSlot({ pool, node: 'a', labels: { host: 'a', thread: '0' }, task, lastHeardMs: FLEET_START_MS - 5_000 });
      view.addSlot({ pool, node: 'a', labels: { host: 'a', thread: '1' }, isDrained: true });
      view.addSlot({ pool, node: 'b\x07', labels: { host: 'b' }, isPolling: true, lastHeardMs: FLEET_START_MS });
    });

    it('lists nodes, drains, isolated nodes and the quarantine', async () => {
      world.view.addDrain({
        pattern: { host: 'a', thread: '1' },
        reason: 'new kernel',
        isTermination: false,
        sinceMs: FLEET_START_MS - 60_000,
      });
      world.view.addIsolated({ node: 'c', reason: '5 faults in a row', sinceMs: FLEET_START_MS - 60_000 });
      world.view.addQuarantined({ key: KEY, reason: 'it kills', untilMs: FLEET_START_MS + 60_000 });
      assert.equal(
        (await world.run('fleet', 'list')).out,
        `\
NODE   SLOTS  BUSY  STATE            HEARD OF  POOL   RUNS
a          2     1  drained in part  5 s       linux  ${ACTION.hash.slice(0, 12)}
b\\x07      1     0  open             0 s       linux

DRAIN            SINCE      THEN  REASON
host=a thread=1  1 min 0 s  stay  new kernel

ISOLATED  SINCE      REASON
c         1 min 0 s  5 faults in a row

${'QUARANTINED ACTION'.padEnd(66)}  INSTANCE  FOR        REASON
${PATH}  main      1 min 0 s  it kills
`,
      );
      const { nodes } = JSON.parse((await world.run('fleet', 'list', '--json')).out);
      assert.equal(nodes[0].slots.length, 2);
    });

    it('lists a fleet that is too large for the messages of build tools', async () => {
      const pool = world.view.addPool({ name: 'large' });
      const text = 'x'.repeat(2 ** 20);
      for (let thread = 0; thread < 17; thread++) {
        world.view.addSlot({ pool, node: 'huge', labels: { thread: String(thread), text } });
      }
      const { code, out, err } = await world.run('fleet', 'list');
      assert.deepEqual([code, err], [0, '']);
      assert.match(out, /^huge +17 /m);
    });

    it('drains and undrains', async () => {
      const missing = await world.run('fleet', 'undrain', 'host=a');
      assert.deepEqual([missing.code, missing.err], [1, 'gantry: there is no drain of exactly host=a\n']);
      const drained = await world.run('fleet', 'drain', 'host=a', '--reason', 'new kernel');
      assert.deepEqual([drained.code, drained.out], [0, 'draining host=a: 2 slots on 1 node, 1 of them busy (on a)\n']);
      const { out } = await world.run('fleet', 'undrain', 'host=a');
      assert.equal(out, 'host=a is no longer drained: 2 slots on 1 node, 1 of them busy (on a)\n');
      assert.deepEqual(world.applied, [
        { type: 'drain', pattern: { host: 'a' }, on: true, reason: 'new kernel', isTermination: false },
        { type: 'drain', pattern: { host: 'a' }, on: false },
      ]);
    });

    it('drains everything if that is said', async () => {
      const { out } = await world.run('fleet', 'drain', '--all');
      assert.equal(out, 'draining everything: 3 slots on 2 nodes, 1 of them busy (on a)\n');
    });

    it('terminates, and says when it is done', async () => {
      const { code, out } = await world.run('fleet', 'terminate', 'host=b');
      assert.deepEqual(
        [code, out],
        [0, 'terminating host=b: 1 slot on 1 node, 0 of them busy\nnothing that matches holds an action any more\n'],
      );
      assert.equal(world.applied[0]?.type === 'drain' && world.applied[0].isTermination, true);
      assert.equal(
        (await world.run('fleet', 'terminate', 'host=z')).out.split('\n')[0],
        'terminating host=z: no slot matches now',
      );
    });

    it('does not wait for termination if it is told so', async () => {
      const { code, out } = await world.run('fleet', 'terminate', 'host=a', '--wait-seconds', '0');
      assert.deepEqual([code, out], [0, 'terminating host=a: 2 slots on 1 node, 1 of them busy (on a)\n']);
    });

    it('fails when the wait is over before they are done', async () => {
      const running = world.run('fleet', 'terminate', 'host=a', '--wait-seconds', '0.5');
      while (world.clock.armed === 0) await new Promise((resolve) => setImmediate(resolve));
      world.clock.advance(500);
      const { code, err } = await running;
      assert.deepEqual([code, err], [1, 'gantry: after 0.5 seconds they are not done; they go on terminating\n']);
    });

    it('forgives a node and releases an action', async () => {
      world.view.addIsolated({ node: 'c', reason: '', sinceMs: 0 });
      world.view.addQuarantined({ key: KEY, reason: '', untilMs: 0 });
      assert.equal((await world.run('fleet', 'forgive', 'c')).out, 'c gets work again\n');
      assert.equal((await world.run('fleet', 'release', `${PATH}@main`)).out, `the action ${PATH} may run again\n`);
      assert.deepEqual(world.applied, [
        { type: 'forgive', node: 'c' },
        { type: 'release', key: KEY },
      ]);
      const { code, err } = await world.run('fleet', 'forgive', 'd');
      assert.deepEqual([code, err], [1, 'gantry: the node "d" is not isolated\n']);
    });
  });

  for (const [args, message] of [
    [['why'], /missing required argument 'what'/],
    [['why', 'x'], /"x" does not name a blob/],
    [['why', `${PATH}@main`, '--instance', 'other'], /give two instance names/],
    [['why', `operations/${'x'.repeat(2_000)}`], /too long for the name of an operation/],
    [['top', '--interval-seconds', '0'], /--interval-seconds must be a number from 0\.5 to 60/],
    [['top', '--interval-seconds', ''], /--interval-seconds must be a number/],
    [['fleet', 'drain'], /say which slots: NAME=VALUE …, or --all/],
    [['fleet', 'drain', 'a=b', '--all'], /contradict/],
    [['fleet', 'undrain', 'host'], /"host" is no label; write NAME=VALUE/],
    [['fleet', 'terminate', '=a'], /"=a" is no label/],
    [['fleet', 'terminate', 'a=b', 'a=c'], /the label "a" comes twice/],
    [['fleet', 'terminate', 'a=b', '--wait-seconds', '-1'], /--wait-seconds must be a number from 0 to 86400/],
    [['fleet', 'release', 'x'], /"x" does not name a blob/],
    [['fleet', 'forgive'], /missing required argument 'node'/],
  ] as const) {
    it(`refuse ${args.join(' ').slice(0, 60)} with exit code 2`, async () => {
      const { code, out, err } = await world.run(...args);
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, message);
      assert.deepEqual(world.applied, []);
    });
  }
});

describe('commands about the fleet against another server', () => {
  it('say what it lacks', async () => {
    const world = new FleetWorld();
    await world.start({ hasFleet: false });
    try {
      for (const args of [['why', NAME], ['top'], ['fleet', 'list'], ['fleet', 'terminate', '--all']]) {
        const { code, out, err } = await world.run(...args);
        assert.deepEqual([code, out], [1, '']);
        assert.match(err, /^gantry: the server has no gantry\.v1\.Fleet: it is an older Gantry or another program$/m);
      }
    } finally {
      await world.stop();
    }
  });
});
