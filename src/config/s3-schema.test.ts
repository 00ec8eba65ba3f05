import assert from 'node:assert/strict';
import { configurationSchema } from './schema.ts';
import { GIB, MIB } from './units.ts';

/** What is wrong with a section, as `key: message`. */
function problemsOf(s3: object, store: object = {}): readonly string[] {
  const issues = configurationSchema.safeParse({ s3, store }).error?.issues ?? [];
  return issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

function parsed(s3: object) {
  return configurationSchema.parse({ s3 }).s3;
}

const env = { env: 'SECRET' };

describe('the section s3', () => {
  it('is off unless it names a bucket', () => {
    const { bucket, durability, encryption, packBytes, retentionDays } = parsed({});
    assert.deepEqual([bucket, durability, packBytes, retentionDays], ['', 's3', 32 * MIB, 30]);
    assert.deepEqual(encryption, { kind: 'bucket-default' });
  });

  it('ends every prefix in one slash', () => {
    for (const [written, prefix] of [
      ['', ''],
      ['gantry', 'gantry/'],
      ['team/gantry/', 'team/gantry/'],
    ] as const) {
      assert.equal(parsed({ prefix: written }).prefix, prefix);
    }
  });

  for (const [key, value, message] of [
    ['bucket', 's3://builds', /must be the name of a bucket alone/],
    ['bucket', 'builds/cache', /must be the name of a bucket alone/],
    ['bucket', 'ab', /must be the name of a bucket alone/],
    ['prefix', '/gantry', /must not begin with a slash/],
    ['prefix', 'a//b', /single slashes/],
    ['prefix', 'a/../b', /no part/],
    ['prefix', 'a b', /visible characters/],
    ['prefix', 'ä'.repeat(257), /is longer than 512 bytes/],
    ['region', 'eu central', /must be the name of a region/],
    ['endpoint', 'minio:9000', /must be http\(s\):\/\/HOST/],
    ['endpoint', 'ftp://minio', /must be http\(s\):\/\/HOST/],
    ['endpoint', 'https://minio/bucket', /without path/],
    ['endpoint', 'https://id:secret@minio', /credentials/],
    ['endpoint', 'https://', /must be http\(s\):\/\/HOST/],
    ['proxy', 'https://proxy:3128', /must be http:\/\/HOST/],
    ['storageClass', 'DEEP_ARCHIVE', /restored first/],
    ['storageClass', 'two words', /must be a word/],
    ['pathStyle', true, /"automatic"\|"always"\|"never"/],
    ['encryption', { kind: 'kms', keyId: '' }, />=1 characters/],
    ['encryption', { kind: 's3', keyId: 'x' }, /keyId/],
    ['maxSmallPacksPerSecond', 0, />=0.1/],
    ['packBytes', '1 kB', />=1048576/],
  ] as const) {
    it(`refuses ${key}: ${JSON.stringify(value).slice(0, 40)}, naming the key`, () => {
      const [problem = '', ...others] = problemsOf({ [key]: value });
      assert.deepEqual(others, []);
      assert.ok(problem.startsWith(`s3.${key}`), problem);
      assert.match(problem, message);
    });
  }

  for (const endpoint of ['http://127.0.0.1:9000', 'https://s3.example.org/', 'http://[::1]:9000', 'HTTPS://Host']) {
    it(`takes the endpoint ${endpoint}`, () => assert.deepEqual(problemsOf({ endpoint }), []));
  }

  it('bounds the backlog by a quarter of the local store, whose default fits every store', () => {
    assert.deepEqual(problemsOf({ maxBacklogBytes: '1GiB' }, { maxSizeBytes: '2GiB' }), [
      's3.maxBacklogBytes: must not be above a quarter of store.maxSizeBytes, 512 MiB',
    ]);
    assert.deepEqual(problemsOf({ maxBacklogBytes: '1GiB' }, { maxSizeBytes: '4GiB' }), []);
    for (const maxSizeBytes of [16 * MIB, 16 * MIB + 3, GIB, 1024 * 1024 * GIB]) {
      assert.deepEqual(problemsOf({}, { maxSizeBytes }), []);
    }
  });
});

describe('s3.credentials', () => {
  it('are a name and a secret that is elsewhere', () => {
    const credentials = { accessKeyId: 'AKIA1', secretAccessKey: { file: '/run/secret' }, sessionToken: env };
    assert.deepEqual(parsed({ credentials }).credentials, credentials);
    assert.deepEqual(problemsOf({ credentials: { accessKeyId: env, secretAccessKey: env } }), []);
  });

  for (const key of ['secretAccessKey', 'sessionToken'] as const) {
    for (const value of ['plain', 5, { env: 'A', file: 'b' }, {}]) {
      it(`refuses ${key}: ${JSON.stringify(value)}`, () => {
        const problems = problemsOf({ credentials: { accessKeyId: 'a', secretAccessKey: env, [key]: value } });
        const message = 'must be { env: NAME } or { file: PATH }, so that the configuration holds no secret';
        assert.deepEqual(problems, [`s3.credentials.${key}: ${message}`]);
      });
    }
  }

  it('are in variables and files that can be', () => {
    const problems = problemsOf({ credentials: { accessKeyId: { env: 'A-B' }, secretAccessKey: { file: '' } } });
    assert.deepEqual(
      problems.map((problem) => problem.split(': ', 1)[0]),
      ['s3.credentials.accessKeyId.env', 's3.credentials.secretAccessKey.file'],
    );
  });

  it('have to be complete', () => {
    for (const [credentials, problems] of [
      [{ accessKeyId: 'a' }, ['s3.credentials.accessKeyId: needs s3.credentials.secretAccessKey']],
      [{ secretAccessKey: env }, ['s3.credentials.secretAccessKey: needs s3.credentials.accessKeyId']],
      [{ sessionToken: env }, ['s3.credentials.sessionToken: needs s3.credentials.accessKeyId']],
    ] as const) {
      assert.deepEqual(problemsOf({ credentials }), problems);
    }
  });
});
