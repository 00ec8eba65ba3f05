import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { RunningRole } from '../compose/roles.ts';
import type { Config } from '../config/load.ts';
import { runCli } from './cli.ts';

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly started: readonly (readonly [string, Config])[];
  readonly asked: readonly (readonly [string, number])[];
}

interface Peer {
  readonly environment?: Readonly<Record<string, string>>;
  readonly health?: () => Promise<boolean>;
  readonly start?: () => Promise<RunningRole>;
}

const ENDED: RunningRole = {
  ready: { grpcAddress: '127.0.0.1:1', dataFolder: '/d', notes: [] },
  done: Promise.resolve(undefined),
  stop: () => Promise.resolve(),
  force: () => assert.fail('nothing was signalled'),
};

async function run(args: readonly string[], peer: Peer = {}): Promise<Run> {
  let out = '';
  let err = '';
  const started: [string, Config][] = [];
  const asked: [string, number][] = [];
  const role = (name: string) => (config: Config) => {
    started.push([name, config]);
    return peer.start?.() ?? Promise.resolve(ENDED);
  };
  const code = await runCli(args, {
    roles: { serve: role('serve'), server: role('server'), worker: role('worker') },
    checkHealth: (target, timeoutMs) => {
      asked.push([target, timeoutMs]);
      return peer.health?.() ?? Promise.resolve(true);
    },
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    openLocalStore: () => Promise.reject(new Error('no store was asked for')),
    openBucket: () => assert.fail('no bucket was asked for'),
    openS3Probe: () => assert.fail('no bucket was asked for'),
    writeOut: () => Promise.resolve(true),
    isTerminal: { out: false, err: false },
    onStopSignal: () => () => undefined,
    notify: () => Promise.resolve(undefined),
    environment: peer.environment ?? {},
  });
  return { code, out, err, started, asked };
}

async function configOf(args: readonly string[]): Promise<Config> {
  const { code, err, started } = await run(args);
  assert.equal(code, 0, err);
  const [first] = started;
  assert.ok(first);
  return first[1];
}

describe('gantry', () => {
  it('serves if it is told nothing else', async () => {
    const { code, out, started } = await run([]);
    assert.equal(code, 0);
    assert.equal(started[0]?.[0], 'serve');
    assert.match(out, /^READY grpc=127\.0\.0\.1:1 data=\/d$/m);
  });

  it('starts the role it is told', async () => {
    for (const role of ['serve', 'server', 'worker']) assert.equal((await run([role])).started[0]?.[0], role);
  });

  it('takes flags without a command for serve', async () => {
    assert.equal((await configOf(['--listen', '127.0.0.1:7'])).listen.grpc, '127.0.0.1:7');
  });

  it('lays flags over the configuration', async () => {
    const config = await configOf(
      [
        'serve',
        '--data',
        '/d',
        '--http',
        '127.0.0.1:9',
        '--max-size',
        '3GiB',
        '--cache-size=1 GiB',
        '--embedded-worker=false',
      ].concat([
        '--read-only',
        '--slots',
        '3',
        '--platform',
        'a=b=c',
        '--platform',
        'd=e',
        '--log-level',
        'warn',
        '--log-requests',
      ]),
    );
    assert.equal(config.dataFolder, '/d');
    assert.equal(config.listen.http, '127.0.0.1:9');
    assert.equal(config.store.maxSizeBytes, 3 * 1024 ** 3);
    assert.equal(config.worker.cacheSizeBytes, 1024 ** 3);
    assert.equal(config.embeddedWorker, false);
    assert.equal(config.readOnly, true);
    assert.equal(config.worker.slots, 3);
    assert.deepEqual(config.worker.platform, [
      { name: 'a', value: 'b=c' },
      { name: 'd', value: 'e' },
    ]);
    assert.deepEqual(config.log, { level: 'warn', requests: 'all' });
  });

  it('lets a worker be told its server', async () => {
    assert.equal((await configOf(['worker', '--server', 'grpc://build:8980'])).worker.server, 'grpc://build:8980');
  });

  for (const [args, message] of [
    [['srve'], /unknown command "srve"; did you mean serve\?/],
    [['frobnicate'], /unknown command "frobnicate"$/m],
    [['serve', '--lisen', 'x'], /unknown option '--lisen'\n\(Did you mean --listen\?\)/],
    [['worker', '--listen', 'x'], /unknown option '--listen'/],
    [['serve', 'extra'], /too many arguments/],
    [['serve', '--data'], /argument missing/],
    [['config', 'pint'], /unknown command 'pint'\n\(Did you mean print\?\)/],
    [['serve', '--max-size', 'huge'], /--max-size: store.maxSizeBytes: "huge" is not a size/],
    [['serve', '--embedded-worker=maybe'], /--embedded-worker: embeddedWorker: /],
    [['worker', '--platform', 'x'], /--platform: worker.platform.0: /],
    [['health', '--server', 'nowhere'], /"nowhere" is not an address/],
    [['health', '--timeout-seconds', 'soon'], /--timeout-seconds must be a number/],
  ] as const) {
    it(`refuses ${args.join(' ')} with exit code 2`, async () => {
      const { code, err, started } = await run(args);
      assert.equal(code, 2);
      assert.match(err, message);
      assert.equal(started.length, 0);
    });
  }

  it('reports all problems of flags, variables and file together', async () => {
    const { code, err } = await run(['--slots', '0', '--max-size', 'x'], {
      environment: { GANTRY_LISTEN_HTTP: 'y' },
    });
    assert.equal(code, 2);
    for (const source of ['--slots', '--max-size', 'GANTRY_LISTEN_HTTP'])
      assert.ok(err.includes(`  ${source}: `), source);
  });

  it('warns of a variable that is probably a slip', async () => {
    const { code, err } = await run([], { environment: { GANTRY_READ_ONLI: 'true' } });
    assert.equal(code, 0);
    assert.match(err, /GANTRY_READ_ONLI is ignored; did you mean GANTRY_READ_ONLY\?/);
  });

  it('says why a role did not start, with exit code 1', async () => {
    const { code, err } = await run([], { start: () => Promise.reject(new Error('the port is taken')) });
    assert.equal(code, 1);
    assert.equal(err, 'gantry: the port is taken\n');
  });

  it('prints its version and its help', async () => {
    assert.match((await run(['version'])).out, /^\d+\.\d+\.\d+\n$/);
    assert.match((await run(['--version'])).out, /^\d+\.\d+\.\d+\n$/);
    const help = await run(['--help']);
    assert.equal(help.code, 0);
    for (const command of [
      'serve',
      'server',
      'worker',
      'config',
      'health',
      'store',
      'cat',
      'ls',
      'ac',
      'why-miss',
      'doctor',
      'version',
    ]) {
      assert.match(help.out, new RegExp(`^  ${command}\\b`, 'm'));
    }
  });
});

