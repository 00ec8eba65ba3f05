import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeS3Probe, type S3Defects } from '../../test/support/fake-s3-probe.ts';
import { runProgram } from '../../test/support/operator-world.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import type { S3Options } from '../cas/s3/s3-options.ts';

async function run(
  args: readonly string[],
  defects: S3Defects = {},
  { environment = {}, chunksRead }: { environment?: Readonly<Record<string, string>>; chunksRead?: number } = {},
) {
  const probe = new FakeS3Probe(defects);
  const opened: S3Options[] = [];
  const openS3Probe = (options: S3Options) => {
    opened.push(options);
    return probe;
  };
  const result = await runProgram(['doctor', 's3', ...args], {
    openS3Probe,
    environment,
    ...(chunksRead && { chunksRead }),
  });
  return { ...result, probe, opened };
}

describe('gantry doctor s3', () => {
  it('prints a line for each check and lets go of the bucket', async () => {
    const { code, out, err, probe } = await run(['--s3-bucket', 'builds']);
    assert.deepEqual([code, err, probe.isClosed], [0, '', true]);
    const lines = out.split('\n');
    assert.equal(lines[0], 'checking the bucket "builds" under "ci/" at http://127.0.0.1:9000, region us-east-1');
    assert.equal(lines[1], 'ok       endpoint: it answers');
    assert.deepEqual(lines.slice(-2), ['the bucket can be used', '']);
  });

  it('fails with what to do if a check does', async () => {
    const { code, out, probe } = await run(['--s3-bucket', 'builds'], {
      codes: { copy: 'AccessDenied' },
      hidesUploads: true,
    });
    assert.deepEqual([code, probe.isClosed], [1, true]);
    assert.match(out, /^FAILED {3}copy: .*\n {9}Allow s3:PutObject and s3:GetObject on /m);
    assert.match(out, /^warning {2}list multipart: /m);
    assert.match(out, /\n1 of 14 checks failed, 1 warning\n$/);
  });

  it('shows the words of a server without what a terminal would obey', async () => {
    const { out } = await run(['--s3-bucket', 'builds'], { codes: { list: 'Nasty\x1b[2J' } });
    assert.match(out, /Nasty\\x1b\[2J/);
  });

  it('stops when nobody reads on, and leaves nothing in the bucket', async () => {
    const { out, probe } = await run(['--s3-bucket', 'builds'], {}, { chunksRead: 7 });
    assert.match(out, /^ok {7}get: /m);
    assert.doesNotMatch(out, /copy/);
    assert.equal(probe.bucket.objects.size, 0);
  });

  it('prints one report for programs', async () => {
    const good = await run(['--s3-bucket', 'builds', '--json']);
    const report = JSON.parse(good.out);
    assert.deepEqual([good.code, report.bucket, report.isUsable, report.checks.length], [0, 'builds', true, 14]);
    assert.deepEqual(report.checks[0], { check: 'endpoint', result: 'ok', finding: 'it answers' });
    const bad = await run(['--s3-bucket', 'builds', '--json'], { codes: { list: 'NoSuchBucket' } });
    assert.deepEqual([bad.code, JSON.parse(bad.out).isUsable], [1, false]);
  });

  it('takes the bucket from the configuration, with flags on top', async () => {
    const file = join(temporaryFolder(), 'gantry.yaml');
    writeFileSync(file, 's3: { bucket: one, prefix: a, region: eu-west-1 }\n');
    const secrets = {
      GANTRY_S3_CREDENTIALS_ACCESS_KEY_ID: 'id',
      GANTRY_S3_CREDENTIALS_SECRET_ACCESS_KEY: 'hidden',
    };
    const { opened } = await run(
      ['--config', file, '--s3-prefix', 'b', '--s3-endpoint', 'http://a:1'],
      {},
      { environment: secrets },
    );
    const [options] = opened;
    assert.deepEqual(
      [options?.bucket, options?.prefix, options?.region, options?.endpoint, options?.pathStyle],
      ['one', 'b/', 'eu-west-1', 'http://a:1', true],
    );
    assert.deepEqual(options?.credentials, { accessKeyId: 'id', secretAccessKey: 'hidden' });
  });

  it('wants a bucket, and secrets that can be read', async () => {
    const none = await run([]);
    const message = 'gantry: no bucket is configured: set s3.bucket, or give --s3-bucket\n';
    assert.deepEqual([none.code, none.err, none.opened.length], [2, message, 0]);
    const file = join(temporaryFolder(), 'gantry.yaml');
    writeFileSync(file, 's3: { bucket: one, credentials: { accessKeyId: a, secretAccessKey: { env: NOWHERE } } }\n');
    const missing = await run(['--config', file]);
    assert.equal(missing.code, 2);
    assert.match(missing.err, /s3\.credentials\.secretAccessKey: the variable NOWHERE is not set\n$/);
  });
});
