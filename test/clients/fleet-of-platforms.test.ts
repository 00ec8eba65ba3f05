import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Code } from '../../src/gen/google/rpc/code.ts';
import { Gate, Journal } from './action-script.ts';
import type { Child } from './child.ts';
import { type DeclaredWorker, fleetOf, startDeclaredWorker } from './declared-worker.ts';
import { eventually } from './eventually.ts';
import { Gantry, gantryCommand, stopEverything, temporaryFolder } from './gantry.ts';
import { type Execution, type Properties, propertyList, RemoteActions } from './remote-actions.ts';
import { WireWorker } from './wire-worker.ts';

/** Counted from the start, and from the moment the last fitting worker is gone: time for `gantry why` on a busy machine. */
const GRACE_SECONDS = 6;

const CONFIG = {
  execution: {
    platform: {
      graceSeconds: GRACE_SECONDS,
      rules: [
        { name: 'licence', match: 'minimum', isTaken: true },
        { name: 'storage', match: 'preference' },
      ],
    },
  },
};

const LINUX_X86 = { OSFamily: 'linux', ISA: 'x86-64' };

/** All of them run on this machine, and none says so. */
const MACOS: DeclaredWorker = { node: 'macos', properties: { OSFamily: 'macos', ISA: 'arm-a64' } };
const OTHERS: readonly DeclaredWorker[] = [
  { node: 'linux', properties: { OSFamily: 'linux', ISA: ['x86-64', 'avx2', 'avx512f'], storage: 'nvme' } },
  { node: 'gpu', properties: { ...LINUX_X86, pool: 'gpu', licence: '1', storage: 'tape' }, slots: 2 },
  { node: 'linux-arm', properties: { OSFamily: 'linux', ISA: 'arm-a64' } },
  { node: 'windows', properties: { OSFamily: 'windows', ISA: 'x86-64' } },
];

