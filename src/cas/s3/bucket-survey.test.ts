import assert from 'node:assert/strict';
import { BucketContent, idOf, WRITERS } from '../../../test/support/bucket-content.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { MemoryObjectStore, type MemoryObjectStoreOptions } from '../../../test/support/memory-object-store.ts';
import { isKind, ReapiError } from '../../errors.ts';
import { NO_LOG } from '../../system/log.ts';
import { SystemRandom } from '../../system/random.ts';
import { type BucketSurvey, surveyBucket } from './bucket-survey.ts';
import type { RecoveryProgress } from './refresh.ts';

const NOW = 1_700_000_000_000;
const [A, B, C] = WRITERS;

describe('surveyBucket', () => {
  let content: BucketContent;
  let progress: RecoveryProgress[];

  beforeEach(() => {
    content = new BucketContent();
    content.format(NOW - 100_000);
    progress = [];
  });

  const survey = (options: MemoryObjectStoreOptions = {}, signal = noAbort()): Promise<BucketSurvey> => {
    const objects = new MemoryObjectStore(new FakeClock(NOW), { bucket: content.bucket, ...options });
    const onProgress = (state: RecoveryProgress): void => {
      progress.push(state);
    };
    return surveyBucket(objects, { random: new SystemRandom(), log: NO_LOG, onProgress }, signal);
  };

  it('counts what is there and what is to stay', async () => {
    content.pack(idOf(A, 1), { blobs: ['one', 'two'], entries: [['k', 'v']] }, NOW - 9_000);
    content.pack(idOf(A, 2), { blobs: ['three'], removals: ['k'] }, NOW - 8_000);
    content.large(idOf(B, 1), 'large', NOW - 7_000);
    const { bucket, formatVersion, nowMs, packs, largeBlobs, blobs, entries, bytes } = await survey();
    assert.deepEqual(
      { bucket, formatVersion, nowMs, packs, largeBlobs, blobs, entries },
      { bucket: 'b1', formatVersion: 1, nowMs: NOW, packs: 2, largeBlobs: 1, blobs: 4, entries: 0 },
    );
    const containers = [...content.bucket.objects].filter(([key]) => key.startsWith('packs/'));
    assert.equal(
      bytes,
      containers.reduce((sum, [, object]) => sum + object.bytes.length, 0),
    );
  });

  it('tells since when containers are condemned, by the first pack that says so, and counts copies of them once', async () => {
    // The index would look for the blob in the original: its number is greater.
    const key = content.pack(idOf(B, 9), { blobs: ['copied', 'given up'] }, NOW - 9_000);
    content.pack(idOf(A, 1), { blobs: ['copied'] }, NOW - 8_000);
    content.pack(idOf(B, 10), { condemns: [idOf(B, 9), idOf(B, 0)] }, NOW - 7_000);
    content.pack(idOf(A, 2), { condemns: [idOf(B, 9)] }, NOW - 6_000);
    const { condemned, blobs, liveBytes } = await survey();
    const sizeBytes = content.bucket.objects.get(key)?.bytes.length;
    assert.deepEqual(condemned, [{ key, sizeBytes, sinceMs: NOW - 7_000 }]);
    assert.deepEqual([blobs, liveBytes], [1, 'copied'.length]);
  });

  it('tells damaged packs, and goes on', async () => {
    const key = content.pack(idOf(A, 1), { blobs: ['one'] }, NOW - 9_000);
    content.bucket.set(key, Buffer.from('torn'), NOW - 9_000);
    content.pack(idOf(A, 2), { blobs: ['two'] }, NOW - 8_000);
    const { damagedPacks, packs, blobs } = await survey();
    assert.deepEqual([damagedPacks, packs, blobs], [[key], 2, 1]);
  });

  it('tells which servers are known, with what they promise and have', async () => {
    content.state(A, NOW - 5_000, { refreshSeconds: 30, leaseSeconds: 600 });
    content.pack(idOf(A, 1), { blobs: ['one'] }, NOW - 9_000);
    content.bucket.set(content.state(B, NOW), Buffer.from('{'), NOW - 4_000);
    content.bucket.set(content.state(C, NOW), Buffer.alloc(70_000), NOW - 3_000);
    const { writers } = await survey();
    assert.deepEqual(
      writers.map(({ writer, info, state, containers }) => [writer, info.modifiedMs, state?.leaseSeconds, containers]),
      [
        [A, NOW - 5_000, 600, 1],
        [B, NOW - 4_000, undefined, 0],
        [C, NOW - 3_000, undefined, 0],
      ],
    );
  });

  it("keeps apart what is not Gantry's, objects and uploads", async () => {
    const foreign = ['a', 'ci/packs/x', 'doctor/x', 'packs/readme', 'snapshots/', 'writers/me', 'zz'];
    for (const key of foreign) content.bucket.set(key, Buffer.from('12345'), NOW);
    const scratch = 'doctor/0123456789abcdef/a';
    content.bucket.set(scratch, Buffer.alloc(1), NOW - 1);
    content.bucket.beginUpload('movie', NOW - 5);
    const key = `packs/${A}/000000000001-0000aaaa`;
    content.bucket.beginUpload(key, NOW - 4);
    const found = await survey();
    assert.deepEqual(found.foreign, { count: 7, bytes: 35, names: foreign.slice(0, 5) });
    assert.deepEqual(
      found.scratch.map((info) => info.key),
      [scratch],
    );
    assert.deepEqual(
      found.uploads.map((upload) => upload.key),
      [key],
    );
  });

  it('leaves nothing behind, also if it is stopped', async () => {
    const before = [...content.bucket.objects.keys()];
    await survey();
    assert.deepEqual([...content.bucket.objects.keys()], before);
    const stop = new AbortController();
    const faults = (call: string, key: string) => {
      if (call === 'list' && key === '') stop.abort();
      return undefined;
    };
    await assert.rejects(survey({ faults }, stop.signal), ofKind('cancelled'));
    assert.deepEqual([...content.bucket.objects.keys()], before);
  });

  it('takes the time of the newest object if there is no room for another one', async () => {
    content.state(A, NOW - 5_000);
    const clock = new FakeClock(NOW);
    const objects = new MemoryObjectStore(clock, { bucket: content.bucket });
    objects.put = () => Promise.reject(new ReapiError('quota-exceeded', 'full'));
    const found = await surveyBucket(
      objects,
      { random: new SystemRandom(), log: NO_LOG, onProgress: () => undefined },
      noAbort(),
    );
    assert.equal(found.nowMs, NOW - 5_000);
  });

  it('refuses a bucket that no server has used, of others, or of a newer version', async () => {
    content.format(NOW, 2);
    await assert.rejects(survey(), /newer program/);
    content.bucket.set('format', Buffer.from('x'), NOW);
    await assert.rejects(survey(), /not Gantry's/);
    content.bucket.objects.clear();
    await assert.rejects(survey(), (error) => isKind(error, 'precondition') && /s3\.prefix/.test(error.message));
    assert.equal(content.bucket.objects.size, 0);
  });

  it('tells how far it is', async () => {
    for (let number = 1; number <= 20; number++) content.pack(idOf(A, number), { blobs: [`${number}`] }, NOW);
    await survey();
    assert.deepEqual(progress.at(0), { listed: 21, done: 0, total: 0 });
    assert.deepEqual(progress.slice(1), [
      { listed: 21, done: 16, total: 20 },
      { listed: 21, done: 20, total: 20 },
    ]);
  });
});