describe('gantry config', () => {
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-cli-'));
  });

  after(() => rmSync(folder, { recursive: true }));

  it('checks a file', async () => {
    const file = join(folder, 'good.yaml');
    writeFileSync(file, 'readOnly: true\n');
    assert.deepEqual(await run(['config', 'check', file]), {
      code: 0,
      out: 'The configuration is valid.\n',
      err: '',
      started: [],
      asked: [],
    });
  });

  it('says where a file is wrong', async () => {
    const file = join(folder, 'bad.yaml');
    writeFileSync(file, 'readOnly: perhaps\nstor: {}\n');
    const { code, err } = await run(['config', 'check', file]);
    assert.equal(code, 2);
    assert.ok(err.includes(`${file}:1:11: readOnly: `));
    assert.ok(err.includes(`${file}:2:7: stor: there is no such key; did you mean store?`));
  });

  for (const [execution, message] of [
    [
      'platform: { rules: [{ name: x, match: exact }, { name: X, match: any-of }] }',
      'the property name "X" has two rules',
    ],
    ['platform: { ignore: [x], rules: [{ name: x, match: exact }] }', 'the property name "x" has two rules'],
    [
      'pools: [{ name: p, platform: [{ name: cores, value: many }] }]',
      'the pool "p": the platform property cores is not',
    ],
    ['pools: [{ name: p, instanceNamePrefix: blobs }]', 'the pool "p": the instance name has the reserved segment'],
  ] as const) {
    it(`refuses what contradicts itself in its meaning, before anything starts: ${execution}`, async () => {
      const file = join(folder, 'contradiction.yaml');
      writeFileSync(file, `execution: { ${execution} }\n`);
      for (const args of [
        ['config', 'check', file],
        ['server', '--config', file],
      ]) {
        const { code, err, started } = await run(args);
        assert.deepEqual([code, started], [2, []]);
        assert.ok(err.startsWith(`gantry: the configuration is wrong:\n  ${message}`), err);
      }
    });
  }

  it('prints the whole configuration as YAML', async () => {
    const { out } = await run(['config', 'print', '--slots', '2']);
    const printed = parse(out);
    assert.equal(printed.worker.slots, 2);
    assert.equal(printed.execution.defaultTimeoutSeconds, 3600);
  });
});

describe('gantry health', () => {
  it('asks the given server and answers by exit code', async () => {
    const yes = await run(['health', '--server', 'grpc://build:1', '--timeout-seconds', '0.5']);
    assert.deepEqual([yes.code, yes.out, yes.asked], [0, 'SERVING\n', [['build:1', 500]]]);
    const no = await run(['health'], { health: () => Promise.resolve(false) });
    assert.deepEqual([no.code, no.out], [1, 'NOT_SERVING\n']);
  });

  it('asks where the configuration listens, from this machine', async () => {
    for (const [listen, target] of [
      ['0.0.0.0:7', '127.0.0.1:7'],
      ['[::]:7', '[::1]:7'],
      ['10.0.0.1:7', '10.0.0.1:7'],
    ] as const) {
      const { asked } = await run(['health'], { environment: { GANTRY_LISTEN_GRPC: listen } });
      assert.equal(asked[0]?.[0], target);
    }
  });

  it('fails with exit code 1 when nobody answers', async () => {
    const { code, err } = await run(['health'], { health: () => Promise.reject(new Error('connection refused')) });
    assert.deepEqual([code, err], [1, 'gantry: connection refused\n']);
  });
});
