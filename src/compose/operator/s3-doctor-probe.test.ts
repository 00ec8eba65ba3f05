import assert from 'node:assert/strict';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import type { S3Options } from '../../cas/s3/s3-options.ts';
import { SystemClock } from '../../system/clock.ts';
import { SystemRandom } from '../../system/random.ts';
import { openS3Probe, type S3Probe } from './s3-doctor-probe.ts';

const OPTIONS: Omit<S3Options, 'endpoint'> = {
  bucket: 'builds',
  prefix: 'ci/',
  region: 'us-east-1',
  pathStyle: true,
  credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
  encryption: { kind: 'bucket-default' },
  storageClass: undefined,
  proxy: undefined,
  certificateAuthorities: undefined,
  maxConcurrentRequests: 4,
  requestTimeoutMs: 30_000,
  maxAttempts: 1,
};

const EMPTY_LIST = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>';
const DENIED = '<Error><Code>AccessDenied</Code><Message>no</Message></Error>';
const UPLOAD = '<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>';

describe('openS3Probe', () => {
  let server: Server;
  let probe: S3Probe;
  let seen: string[];
  let answer: (response: ServerResponse) => void;

  beforeEach(async () => {
    seen = [];
    server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      answer(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const options = { ...OPTIONS, endpoint: `http://127.0.0.1:${address.port}` };
    probe = openS3Probe(options, { clock: new SystemClock(), random: new SystemRandom() });
  });

  afterEach(async () => {
    probe.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const list = async (): Promise<void> => {
    for await (const _ of probe.store.list('x', undefined, noAbort())) break;
  };

  const answerWith = (status: number, body: string, date: string): void => {
    answer = (response) => {
      response.sendDate = false;
      response.writeHead(status, { 'content-type': 'application/xml', ...(date !== '' && { date }) }).end(body);
    };
  };

  it('knows where it is, and sends nothing by itself', () => {
    const { bucket, prefix, region } = probe.place;
    assert.deepEqual([bucket, prefix, region, seen], ['builds', 'ci/', 'us-east-1', []]);
    assert.equal(probe.serverTime(), undefined);
  });

  it('learns the time of the server from answers and from refusals', async () => {
    answerWith(200, EMPTY_LIST, 'Sat, 21 Nov 2026 17:00:00 GMT');
    await list();
    assert.equal(probe.serverTime()?.serverMs, Date.UTC(2026, 10, 21, 17));
    answerWith(403, DENIED, 'Sat, 21 Nov 2026 17:00:01 GMT');
    await assert.rejects(list(), ofKind('unavailable'));
    assert.equal(probe.serverTime()?.serverMs, Date.UTC(2026, 10, 21, 17, 0, 1));
    answerWith(200, EMPTY_LIST, '');
    await list();
    assert.equal(probe.serverTime()?.serverMs, Date.UTC(2026, 10, 21, 17, 0, 1));
  });

  it('begins uploads under the prefix', async () => {
    answerWith(200, UPLOAD, '');
    const { key, id } = await probe.beginUpload('doctor/x', noAbort());
    assert.deepEqual([key, id], ['doctor/x', 'u1']);
    assert.match(seen[0] ?? '', /^POST \/builds\/ci\/doctor\/x\?uploads/);
    answerWith(403, DENIED, '');
    await assert.rejects(probe.beginUpload('doctor/x', noAbort()), /beginning an upload in parts, AccessDenied/);
  });
});
