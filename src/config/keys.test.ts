import assert from 'node:assert/strict';
import { CONFIGURATION_KEYS, CONFIGURATION_SECTIONS, namesUnder, readText } from './keys.ts';
import { configurationSchema } from './schema.ts';

const keyOf = (path: string) => {
  const key = CONFIGURATION_KEYS.find((each) => each.path.join('.') === path);
  assert.ok(key, path);
  return key;
};

describe('CONFIGURATION_KEYS', () => {
  it('has a variable name, a type, a default and a sentence for every key', () => {
    for (const key of CONFIGURATION_KEYS) {
      const where = key.path.join('.');
      assert.match(key.environment, /^GANTRY_[A-Z0-9_]+$/);
      assert.notEqual(key.type, '', where);
      assert.notEqual(key.default, '', where);
      assert.match(key.description, /^[^a-z].*[.)]$/s, where);
    }
  });

  it('has no two keys with one variable', () => {
    const names = new Set(CONFIGURATION_KEYS.map((key) => key.environment));
    assert.equal(names.size, CONFIGURATION_KEYS.length);
  });

  it('has a range for every number', () => {
    for (const key of CONFIGURATION_KEYS) {
      if (['size', 'seconds', 'number'].includes(key.type)) assert.match(key.range, / to /, key.path.join('.'));
    }
  });

  it('derives the variable from the path', () => {
    assert.equal(keyOf('store.maxSizeBytes').environment, 'GANTRY_STORE_MAX_SIZE_BYTES');
    assert.equal(keyOf('execution.platform.graceSeconds').environment, 'GANTRY_EXECUTION_PLATFORM_GRACE_SECONDS');
  });

  it('describes types, ranges and defaults for people', () => {
    assert.deepEqual(
      [
        'store.maxSizeBytes',
        'store.maxLeasedShare',
        'worker.slots',
        'readOnly',
        'instanceNames',
        'store.sync',
        'worker.platform',
        's3.credentials.accessKeyId',
        's3.credentials.secretAccessKey',
        's3.maxSmallPacksPerSecond',
      ].map((path) => {
        const { type, range, default: byDefault } = keyOf(path);
        return [type, range, byDefault];
      }),
      [
        ['size', '16 MiB to 1024 TiB', '20 GiB'],
        ['number', '0.1 to 0.95', '0.8'],
        ['cpus or number', '1 to 1024', 'cpus'],
        ['true or false', '', 'false'],
        ['kind: any or kind: list', '', '{"kind":"any"}'],
        ['group or none', '', 'group'],
        ['list', '', '[]'],
        ['text or secret', '', 'empty'],
        ['secret', '', 'empty'],
        ['number', '0.1 to 1000', '4'],
      ],
    );
  });
});

describe('CONFIGURATION_SECTIONS', () => {
  it('lists sections before their inner ones, each with a sentence', () => {
    const paths = CONFIGURATION_SECTIONS.map((section) => section.path.join('.'));
    assert.ok(paths.indexOf('execution') < paths.indexOf('execution.platform'));
    assert.ok(CONFIGURATION_SECTIONS.every((section) => section.description.endsWith('.')));
  });
});

describe('namesUnder', () => {
  it('lists keys and sections of a section, and nothing of anything else', () => {
    assert.deepEqual(namesUnder(['store']), [
      'maxSizeBytes',
      'minFreeBytes',
      'minRetentionSeconds',
      'maxLeasedShare',
      'sync',
    ]);
    assert.ok(namesUnder([]).includes('listen'));
    assert.deepEqual(namesUnder(['store', 'sync']), []);
    assert.deepEqual(namesUnder(['nowhere', 'else']), []);
  });
});

describe('readText', () => {
  it('leaves text as it is and reads everything else as YAML', () => {
    assert.equal(readText(keyOf('dataFolder'), '12'), '12');
    assert.equal(readText(keyOf('limits.maxTreeDirectories'), '12'), 12);
    assert.equal(readText(keyOf('readOnly'), 'true'), true);
    assert.deepEqual(readText(keyOf('worker.platform'), '[{name: a, value: b}]'), [{ name: 'a', value: 'b' }]);
    assert.equal(readText(keyOf('worker.slots'), 'cpus'), 'cpus');
  });

  it('leaves what is no YAML to the schema', () => {
    const text = '[1';
    assert.equal(readText(keyOf('limits.maxTreeDirectories'), text), text);
  });
});

describe('configurationSchema', () => {
  it('is complete without a file', () => {
    assert.equal(configurationSchema.safeParse({}).success, true);
  });

  it('takes its own output, so that a printed configuration can be loaded', () => {
    const parsed = configurationSchema.parse({});
    assert.deepEqual(configurationSchema.parse(parsed), parsed);
  });

  for (const [low, high] of [
    [{ execution: { defaultTimeoutSeconds: 100, maxTimeoutSeconds: 99 } }, 'execution.maxTimeoutSeconds'],
    [{ rpc: { streamWindowBytes: '2MiB', connectionWindowBytes: '1MiB' } }, 'rpc.connectionWindowBytes'],
    [{ rpc: { maxSendMessageBytes: '2MiB' } }, 'rpc.maxSendMessageBytes'],
  ] as const) {
    it(`refuses keys that cannot work together, naming ${high}`, () => {
      const messages = configurationSchema.safeParse(low).error?.issues.map((issue) => issue.message) ?? [];
      assert.ok(messages.length > 0 && messages.every((message) => message === `must not be above ${high}`));
    });
  }
});
