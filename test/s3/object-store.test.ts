import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateMultipartUploadCommand, HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { RequestCounts } from '../../src/cas/s3/request-counts.ts';
import { createS3Client } from '../../src/cas/s3/s3-client.ts';
import { PART_BYTES } from '../../src/cas/s3/s3-multipart.ts';
import { S3ObjectStore } from '../../src/cas/s3/s3-object-store.ts';
import type { S3Encryption, S3Options } from '../../src/cas/s3/s3-options.ts';
import { addressOf } from '../../src/cas/s3/s3-parameters.ts';
import { S3Requests } from '../../src/cas/s3/s3-requests.ts';
import { S3Uploads } from '../../src/cas/s3/s3-uploads.ts';
import { SystemClock } from '../../src/system/clock.ts';
import { SystemRandom } from '../../src/system/random.ts';
import { inPieces, someBytes } from '../support/blob-store-contract.ts';
import { noAbort, ofKind } from '../support/expectations.ts';
import { MINIO_KEY_ID, Minio, requireMinio } from '../support/minio.ts';
import { itemsOf, objectStoreContract } from '../support/object-store-contract.ts';

describe('S3ObjectStore with MinIO', () => {
  let folder: string;
  let minio: Minio;
  let clients: S3Client[] = [];
  let prefixes = 0;

  before(async function () {
    requireMinio(this);
    folder = mkdtempSync(join(tmpdir(), 'gantry-minio-'));
    minio = await Minio.start(folder);
  });
  afterEach(() => {
    for (const client of clients) client.destroy();
    clients = [];
  });
  after(async () => {
    await minio?.kill();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  /** A part of the bucket that nobody has used. */
  function open(changes: Partial<S3Options> = {}) {
    prefixes += 1;
    const options = minio.options({ prefix: `t${prefixes}/`, ...changes });
    const client = createS3Client(options);
    clients.push(client);
    const surroundings = { clock: new SystemClock(), random: new SystemRandom(), counts: new RequestCounts() };
    const requests = new S3Requests(options, surroundings);
    const uploads = new S3Uploads(client, options, requests);
    return { options, client, store: new S3ObjectStore(client, options, surroundings), uploads, ...surroundings };
  }

  describe('keeps the laws', () => {
    objectStoreContract(async () => {
      const { store, client, options } = open();
      const beginUpload = async (key: string) => {
        const { UploadId } = await client.send(new CreateMultipartUploadCommand(addressOf(options, key)));
        return UploadId ?? '';
      };
      return { store, beginUpload };
    });
  });

  it('sees nothing outside its prefix', async () => {
    const one = open();
    const other = open();
    await one.store.put('k', [Buffer.from('x')], noAbort());
    assert.deepEqual(await itemsOf(other.store.list('', undefined, noAbort())), []);
    assert.equal(await other.store.get('k', 10, noAbort()), undefined);
    await other.store.delete(['k'], noAbort());
    assert.notEqual(await one.store.get('k', 10, noAbort()), undefined);
  });

  it('copies long objects in parts', async () => {
    const { store, uploads, counts } = open();
    const bytes = someBytes(PART_BYTES + 1, 5);
    await store.putStream('from', inPieces(bytes, 1_000_000), bytes.length, noAbort());
    await uploads.copy('from', 'to', bytes.length, noAbort());
    assert.equal(Buffer.compare((await store.get('to', 2 * PART_BYTES, noAbort())) ?? Buffer.alloc(0), bytes), 0);
    assert.equal(counts.of('copy-part').requests, 1);
    await assert.rejects(uploads.copy('none', 'to2', 10, noAbort()), ofKind('not-found'));
    assert.deepEqual(await itemsOf(store.unfinishedUploads(noAbort())), []);
  });

  it('encrypts what it puts, uploads in parts and copies, as it was told', async () => {
    const encryptions: readonly [encryption: S3Encryption, expected: string][] = [
      [{ kind: 's3' }, 'AES256'],
      [{ kind: 'kms', keyId: MINIO_KEY_ID }, 'aws:kms'],
    ];
    for (const [encryption, expected] of encryptions) {
      const { store, uploads, client, options } = open({ encryption, storageClass: 'STANDARD' });
      await store.put('put', [Buffer.from('x')], noAbort());
      await store.copy('put', 'copy', 1, noAbort());
      await store.putStream('parts', inPieces(someBytes(PART_BYTES + 1), PART_BYTES), PART_BYTES + 1, noAbort());
      await uploads.copy('parts', 'copied-parts', PART_BYTES + 1, noAbort());
      for (const key of ['put', 'copy', 'parts', 'copied-parts']) {
        const head = await client.send(new HeadObjectCommand(addressOf(options, key)));
        assert.equal(head.ServerSideEncryption, expected, key);
        assert.equal((await store.getRange(key, 0, 1, noAbort())).length, 1);
      }
    }
  });

  it('says which bucket there is not', async () => {
    const { store } = open({ bucket: 'no-such-bucket' });
    await assert.rejects(store.get('k', 10, noAbort()), /the bucket "no-such-bucket" does not exist/);
    await assert.rejects(store.getRange('k', 0, 1, noAbort()), ofKind('unavailable'));
    await assert.rejects(store.delete(['k'], noAbort()), ofKind('unavailable'));
  });

  it('says that the credentials are refused, without them', async () => {
    for (const credentials of [
      { accessKeyId: 'nobody', secretAccessKey: 'something secret' },
      { ...minio.options().credentials, secretAccessKey: 'something secret' },
    ]) {
      const { store } = open({ credentials: { accessKeyId: 'nobody', ...credentials } });
      await assert.rejects(store.put('k', [Buffer.from('x')], noAbort()), (error: Error) => {
        assert.ok(ofKind('unavailable')(error));
        assert.match(error.message, /the credentials for bucket "gantry-test" are refused/);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    }
  });

  it('is unavailable while the server is down, and goes on when it is back with what was stored', async () => {
    const { store } = open({ maxAttempts: 2 });
    await store.put('k', [Buffer.from('kept')], noAbort());
    await minio.kill();
    await assert.rejects(store.get('k', 10, noAbort()), ofKind('unavailable'));
    await minio.restart();
    assert.equal(Buffer.from((await store.get('k', 10, noAbort())) ?? []).toString(), 'kept');
    await minio.stop();
    await minio.restart();
    assert.equal(Buffer.from((await store.get('k', 10, noAbort())) ?? []).toString(), 'kept');
  });
});
