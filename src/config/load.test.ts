import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Config,
  childEnvironment,
  isReadinessAwaited,
  isTerminalDumb,
  type LoadOptions,
  loadConfig,
  readSecret,
} from './load.ts';

const machine = { cpus: 6, homeFolder: '/home/ann', hostName: 'build-1' };

function load(options: LoadOptions = {}) {
  return loadConfig({ environment: {}, machine, ...options });
}

function configOf(options: LoadOptions = {}): Config {
  const loaded = load(options);
  assert.ok(loaded.ok, JSON.stringify(loaded));
  return loaded.config;
}

function problemsOf(options: LoadOptions): readonly string[] {
  const loaded = load(options);
  assert.equal(loaded.ok, false);
  return loaded.problems.map((problem) => `${problem.source}: ${problem.key}: ${problem.message}`);
}

describe('loadConfig', () => {
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-config-'));
  });

  after(() => rmSync(folder, { recursive: true }));

  const fileOf = (text: string): string => {
    const file = join(folder, 'gantry.yaml');
    writeFileSync(file, text);
    return file;
  };

  it('needs neither file nor variables', () => {
    const config = configOf();
    assert.equal(config.listen.grpc, '127.0.0.1:8980');
    assert.equal(config.listen.http, '127.0.0.1:8981');
    assert.equal(config.dataFolder, '/home/ann/.local/state/gantry');
    assert.equal(config.worker.folder, '/home/ann/.local/state/gantry/worker');
    assert.equal(config.worker.slots, 6);
    assert.equal(config.worker.nodeName, 'build-1');
    assert.equal(config.execution.maxFinishedOperations, 100_000);
    assert.deepEqual(config.execution.platform.ignore, [
      'persistentWorkerKey',
      'persistentWorkerProtocol',
      'bazel_tool_input',
      'max-cores',
      'max-mem',
    ]);
  });

  it('uses the real machine unless told otherwise', () => {
    const loaded = loadConfig({ environment: {} });
    assert.ok(loaded.ok && loaded.config.worker.slots >= 1);
  });

  it('keeps data under XDG_STATE_HOME if that is an absolute path', () => {
    assert.equal(configOf({ environment: { XDG_STATE_HOME: '/state' } }).dataFolder, '/state/gantry');
    assert.equal(configOf({ environment: { XDG_STATE_HOME: 'state' } }).dataFolder, '/home/ann/.local/state/gantry');
  });

  it('expands the home folder at the start of a path and nowhere else', () => {
    const at = (dataFolder: string) => configOf({ file: fileOf(`dataFolder: '${dataFolder}'`) }).dataFolder;
    assert.equal(at('~/x'), '/home/ann/x');
    assert.equal(at('/a/~/x'), '/a/~/x');
    assert.equal(at('/a/~$XDG_STATE_HOME'), '/a/~$XDG_STATE_HOME');
  });

  it('records a trace only where a file is named, also in the data folder', () => {
    const traceIn = (GANTRY_EXECUTION_TRACE_FILE: string) =>
      configOf({ environment: { GANTRY_EXECUTION_TRACE_FILE, GANTRY_DATA_FOLDER: '/data' } }).execution.trace.file;
    assert.equal(traceIn(''), '');
    assert.equal(traceIn('$DATA_FOLDER/trace'), '/data/trace');
    assert.equal(traceIn('~/trace'), '/home/ann/trace');
  });

  it('reads YAML and JSON alike', () => {
    assert.equal(
      configOf({ file: fileOf('store:\n  maxSizeBytes: 3 GiB # small\n') }).store.maxSizeBytes,
      3 * 1024 ** 3,
    );
    assert.equal(configOf({ file: fileOf('{"store": {"maxSizeBytes": 16777216}}') }).store.maxSizeBytes, 16_777_216);
    assert.equal(configOf({ file: fileOf('') }).store.sync, 'group');
  });

  it('takes a key without a value for one that is not set', () => {
    assert.equal(configOf({ file: fileOf('store:\n  # sync: none\nreadOnly:\n') }).store.sync, 'group');
  });

  it('lets flags win over variables and variables over the file', () => {
    const file = fileOf('limits: { maxTreeDirectories: 1001, maxTreeDepth: 17, maxSuspendedUploads: 3 }');
    const environment = { GANTRY_LIMITS_MAX_TREE_DIRECTORIES: '1002', GANTRY_LIMITS_MAX_TREE_DEPTH: '18' };
    const flags = [{ path: ['limits', 'maxTreeDirectories'], value: 1005, source: '--tree' }];
    const { limits } = configOf({ file, environment, flags });
    assert.deepEqual([limits.maxTreeDirectories, limits.maxTreeDepth, limits.maxSuspendedUploads], [1005, 18, 3]);
  });

  it('takes the name of the file from GANTRY_CONFIG', () => {
    const file = fileOf('readOnly: true');
    assert.equal(configOf({ environment: { GANTRY_CONFIG: file } }).readOnly, true);
  });

  it('takes an empty variable for one that is not set', () => {
    assert.equal(configOf({ environment: { GANTRY_DATA_FOLDER: '', GANTRY_CONFIG: '' } }).store.sync, 'group');
  });

  it('reports every problem with key and place', () => {
    const file = fileOf('store:\n  maxSizeByte: 5\n  sync: foo\nworker: 5\n');
    const environment = { GANTRY_LIMITS_MAX_TREE_DIRECTORIES: 'many' };
    const flags = [{ path: ['listen', 'grpc'], value: 'nowhere', source: '--listen' }];
    const expected = [
      '--listen: listen.grpc: must be HOST:PORT, [IPV6]:PORT or unix:/path',
      `GANTRY_LIMITS_MAX_TREE_DIRECTORIES: limits.maxTreeDirectories: Invalid input: expected number, received string`,
      `${file}:2:16: store.maxSizeByte: there is no such key; did you mean maxSizeBytes?`,
      `${file}:3:9: store.sync: Invalid option: expected one of "group"|"none"`,
      `${file}:4:9: worker: Invalid input: expected object, received number`,
    ];
    assert.deepEqual(problemsOf({ file, environment, flags }).toSorted(), expected.toSorted());
  });

  it('names what took the place of values and keys of earlier versions', () => {
    const file = fileOf('store:\n  sync: file\nactionCache:\n  maxSizeBytes: 1 GiB\n');
    const [sync, size] = problemsOf({ file });
    assert.match(sync ?? '', /:2:9: store\.sync: "file" is called "group" now/);
    assert.match(size ?? '', /:4:17: actionCache\.maxSizeBytes: is gone: .* share store\.maxSizeBytes/);
    const environment = { GANTRY_ACTION_CACHE_MAX_SIZE_BYTES: '1GiB', GANTRY_STORE_SYNC: 'file' };
    const sources = problemsOf({ environment }).map((problem) => problem.split(':', 1)[0]);
    assert.deepEqual(sources.toSorted(), Object.keys(environment).toSorted());
  });

  it('bounds what of the store may be under promise', () => {
    assert.equal(configOf().store.maxLeasedShare, 0.8);
    assert.equal(configOf({ environment: { GANTRY_STORE_MAX_LEASED_SHARE: '0.95' } }).store.maxLeasedShare, 0.95);
    const problems = ['0.05', '1', 'much'].map((text) => {
      return problemsOf({ environment: { GANTRY_STORE_MAX_LEASED_SHARE: text } }).length;
    });
    assert.deepEqual(problems, [1, 1, 1]);
  });

  it('names the nearest key only if one is near', () => {
    const file = fileOf('colour: 5');
    assert.deepEqual(problemsOf({ file }), [`${file}:1:9: colour: there is no such key`]);
  });

  it('refuses unknown keys inside lists and alternatives', () => {
    const file = fileOf(
      'instanceNames: { kind: list, names: [a], extra: 1 }\nworker: { platform: [{ name: a, value: b, c: d }] }',
    );
    assert.deepEqual(
      problemsOf({ file }).map((problem) => problem.slice(file.length)),
      [':1:49: instanceNames.extra: there is no such key', ':2:46: worker.platform.0.c: there is no such key'],
    );
  });

  for (const [what, text] of [
    ['a syntax error', 'store: [1\n'],
    ['a key given twice', 'readOnly: true\nreadOnly: false\n'],
    [
      'aliases that explode',
      `a: &a [x, x]\n${[...'bcdefgh'].map((name, at) => `${name}: &${name} [${`*${'abcdefgh'[at]}, `.repeat(9)}]`).join('\n')}`,
    ],
    ['a list', '- 1'],
    ['too long a file', `# ${'x'.repeat(1_000_000)}`],
  ] as const) {
    it(`refuses ${what}`, () => {
      const file = fileOf(text);
      const [problem] = problemsOf({ file });
      assert.ok(problem?.startsWith(file), problem);
    });
  }

  it('refuses a file that cannot be read', () => {
    const file = join(folder, 'absent.yaml');
    assert.match(problemsOf({ file }).join(), /cannot be read: ENOENT/);
  });

  it('warns of a variable that is nearly a known one, and ignores those of others', () => {
    const environment = { GANTRY_STORE_MAX_SIZE_BYTE: '1', GANTRY_PORT: 'tcp://10.0.0.1:8980', OTHER: 'x' };
    const loaded = load({ environment });
    assert.ok(loaded.ok);
    assert.deepEqual(loaded.warnings, [
      'the variable GANTRY_STORE_MAX_SIZE_BYTE is ignored; did you mean GANTRY_STORE_MAX_SIZE_BYTES?',
    ]);
  });

  it('freezes the result all the way down', () => {
    const config = configOf();
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.execution.platform.ignore));
    assert.throws(() => Reflect.apply(Array.prototype.push, config.worker.platform, [1]), TypeError);
  });

  it('law: a printed configuration loads as the same configuration', () => {
    const config = configOf({ environment: { GANTRY_INSTANCE_NAMES: '{kind: list, names: [main]}' } });
    assert.deepEqual(configOf({ file: fileOf(JSON.stringify(config)) }), config);
  });
});

