import assert from 'node:assert/strict';
import {
  type BucketServer,
  bucketWorld,
  inTime,
  storeEntry,
  storeLarge,
  storePack,
} from '../../../test/support/bucket-server.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { digestOf } from '../../digest/hasher.ts';
import type { ObjectInfo } from './object-store.ts';
import type { Condemnation } from './pack-format.ts';

async function listed(server: BucketServer): Promise<readonly ObjectInfo[]> {
  const infos: ObjectInfo[] = [];
  for await (const page of server.objects.list('packs/', undefined, noAbort())) infos.push(...page);
  return infos;
}

/** Loads all there is, as another server. */
async function load(server: BucketServer, infos?: readonly ObjectInfo[], onProgress?: (done: number) => void) {
  const condemned: Condemnation[] = [];
  const onCondemned = (found: readonly Condemnation[]): void => void condemned.push(...found);
  const options = { touched: 77, signal: noAbort(), onCondemned, ...(onProgress && { onProgress }) };
  await server.loader.load(infos ?? (await listed(server)), options);
  return condemned;
}

describe('ContainerLoader', () => {
  it('brings packs, large blobs and entries of others into the index', async () => {
    const { server } = bucketWorld();
    const writer = server('1');
    const { digests } = await storePack(writer, 'one', 'two');
    const large = storeLarge(writer, 'a large blob');
    const { hash, version } = await storeEntry(writer, 'key', 5);
    const reader = server('2');
    await load(reader);
    for (const digest of [...digests, large.digest]) {
      const place = reader.index.findBlob(digest);
      assert.equal(place?.lengthBytes, digest.sizeBytes);
      assert.equal(place?.container.key, writer.index.findBlob(digest)?.container.key);
    }
    assert.deepEqual(reader.index.findEntry(hash)?.version, version);
    assert.equal(reader.index.blobTable.touched(0), 77);
    assert.equal(reader.index.maxSequence, 5);
  });

  it('reads nothing of what is known, nor of large blobs, nor of what is no container', async () => {
    const { bucket, server, clock } = bucketWorld();
    const writer = server('1');
    await storePack(writer, 'one');
    storeLarge(writer, 'large');
    bucket.set('packs/readme.txt', Buffer.from('by hand'), clock.nowMs());
    const reads: string[] = [];
    const reader = server('2', { faults: (call, key) => void (call === 'list' || reads.push(key)) });
    await load(reader);
    await load(reader);
    assert.equal(reads.length, 1);
    assert.equal(reader.index.containers.count, 2);
  });

  it('reads what is known once more if told, and finds the other copy of what was lost', async () => {
    const { server } = bucketWorld();
    const writer = server('1');
    await storePack(writer, 'same');
    const { digests, pack } = await storePack(writer, 'same');
    const reader = server('2');
    await load(reader);
    const [digest] = digests;
    const last = reader.index.containers.find(pack.id);
    assert.ok(digest !== undefined && last !== undefined);
    reader.index.forget(last);
    const left = (await listed(reader)).filter(({ key }) => key !== pack.key);
    await load(reader, left);
    assert.equal(reader.index.findBlob(digest), undefined);
    const again = { touched: 78, signal: noAbort(), onCondemned: () => undefined, again: true };
    await reader.loader.load(left, again);
    assert.equal(reader.index.findBlob(digest)?.container.key, left[0]?.key);
    assert.equal(reader.index.containers.count, 1);
  });

  it('keeps the row of a blob in the container that comes last', async () => {
    const { server } = bucketWorld();
    const writer = server('1');
    const first = await storePack(writer, 'same');
    const second = await storePack(writer, 'same');
    const reader = server('2');
    await load(reader);
    const [digest] = second.digests;
    assert.ok(digest !== undefined);
    assert.equal(reader.index.findBlob(digest)?.container.key, second.pack.key);
    assert.equal(reader.index.containers.find(first.pack.id)?.liveBytes, 0);
  });

  for (const [how, damage] of [
    ['a flipped bit in its footer', (bytes: Uint8Array) => flip(bytes, bytes.length - 40)],
    ['a flipped bit in its trailer', (bytes: Uint8Array) => flip(bytes, bytes.length - 3)],
    ['its end missing', (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 5)],
    ['less than a trailer', (bytes: Uint8Array) => bytes.subarray(0, 7)],
    ['nothing in it', (bytes: Uint8Array) => bytes.subarray(0, 0)],
  ] as const) {
    it(`goes on after a pack with ${how}, counts it and leaves it where it is`, async () => {
      const { bucket, server, clock } = bucketWorld();
      const writer = server('1');
      const bad = await storePack(writer, 'bad');
      const good = await storePack(writer, 'good');
      bucket.set(bad.pack.key, damage(bucket.objects.get(bad.pack.key)?.bytes ?? Buffer.alloc(0)), clock.nowMs());
      const reader = server('2');
      await load(reader);
      assert.equal(reader.loader.damaged, 1);
      assert.equal(reader.index.containers.find(bad.pack.id)?.isDamaged, true);
      assert.equal(reader.index.blobTable.size, 1);
      assert.deepEqual(
        good.digests.map((digest) => reader.index.keeps(digest)),
        [true],
      );
      await load(reader);
      assert.equal(reader.loader.damaged, 1, 'it is not read at every refresh');
    });
  }

  it('does not ask for the bytes of an object that has none', async () => {
    const { bucket, server, clock } = bucketWorld();
    const { pack } = await storePack(server('1'), 'one');
    bucket.set(pack.key, Buffer.alloc(0), clock.nowMs());
    const calls: string[] = [];
    await load(server('2', { faults: (call) => void calls.push(call) }));
    assert.deepEqual(calls, ['list']);
  });

  it('passes over a pack that was deleted after it was listed', async () => {
    const { bucket, server } = bucketWorld();
    const writer = server('1');
    const { pack } = await storePack(writer, 'one');
    const reader = server('2');
    const infos = await listed(reader);
    bucket.objects.delete(pack.key);
    await load(reader, infos);
    assert.deepEqual([reader.index.containers.count, reader.loader.damaged], [0, 0]);
  });

  it('refuses a pack of a newer version', async () => {
    const { bucket, server, clock } = bucketWorld();
    const writer = server('1');
    const { pack } = await storePack(writer, 'one');
    const bytes = Buffer.from(bucket.objects.get(pack.key)?.bytes ?? []);
    bytes.writeUInt16LE(2, bytes.length - 24);
    bucket.set(pack.key, bytes, clock.nowMs());
    await assert.rejects(load(server('2')), ofKind('precondition'));
  });

  it('tells of condemnations with the batch they stand in, even if a later one fails', async () => {
    const { server, clock } = bucketWorld();
    const writer = server('1');
    const { pack } = await storePack(writer, 'one');
    await inTime(clock, writer.condemnations.condemn([pack], 0, noAbort()));
    for (let at = 0; at < 40; at++) await storePack(writer, `blob ${at}`);
    let reads = 0;
    const reader = server('2', {
      faults: (call) => (call === 'getRange' && ++reads === 25 ? 'fail-before' : undefined),
    });
    const condemned: Condemnation[] = [];
    const progress: number[] = [];
    const failing = reader.loader.load(await listed(reader), {
      touched: 1,
      signal: noAbort(),
      onCondemned: (found) => void condemned.push(...found),
      onProgress: (done) => void progress.push(done),
    });
    await assert.rejects(failing, ofKind('unavailable'));
    assert.deepEqual(
      condemned.map(({ id }) => id),
      [pack.id],
    );
    assert.deepEqual(progress, [16]);
    await load(reader, undefined, (done) => void progress.push(done));
    const [last] = (await storePack(writer, 'blob 39')).digests;
    assert.ok(last !== undefined && reader.index.keeps(last));
    assert.equal(digestOf('sha256', Buffer.from('blob 39')).hash, last.hash);
  });
});

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
