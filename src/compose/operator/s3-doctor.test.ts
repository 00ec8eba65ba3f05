import assert from 'node:assert/strict';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeS3Probe, type S3Call, type S3Defects } from '../../../test/support/fake-s3-probe.ts';
import { SystemRandom } from '../../system/random.ts';
import { examineS3 } from './s3-doctor.ts';
import type { S3Finding } from './s3-doctor-report.ts';

/** Names of everything that is looked at, in order. */
const ALL = [
  ...['endpoint', 'credentials', 'bucket', 'clock', 'put', 'get', 'range read', 'list', 'copy', 'multipart'],
  ...['abort multipart', 'list multipart', 'latency', 'delete'],
];

async function examine(defects: S3Defects = {}, signal = noAbort()) {
  const probe = new FakeS3Probe(defects);
  const told: S3Finding[] = [];
  const parts = {
    clock: probe.clock,
    random: new SystemRandom(),
    onFinding: async (each: S3Finding) => told.push(each) > 0,
  };
  const findings = await examineS3(probe, parts, signal);
  assert.deepEqual(told, findings);
  assert.equal(probe.clock.armed, 0, 'a timer is left');
  return { probe, findings, ...byResult(findings) };
}

function byResult(findings: readonly S3Finding[]) {
  const named = (result: S3Finding['result']) =>
    findings.filter((each) => each.result === result).map(({ check }) => check);
  return { ok: named('ok'), warnings: named('warning'), failed: named('failed'), skipped: named('skipped') };
}

function find(findings: readonly S3Finding[], check: string): S3Finding {
  const finding = findings.find((each) => each.check === check);
  assert.ok(finding, check);
  return finding;
}

function assertEmpty({ bucket }: FakeS3Probe): void {
  assert.deepEqual([...bucket.objects.keys(), ...bucket.uploads.keys()], []);
}