describe('the configuration of S3', () => {
  it('finds the region in the file, else where AWS says', () => {
    const regionIn = (environment: Readonly<Record<string, string>>) => configOf({ environment }).s3.region;
    assert.equal(regionIn({ GANTRY_S3_REGION: 'auto', AWS_REGION: 'eu-west-1' }), 'auto');
    assert.equal(regionIn({ AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'eu-west-2' }), 'eu-west-1');
    assert.equal(regionIn({ AWS_REGION: '', AWS_DEFAULT_REGION: 'eu-west-2' }), 'eu-west-2');
    assert.equal(regionIn({}), 'us-east-1');
  });

  it('decides how much may wait for it', () => {
    const backlogOf = (store: string, durability: string) => {
      const environment = { GANTRY_STORE_MAX_SIZE_BYTES: store, GANTRY_S3_DURABILITY: durability };
      return configOf({ environment }).s3.maxBacklogBytes;
    };
    assert.equal(backlogOf('1TiB', 'local'), 2 * 1024 ** 3);
    assert.equal(backlogOf('1TiB', 's3'), 256 * 1024 ** 2);
    assert.equal(backlogOf('16MiB', 'local'), 4 * 1024 ** 2);
    assert.equal(backlogOf('16MiB', 's3'), 4 * 1024 ** 2);
  });

  it('makes paths of files absolute', () => {
    const credentials = '{ accessKeyId: a, secretAccessKey: { file: ~/secret }, sessionToken: { env: T } }';
    const folder = mkdtempSync(join(tmpdir(), 'gantry-config-'));
    try {
      const file = join(folder, 'gantry.yaml');
      writeFileSync(file, `s3: { certificateAuthoritiesFile: ~/ca.pem, credentials: ${credentials} }`);
      const { s3 } = configOf({ file });
      assert.equal(s3.certificateAuthoritiesFile, '/home/ann/ca.pem');
      assert.deepEqual(s3.credentials, {
        accessKeyId: 'a',
        secretAccessKey: { file: '/home/ann/secret' },
        sessionToken: { env: 'T' },
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('leaves secrets in their variables', () => {
    const environment = {
      GANTRY_S3_CREDENTIALS_ACCESS_KEY_ID: 'id: 1',
      GANTRY_S3_CREDENTIALS_SECRET_ACCESS_KEY: '0x1F',
    };
    const config = configOf({ environment });
    assert.doesNotMatch(JSON.stringify(config), /id: 1|0x1F/);
    const { accessKeyId, secretAccessKey } = config.s3.credentials;
    assert.ok(typeof accessKeyId === 'object' && typeof secretAccessKey === 'object');
    assert.equal(readSecret(accessKeyId, environment), 'id: 1');
    assert.equal(readSecret(secretAccessKey, environment), '0x1F');
  });
});

describe('readSecret', () => {
  it('reads variables and files, without the end of the line', () => {
    const folder = mkdtempSync(join(tmpdir(), 'gantry-config-'));
    try {
      const file = join(folder, 'secret');
      writeFileSync(file, 'from a file\n');
      assert.equal(readSecret({ file }, {}), 'from a file');
      assert.equal(readSecret({ env: 'A' }, { A: 'from a variable' }), 'from a variable');
      writeFileSync(file, '\n');
      assert.throws(() => readSecret({ file }, {}), { message: `the file "${file}" is empty` });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('names what is missing', () => {
    assert.throws(() => readSecret({ env: 'A' }, {}), { message: 'the variable A is not set' });
    assert.throws(() => readSecret({ file: '/nonexistent' }, {}), /the file "\/nonexistent" cannot be read \(ENOENT\)/);
  });
});

describe('isReadinessAwaited', () => {
  it('follows NOTIFY_SOCKET', () => {
    assert.equal(isReadinessAwaited({ NOTIFY_SOCKET: '/run/notify' }), true);
    assert.equal(isReadinessAwaited({}), false);
  });
});

describe('isTerminalDumb', () => {
  it('follows TERM', () => {
    assert.equal(isTerminalDumb({ TERM: 'dumb' }), true);
    assert.equal(isTerminalDumb({ TERM: 'xterm-256color' }), false);
    assert.equal(isTerminalDumb({}), false);
  });
});

describe('childEnvironment', () => {
  it('keeps everything but the configuration, the service manager and the keys to the bucket', () => {
    const environment = {
      PATH: '/bin',
      GANTRY_WORKER_SLOTS: '3',
      GANTRY_CONFIG: 'x',
      NOTIFY_SOCKET: '/n',
      AWS_SECRET_ACCESS_KEY: 's',
      GONE: undefined,
    };
    assert.deepEqual(childEnvironment(environment), { PATH: '/bin' });
  });
});