describe('a fleet of five declared platforms (R-PL)', () => {
  let server: Gantry;
  let actions: RemoteActions;
  let macos: Child;
  let macosFolder: string;
  /** Asked for before there was any worker. */
  let early: Execution;

  before(async () => {
    macosFolder = join(temporaryFolder(), 'worker');
    server = await Gantry.start({ role: 'server', config: CONFIG });
    actions = new RemoteActions(server.grpcAddress);
    early = await actions.start('true', { properties: { OSFamily: 'haiku' } });
    const starting = startDeclaredWorker(server, { ...MACOS, data: macosFolder });
    await Promise.all(OTHERS.map((worker) => startDeclaredWorker(server, worker)));
    macos = await starting;
  });

  after(async () => {
    actions?.close();
    await stopEverything();
  });

  /** Keeps a slot busy until the returned function has let it go. */
  async function occupy(properties: Properties): Promise<() => Promise<void>> {
    const gate = new Gate();
    const execution = await (await actions.start(gate.wait, { properties })).executing();
    return async () => {
      gate.open();
      await execution.worker();
    };
  }

  const ROUTES: readonly (readonly [string, Properties, string])[] = [
    ['linux on ARM', { OSFamily: 'linux', ISA: 'arm-a64' }, 'linux-arm'],
    ['linux on ARM in other words', { os: 'Linux', arch: 'aarch64' }, 'linux-arm'],
    ['macos', { OSFamily: 'darwin' }, 'macos'],
    ['windows', { OSFamily: 'windows', ISA: 'x86-64' }, 'windows'],
    ['a pool', { pool: 'gpu' }, 'gpu'],
    ['one extension of the processor', { ...LINUX_X86, ISA: ['x86-64', 'avx2'] }, 'linux'],
    ['two extensions of the processor', { ISA: ['avx512f', 'x86-64', 'avx2'] }, 'linux'],
    ['a licence', { ...LINUX_X86, licence: '1' }, 'gpu'],
  ];

  for (const [what, properties, node] of ROUTES) {
    it(`runs an action that asks for ${what} on ${node}`, async () => {
      assert.equal(await actions.workerOf('true', { properties }), node);
    });
  }

  it('gives an action that two workers satisfy to the one that is free', async () => {
    const release = await occupy({ ISA: 'avx2' });
    assert.equal(await actions.workerOf('true', { properties: LINUX_X86 }), 'gpu');
    await release();
    const releases = [await occupy({ pool: 'gpu' }), await occupy({ pool: 'gpu' })];
    assert.equal(await actions.workerOf('true', { properties: LINUX_X86 }), 'linux');
    await Promise.all(releases.map((each) => each()));
  });

  it('prefers the worker that has what is better to have, and takes another while that one is busy', async () => {
    const nvme = { properties: { ...LINUX_X86, storage: 'nvme' } };
    const tape = { properties: { ...LINUX_X86, storage: 'tape' } };
    for (const [wish, node] of [
      [nvme, 'linux'],
      [tape, 'gpu'],
      [nvme, 'linux'],
    ] as const) {
      assert.equal(await actions.workerOf('true', wish), node);
    }
    const release = await occupy({ ISA: 'avx2' });
    assert.equal(await actions.workerOf('true', nvme), 'gpu');
    await release();
  });

  it('never runs two actions at once that each take the only licence', async () => {
    const journal = new Journal();
    const script = (name: string): string =>
      [journal.write(`${name}+`), 'sleep 0.2', journal.write(`${name}-`)].join(';');
    const licensed = { properties: { pool: 'gpu', licence: '1' } };
    const both = await Promise.all([actions.start(script('a'), licensed), actions.start(script('b'), licensed)]);
    // Its other slot is free for those that take none.
    assert.equal(await actions.workerOf('true', { properties: { pool: 'gpu' } }), 'gpu');
    for (const execution of both) assert.equal(await execution.worker(), 'gpu');
    const [first = '', second, third = '', fourth] = journal.lines;
    assert.equal(second, first.replace('+', '-'), journal.lines.join(' '));
    assert.equal(fourth, third.replace('+', '-'), journal.lines.join(' '));
  });

  it('says that an action waits for a licence though a slot is free', async () => {
    const licensed = { properties: { pool: 'gpu', licence: '1' } };
    const release = await occupy(licensed.properties);
    const waiting = await (await actions.start('true', licensed)).queued();
    const { exitCode, output } = await why(await waiting.name());
    assert.equal(exitCode, 0, output);
    assert.match(output, /licence/);
    await release();
    assert.equal(await waiting.worker(), 'gpu');
  });

  it('runs what has the lowest priority value first (R-EX-24)', async () => {
    const journal = new Journal();
    const properties = { OSFamily: 'windows' };
    const release = await occupy(properties);
    const waiting = [];
    for (const priority of [10, -5, 20, 0]) {
      const execution = await actions.start(journal.write(String(priority)), { properties, priority });
      waiting.push(await execution.queued());
    }
    await release();
    await Promise.all(waiting.map((execution) => execution.worker()));
    assert.deepEqual(journal.lines, ['-5', '0', '10', '20']);
  });

  it('shares a single slot between two invocations, however many actions the first one has queued', async () => {
    const journal = new Journal();
    const properties = { OSFamily: 'windows' };
    const release = await occupy(properties);
    const waiting = [];
    for (const invocation of ['first', 'second']) {
      for (let count = 0; count < 6; count += 1) {
        const execution = await actions.start(journal.write(invocation), { properties, invocation });
        waiting.push(await execution.queued());
      }
    }
    await release();
    await Promise.all(waiting.map((execution) => execution.worker()));
    const { lines } = journal;
    for (let ran = 2; ran <= lines.length; ran += 2) {
      const ofFirst = lines.slice(0, ran).filter((line) => line === 'first').length;
      assert.ok(Math.abs(2 * ofFirst - ran) <= 2, `${ran} of ${lines.join(' ')}`);
    }
    assert.equal(lines.length, 12);
  });

  it('takes each alternative of an offer as a whole, never a mixture', async () => {
    const offers = [
      propertyList({ OSFamily: 'freebsd', ISA: 'rv64g' }),
      propertyList({ OSFamily: 'wasi', ISA: 'wasm32' }),
    ];
    const respond = () => ({ result: { exitCode: 0, executionMetadata: { worker: 'either/0' } } });
    const worker = new WireWorker(server.grpcAddress, { node: 'either', offers, respond });
    try {
      await eventually('it is in the fleet', async () => {
        const { nodes = [] } = await fleetOf(server);
        return nodes.find(({ name }) => name.includes('node=either'));
      });
      for (const properties of [
        { OSFamily: 'wasi', ISA: 'wasm32' },
        { OSFamily: 'freebsd', ISA: 'rv64g' },
      ]) {
        assert.equal(await actions.workerOf('true', { properties }), 'either');
      }
      const mixed = await actions.start('true', { properties: { OSFamily: 'wasi', ISA: 'rv64g' } });
      const { status } = await mixed.response();
      assert.equal(status?.code, Code.FAILED_PRECONDITION, status?.message);
    } finally {
      await worker.stop();
    }
  });

  it('lets an action for an unknown platform wait for its worker after the start, and refuses it after the grace', async () => {
    await early.queued();
    const { status } = await early.response();
    assert.equal(status?.code, Code.FAILED_PRECONDITION, status?.message);
    assert.match(status?.message ?? '', /OSFamily wants haiku/);
  });

  it('refuses an action at once whose platform nobody has, and names the property and the nearest worker', async () => {
    const odd = await actions.start('true', { properties: { ...MACOS.properties, pool: 'gpu' } });
    const { status } = await odd.response();
    assert.equal(status?.code, Code.FAILED_PRECONDITION, status?.message);
    assert.match(status?.message ?? '', /: pool wants gpu.*; the nearest worker is node=macos,/);
  });

  it('lets a worker come back as another platform, and says of what only the old one could run why it waits', async () => {
    const asked = { properties: MACOS.properties };
    macos.signal('SIGTERM');
    assert.equal((await macos.end()).exitCode, 0);
    const old = await (await actions.start('true', asked)).queued();
    const { exitCode, output } = await why(await old.name());
    assert.equal(exitCode, 0, output);
    assert.match(output, /OSFamily wants macos/);
    const properties = { OSFamily: 'windows', ISA: 'arm-a64' };
    await startDeclaredWorker(server, { node: 'macos', properties, data: macosFolder });
    assert.equal(await actions.workerOf('true', { properties }), 'macos');
    // Its worker was there when it was asked for: to ask again may help.
    const { status } = await old.response();
    assert.equal(status?.code, Code.UNAVAILABLE, status?.message);
    assert.match(status?.message ?? '', /OSFamily wants macos.*the nearest worker is/);
    const again = await (await actions.start('true', asked)).response();
    assert.equal(again.status?.code, Code.FAILED_PRECONDITION, again.status?.message);
  });

  function why(operation: string) {
    return gantryCommand('why', operation, '--server', server.grpcAddress);
  }
});