describe('examineS3', () => {
  it('finds nothing wrong with a bucket that works, and leaves nothing in it', async () => {
    const { probe, ok, findings } = await examine();
    assert.deepEqual(ok, ALL);
    assert.equal(findings.length, ALL.length);
    assertEmpty(probe);
  });

  it('writes to a folder of its own, each time', async () => {
    const written = async (): Promise<readonly string[]> => {
      const { probe } = await examine({ keepsDeleted: true });
      return [...probe.bucket.objects.keys()];
    };
    const [first, second] = [await written(), await written()];
    assert.ok([...first, ...second].every((key) => /^doctor\/[0-9a-f]{16}\/[a-z0-9]+$/.test(key)));
    assert.ok(first.every((key) => !second.includes(key)));
  });

  for (const [code, failed, advice] of [
    ['ECONNREFUSED', 'endpoint', /s3\.endpoint/],
    ['ENOTFOUND', 'endpoint', /s3\.region/],
    ['TimeoutError', 'endpoint', /s3\.proxy/],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'endpoint', /s3\.certificateAuthoritiesFile/],
    ['PermanentRedirect', 'endpoint', /s3\.region/],
    ['HTTP404', 'endpoint', /Is it an S3 server\?/],
    ['HTTP418', 'endpoint', /log of the object store/],
    ['SignatureDoesNotMatch', 'credentials', /The secret does not belong/],
    ['InvalidAccessKeyId', 'credentials', /does not know this access key/],
    ['ExpiredToken', 'credentials', /role/],
    ['RequestTimeTooSkewed', 'credentials', /Set the clock/],
    ['NoSuchBucket', 'bucket', /s3\.bucket/],
  ] as const) {
    it(`goes no further when the first request says ${code}`, async () => {
      const { probe, findings, ...results } = await examine({ codes: { list: code } });
      assert.deepEqual(results.failed, [failed]);
      assert.match(find(findings, failed).advice ?? '', advice);
      assert.deepEqual(findings.at(-1)?.check, 'clock');
      assertEmpty(probe);
    });
  }

  it('does not say that a server answers to which nothing was sent', async () => {
    const { failed, skipped } = await examine({ codes: { list: 'CredentialsProviderError' }, time: 'silent' });
    assert.deepEqual([failed, skipped], [['credentials'], ['endpoint', 'clock']]);
  });

  for (const [call, check, right, where, skipped] of [
    ['put', 'put', 's3:PutObject', 'builds/ci/*', ALL.slice(5)],
    ['get', 'get', 's3:GetObject', 'builds/ci/*', ['range read', 'copy', 'multipart', 'latency']],
    ['getRange', 'range read', 's3:GetObject', 'builds/ci/*', []],
    ['list', 'list', 's3:ListBucket', 'builds', []],
    ['copy', 'copy', 's3:PutObject and s3:GetObject', 'builds/ci/*', []],
    ['putStream', 'multipart', 's3:PutObject', 'builds/ci/*', []],
    ['unfinishedUploads', 'list multipart', 's3:ListBucketMultipartUploads', 'builds', []],
  ] as const) {
    it(`names ${right} when ${call} is denied, and goes on with the others`, async () => {
      const result = await examine({ codes: { [call]: 'AccessDenied' } });
      const failed = call === 'getRange' ? [check, 'multipart'] : [check];
      assert.deepEqual([result.failed, result.skipped], [failed, skipped]);
      assert.ok(find(result.findings, check).advice?.startsWith(`Allow ${right} on arn:aws:s3:::${where};`));
      assertEmpty(result.probe);
    });
  }

  it('tells of rights to drop and to delete that are missing, and of what stays for it', async () => {
    for (const [call, check, right] of [
      ['dropUpload', 'abort multipart', 's3:AbortMultipartUpload'],
      ['delete', 'delete', 's3:DeleteObject'],
    ] as const) {
      const { findings, failed, warnings } = await examine({ codes: { [call]: 'AccessDenied' } });
      assert.deepEqual([failed, warnings], [[check], ['clean-up']]);
      assert.match(find(findings, check).advice ?? '', new RegExp(`^Allow ${right} on arn:aws:s3:::builds/ci/\\*`));
      assert.match(find(findings, 'clean-up').finding, /^objects stay under "ci\/doctor\/[0-9a-f]{16}\/": /);
    }
  });

  it('names all the rights that credentials for reading only lack', async () => {
    const denied = { put: 'AccessDenied', delete: 'AccessDenied', unfinishedUploads: 'AccessDenied' };
    const { failed, warnings } = await examine({ codes: denied });
    assert.deepEqual([failed, warnings], [['put', 'list multipart', 'delete'], []]);
  });

  it('tells the rights of an encryption key from those of a bucket', async () => {
    const words = 'User x is not authorized to perform: kms:GenerateDataKey on resource y';
    const { findings } = await examine({ codes: { put: 'AccessDenied' }, words });
    assert.match(find(findings, 'put').advice ?? '', /^Allow kms:GenerateDataKey for the key/);
  });

  for (const [what, defects, check, also] of [
    [
      'stores the framing of uploads',
      { stored: (bytes: Uint8Array) => Buffer.from(`186a3;chunk-signature=abc\r\n${bytes.length}`) },
      ['get', /framing/],
      'list',
    ],
    [
      'changes bytes',
      { stored: (bytes: Uint8Array) => bytes.map((byte) => byte ^ 1) },
      ['get', /other bytes/],
      undefined,
    ],
    ['loses the end', { stored: (bytes: Uint8Array) => bytes.slice(1) }, ['get', /100,002 of 100,003/], 'list'],
    ['shows writes later', { isEventual: true }, ['get', /not there right after/], undefined],
    ['ignores ranges', { ignoresRange: true }, ['range read', /others came/], 'multipart'],
    ['leaves objects out of listings', { hidden: 1 }, ['list', /shows 2/], undefined],
    ['ignores start-after', { ignoresStartAfter: true }, ['list', /start-after/], undefined],
    ['lists wrong sizes', { wrongSizes: true }, ['list', /sizes/], undefined],
    ['copies wrongly', { wrongCopies: true }, ['copy', /differs/], undefined],
    ['mixes up parts', { swapsParts: true }, ['multipart', /in parts/], undefined],
    ['does not delete', { keepsDeleted: true }, ['delete', /still there/], undefined],
  ] as const) {
    it(`fails a server that ${what}`, async () => {
      const { findings, failed } = await examine(defects);
      const [name, text] = check;
      assert.deepEqual(failed, also === undefined ? [name] : [name, also]);
      assert.match(find(findings, name).finding, text);
      assert.ok(find(findings, name).advice);
    });
  }

  it('warns of a server that does not list unfinished uploads, and removes its own all the same', async () => {
    const { probe, failed, warnings } = await examine({ hidesUploads: true });
    assert.deepEqual([failed, warnings], [[], ['list multipart']]);
    assertEmpty(probe);
  });

  it('says how long requests take, and warns of a bucket that is far away', async () => {
    const near = find((await examine({ putMs: 12 })).findings, 'latency');
    assert.deepEqual(
      [near.result, near.finding],
      ['ok', '1 KiB is written in 12 ms (least 12 ms), read in 0 ms (least 0 ms)'],
    );
    const far = find((await examine({ putMs: 251 })).findings, 'latency');
    assert.equal(far.result, 'warning');
  });

  for (const [seconds, result, finding] of [
    [0, 'ok', 'this machine and the server agree'],
    [29, 'ok', 'this machine is 29 s ahead of the server'],
    [-30, 'warning', 'this machine is 30 s behind the server'],
    [900, 'failed', 'this machine is 900 s ahead of the server'],
  ] as const) {
    it(`takes a clock that is ${seconds} s off for ${result}`, async () => {
      const time = { serverMs: 5_000_000, localMs: 5_000_000 + seconds * 1000 };
      const clock = find((await examine({ time })).findings, 'clock');
      assert.deepEqual([clock.result, clock.finding], [result, finding]);
    });
  }

  it('removes what it wrote when it is stopped, wherever it is', async () => {
    const calls: S3Call[] = ['list', 'put', 'get', 'getRange', 'copy', 'putStream', 'beginUpload', 'dropUpload'];
    for (const at of calls) {
      const stop = new AbortController();
      const probe = new FakeS3Probe({
        onCall: (call) => {
          if (call === at) stop.abort();
        },
      });
      const parts = { clock: probe.clock, random: new SystemRandom(), onFinding: async () => true };
      await assert.rejects(examineS3(probe, parts, stop.signal), ofKind('cancelled'));
      assertEmpty(probe);
      assert.equal(probe.clock.armed, 0);
    }
  });

  it('gives up cleaning after a while', async () => {
    const stop = new AbortController();
    const probe: FakeS3Probe = new FakeS3Probe({
      onCall: (call) => {
        if (call === 'get') stop.abort();
        if (call === 'delete') probe.clock.advance(20_000);
      },
    });
    const told: S3Finding[] = [];
    const parts = {
      clock: probe.clock,
      random: new SystemRandom(),
      onFinding: async (each: S3Finding) => told.push(each) > 0,
    };
    await assert.rejects(examineS3(probe, parts, stop.signal), ofKind('cancelled'));
    assert.equal(told.at(-1)?.check, 'clean-up');
  });
});
