import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { type Environment, loadConfig } from '../config/load.ts';
import { UsageError } from './operator/usage-error.ts';
import { s3OptionsOf } from './s3-options.ts';

function optionsOf(s3: object, environment: Environment = {}) {
  const file = join(temporaryFolder(), 'gantry.yaml');
  writeFileSync(file, JSON.stringify({ s3 }));
  const loaded = loadConfig({ file, environment });
  assert.ok(loaded.ok, JSON.stringify(loaded));
  return s3OptionsOf(loaded.config, environment);
}

function refusal(s3: object, environment: Environment = {}): string {
  try {
    optionsOf({ bucket: 'builds', ...s3 }, environment);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return error.message;
  }
  return assert.fail('nothing was refused');
}

describe('s3OptionsOf', () => {
  it('is undefined without a bucket', () => assert.equal(optionsOf({ endpoint: 'http://127.0.0.1:9' }), undefined));

  it('is complete with a bucket alone, and then means AWS with the credentials of the machine', () => {
    assert.deepEqual(optionsOf({ bucket: 'builds' }), {
      bucket: 'builds',
      prefix: '',
      region: 'us-east-1',
      endpoint: undefined,
      pathStyle: false,
      credentials: undefined,
      encryption: { kind: 'bucket-default' },
      storageClass: undefined,
      proxy: undefined,
      certificateAuthorities: undefined,
      maxConcurrentRequests: 64,
      requestTimeoutMs: 30_000,
      maxAttempts: 4,
    });
  });

  it('passes on what is set', () => {
    const authorities = join(temporaryFolder(), 'ca.pem');
    const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
    writeFileSync(authorities, pem);
    const options = optionsOf({
      bucket: 'builds',
      prefix: 'x',
      storageClass: 'STANDARD_IA',
      proxy: 'http://proxy:3128',
      certificateAuthoritiesFile: authorities,
      requestTimeoutSeconds: 5,
    });
    assert.deepEqual(
      [
        options?.prefix,
        options?.storageClass,
        options?.proxy,
        options?.certificateAuthorities,
        options?.requestTimeoutMs,
      ],
      ['x/', 'STANDARD_IA', 'http://proxy:3128', pem, 5000],
    );
  });

  it('puts the bucket into the path for other servers, unless told otherwise', () => {
    const endpoint = 'http://127.0.0.1:9000';
    for (const [s3, pathStyle] of [
      [{ endpoint }, true],
      [{ endpoint, pathStyle: 'never' }, false],
      [{ pathStyle: 'always' }, true],
      [{ pathStyle: 'never' }, false],
    ] as const) {
      assert.equal(optionsOf({ bucket: 'builds', ...s3 })?.pathStyle, pathStyle);
    }
  });

  it('knows the keys of KMS', () => {
    const encryptionOf = (encryption: object) => optionsOf({ bucket: 'builds', encryption })?.encryption;
    assert.deepEqual(encryptionOf({ kind: 's3' }), { kind: 's3' });
    assert.deepEqual(encryptionOf({ kind: 'kms' }), { kind: 'kms' });
    assert.deepEqual(encryptionOf({ kind: 'kms', keyId: 'alias/x' }), { kind: 'kms', keyId: 'alias/x' });
  });

  it('reads credentials from text, variables and files', () => {
    const file = join(temporaryFolder(), 'secret');
    writeFileSync(file, 'hidden\n');
    const credentials = { accessKeyId: 'AKIA', secretAccessKey: { file }, sessionToken: { env: 'TOKEN' } };
    assert.deepEqual(optionsOf({ bucket: 'builds', credentials }, { TOKEN: 'token' })?.credentials, {
      accessKeyId: 'AKIA',
      secretAccessKey: 'hidden',
      sessionToken: 'token',
    });
    const variables = {
      GANTRY_S3_CREDENTIALS_ACCESS_KEY_ID: 'id',
      GANTRY_S3_CREDENTIALS_SECRET_ACCESS_KEY: '12345',
    };
    assert.deepEqual(optionsOf({ bucket: 'builds' }, variables)?.credentials, {
      accessKeyId: 'id',
      secretAccessKey: '12345',
    });
  });

  it('names the key whose variable or file is not there', () => {
    const missing = { credentials: { accessKeyId: 'a', secretAccessKey: { env: 'NOWHERE' } } };
    assert.match(
      refusal(missing),
      /^the configuration is wrong:\n {2}s3\.credentials\.secretAccessKey: .* NOWHERE is not set$/,
    );
    const absent = { certificateAuthoritiesFile: '/nonexistent/ca.pem' };
    assert.match(refusal(absent), /s3\.certificateAuthoritiesFile: the file .* cannot be read \(ENOENT\)$/);
    const empty = join(temporaryFolder(), 'ca.pem');
    writeFileSync(empty, 'no certificate');
    assert.match(refusal({ certificateAuthoritiesFile: empty }), /holds no PEM certificate$/);
  });
});
