import assert from 'node:assert/strict';
import { inPieces, sha256, someBytes } from '../../../test/support/blob-store-contract.ts';
import { BucketWorld, MAX_PACKED_BYTES, REFRESH_MS, UPLOAD_WAIT_MS } from '../../../test/support/bucket-world.ts';
import { turns, until } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { isKind, ReapiError } from '../../errors.ts';

const SMALL = 1000;
const LARGE = MAX_PACKED_BYTES + 1;

/** Waits until a put has everything in the local tier and waits for the bucket. */
async function untilBacklog(world: BucketWorld, bytes: number): Promise<void> {
  await until(() => world.backlogBytes === bytes && hasBlob(world));
  await turns(50);
}

function hasBlob({ local }: BucketWorld): boolean {
  const { blobs, files } = local.stats();
  return blobs + files > 0;
}

/** Whether it has ended. */
function watch(work: Promise<unknown>): { isOver: boolean } {
  const seen = { isOver: false };
  work.then(
    () => {
      seen.isOver = true;
    },
    () => {
      seen.isOver = true;
    },
  );
  return seen;
}

describe('DurableBlobStore', () => {
  for (const sizeBytes of [SMALL, LARGE]) {
    it(`acknowledges ${sizeBytes} bytes with durability s3 when the bucket has them, and not before`, async () => {
      const world = await BucketWorld.open();
      world.faults.of = () => 'fail-before';
      const put = world.put(sizeBytes, 1);
      const seen = watch(put);
      await untilBacklog(world, sizeBytes);
      assert.equal(seen.isOver, false);
      assert.equal(await world.isMissing(sha256(someBytes(sizeBytes, 1))), true);
      await world.mend();
      const digest = await put;
      assert.equal(world.containers().length, 1);
      assert.equal(await world.isMissing(digest), false);
      assert.equal(world.backlogBytes, 0);
    });

    it(`acknowledges ${sizeBytes} bytes with durability local at once`, async () => {
      const world = await BucketWorld.open({ durability: 'local' });
      world.faults.of = () => 'fail-before';
      const digest = await world.put(sizeBytes, 1);
      assert.equal(await world.isMissing(digest), false);
      assert.equal(world.containers().length, 0);
      assert.equal(world.backlogBytes, sizeBytes);
      await world.mend();
      await world.uploaded();
      assert.equal(world.containers().length, 1);
    });

    it(`lets a put of ${sizeBytes} bytes wait for the bucket only so long, and stores them later all the same`, async () => {
      const world = await BucketWorld.open();
      world.faults.of = () => 'fail-before';
      const bytes = someBytes(sizeBytes);
      const put = world.tier.blobs.putBytes(sha256(bytes), bytes, noAbort());
      const refused = assert.rejects(put, (error) => {
        assert.ok(error instanceof ReapiError);
        assert.equal(error.kind, 'unavailable');
        assert.ok((error.facts.retryAfterMs ?? 0) > 0);
        return true;
      });
      await untilBacklog(world, sizeBytes);
      world.clock.advance(UPLOAD_WAIT_MS);
      await refused;
      assert.equal(world.backlogBytes, sizeBytes);
      await world.mend();
      await world.uploaded();
      assert.equal(await world.isMissing(sha256(bytes)), false);
    });
  }

  it('refuses writes above the limit of the backlog, but anything if it is empty', async () => {
    const world = await BucketWorld.open({ durability: 'local', maxBacklogBytes: 2 * SMALL });
    world.faults.of = () => 'fail-before';
    await world.put(3 * SMALL, 1);
    await assert.rejects(world.put(1, 2), ofKind('unavailable'));
    assert.equal(world.tier.stats().refusedWrites, 1);
    assert.equal(world.backlogBytes, 3 * SMALL);
    await world.mend();
    await world.uploaded();
    await world.put(SMALL, 2);
    await world.put(SMALL, 3);
    await assert.rejects(world.put(1, 4), ofKind('unavailable'));
  });

  describe('gives the room in the backlog back', () => {
    it('when a put is cancelled that the bucket gets nevertheless, once it has it', async () => {
      const world = await BucketWorld.open();
      world.faults.of = () => 'fail-before';
      const abort = new AbortController();
      const bytes = someBytes(SMALL);
      const put = world.tier.blobs.putBytes(sha256(bytes), bytes, abort.signal);
      await untilBacklog(world, SMALL);
      abort.abort();
      await assert.rejects(put, ofKind('cancelled'));
      assert.equal(world.backlogBytes, SMALL);
      await world.mend();
      await world.uploaded();
    });

    it('when the only put of a large blob is cancelled: its upload ends', async () => {
      const world = await BucketWorld.open();
      world.faults.of = (call) => (call === 'putStream' ? 'hang' : undefined);
      const abort = new AbortController();
      const bytes = someBytes(LARGE);
      const put = world.tier.blobs.putBytes(sha256(bytes), bytes, abort.signal);
      await untilBacklog(world, LARGE);
      abort.abort();
      await assert.rejects(put, ofKind('cancelled'));
      await until(() => world.backlogBytes === 0);
      assert.equal(await world.isMissing(sha256(bytes)), true);
      world.faults.of = () => undefined;
      await world.put(LARGE, 1);
      assert.equal(await world.isMissing(sha256(bytes)), false);
    });

    it('when one of two puts of a large blob is cancelled, the other gets it stored', async () => {
      const world = await BucketWorld.open();
      world.faults.of = () => 'fail-before';
      const abort = new AbortController();
      const bytes = someBytes(LARGE);
      const first = world.tier.blobs.putBytes(sha256(bytes), bytes, abort.signal);
      const second = world.put(LARGE, 1);
      await untilBacklog(world, 2 * LARGE);
      abort.abort();
      await assert.rejects(first, ofKind('cancelled'));
      await world.mend();
      await second;
      await world.uploaded();
      assert.equal(world.containers().length, 1);
    });

    for (const durability of ['s3', 'local'] as const) {
      it(`when the local tier does not take the blob, with durability ${durability}`, async () => {
        const world = await BucketWorld.open({ durability });
        const bytes = someBytes(SMALL);
        const wrong = world.tier.blobs.putBytes(sha256(bytes), someBytes(SMALL, 2), noAbort());
        await assert.rejects(wrong, ofKind('digest-mismatch'));
        const broken = world.tier.blobs.put(sha256(bytes), inPieces(bytes.subarray(1), 100), noAbort());
        await assert.rejects(broken, ofKind('digest-mismatch'));
        assert.equal(world.backlogBytes, 0);
      });

      for (const sizeBytes of [SMALL, LARGE]) {
        it(`when the tier closes, with durability ${durability} and ${sizeBytes} bytes`, async () => {
          const world = await BucketWorld.open({ durability });
          world.faults.of = () => 'fail-before';
          const put = world.put(sizeBytes, 1);
          const ended = durability === 's3' ? assert.rejects(put, ofKind('unavailable')) : put;
          if (durability === 'local') await ended;
          await untilBacklog(world, sizeBytes);
          await world.close();
          await ended;
          assert.equal(world.backlogBytes, 0);
        });
      }
    }

    it('when many put the same blob at once', async () => {
      const world = await BucketWorld.open({ durability: 'local' });
      world.faults.of = () => 'fail-before';
      await Promise.all([world.put(SMALL, 1), world.put(SMALL, 1), world.put(SMALL, 1)]);
      assert.equal(world.backlogBytes, SMALL);
      await world.mend();
      await world.uploaded();
      assert.equal(world.tier.stats().liveBytes, SMALL);
    });
  });

  describe('reading large blobs', () => {
    async function stored(sizeBytes = LARGE) {
      const world = await BucketWorld.open();
      const digest = await world.put(sizeBytes, 1);
      await world.evict();
      assert.equal(world.local.has(digest), false);
      return { world, digest, bytes: Buffer.from(someBytes(sizeBytes, 1)) };
    }

    it('fetches it once for many readers, and keeps it here', async () => {
      const { world, digest, bytes } = await stored();
      const beforeBytes = world.objects.counts.of('get').receivedBytes;
      const read = await Promise.all([world.read(digest), world.read(digest), world.read(digest)]);
      for (const got of read) assert.equal(Buffer.compare(Buffer.from(got), bytes), 0);
      assert.equal(world.objects.counts.of('get').receivedBytes - beforeBytes, LARGE);
      assert.equal(world.local.has(digest), true);
    });

    it('gives a range of it without fetching the rest', async () => {
      const { world, digest, bytes } = await stored();
      const beforeBytes = world.objects.counts.of('get').receivedBytes;
      const got = await world.read(digest, { offset: 1000, limit: 500 });
      assert.equal(Buffer.compare(Buffer.from(got), bytes.subarray(1000, 1500)), 0);
      assert.equal(world.objects.counts.of('get').receivedBytes - beforeBytes, 500);
    });

    it('goes on for the others if one reader leaves', async () => {
      const { world, digest, bytes } = await stored();
      const abort = new AbortController();
      const left = world.tier.blobs.open(digest, { offset: 0 }, abort.signal);
      const stays = world.read(digest);
      abort.abort();
      await assert.rejects(left, ofKind('cancelled'));
      assert.equal(Buffer.compare(Buffer.from(await stays), bytes), 0);
    });

    for (const [how, read] of [
      ['as a stream', (world, digest) => world.read(digest)],
      ['at once', (world, digest) => world.tier.blobs.getBytes(digest, noAbort())],
    ] as readonly [string, (world: BucketWorld, digest: ReturnType<typeof sha256>) => Promise<Uint8Array>][]) {
      it(`answers blob-not-found for one that is damaged in the bucket, read ${how}, and takes it again`, async () => {
        const { world, digest, bytes } = await stored();
        world.damage(world.objectOf(digest), LARGE >> 1);
        await assert.rejects(read(world, digest), ofKind('blob-not-found'));
        assert.equal(await world.isMissing(digest), true);
        await world.put(LARGE, 1);
        await world.evict();
        assert.equal(Buffer.compare(Buffer.from(await read(world, digest)), bytes), 0);
      });

      it(`answers blob-not-found for one that is cut short in the bucket, read ${how}`, async () => {
        const { world, digest, bytes } = await stored();
        world.bucket.set(world.objectOf(digest), bytes.subarray(0, LARGE - 1), 0);
        await assert.rejects(read(world, digest), ofKind('blob-not-found'));
        assert.equal(await world.isMissing(digest), true);
      });

      it(`answers blob-not-found for one whose object was deleted by hand, read ${how}`, async () => {
        const { world, digest } = await stored();
        world.bucket.objects.delete(world.objectOf(digest));
        await assert.rejects(read(world, digest), ofKind('blob-not-found'));
        assert.equal(await world.isMissing(digest), true);
      });
    }

    it('streams it past a local tier that has no room for it, and never to its end if it is damaged', async () => {
      const sizeBytes = 10 * 1024 * 1024;
      const world = await BucketWorld.open();
      const digest = await world.put(sizeBytes, 1);
      const small = await world.beside({ localMaxBytes: 8 * 1024 * 1024 });
      assert.deepEqual(sha256(await small.read(digest)), digest);
      assert.equal(small.local.has(digest), false);
      small.damage(small.objectOf(digest), 3);
      let gotBytes = 0;
      const read = async (): Promise<void> => {
        for await (const chunk of await small.tier.blobs.open(digest, { offset: 0 }, noAbort()))
          gotBytes += chunk.length;
      };
      await assert.rejects(read(), (error) => isKind(error, 'blob-not-found') || isKind(error, 'data-loss'));
      assert.ok(gotBytes < sizeBytes);
      assert.equal(await small.isMissing(digest), true);
    });
  });

  it('answers blob-not-found for a small blob that is damaged in the bucket, and takes it again', async () => {
    const world = await BucketWorld.open();
    const digest = await world.put(SMALL, 1);
    await world.evict();
    world.damage(world.containers()[0] ?? '', SMALL >> 1);
    await assert.rejects(world.read(digest), ofKind('blob-not-found'));
    assert.equal(await world.isMissing(digest), true);
    await world.put(SMALL, 1);
    await world.evict();
    assert.deepEqual(sha256(await world.read(digest)), digest);
  });

  it('holds what only the local tier has with durability local, and lets it go once the bucket has it', async () => {
    const world = await BucketWorld.open({ durability: 'local' });
    world.faults.of = () => 'fail-before';
    const digests = [await world.put(SMALL, 1), await world.put(LARGE, 2)];
    await world.putEntry('key', 'value');
    await world.evict();
    for (const digest of digests) assert.deepEqual(sha256(await world.read(digest)), digest);
    assert.equal(await world.textOf('key'), 'value');
    await world.mend();
    await world.uploaded();
    await world.evict();
    for (const digest of digests) assert.equal(world.local.has(digest), false);
    for (const digest of digests) assert.equal(await world.isMissing(digest), false);
  });

  it('promises what is put again by the local tier while news of the bucket is overdue', async () => {
    const other = await BucketWorld.open();
    const digest = await other.put(SMALL, 1);
    const world = await other.beside({ durability: 'local' });
    await world.read(digest);
    world.clock.advance(100_000);
    await until(() => world.tier.stats().staleSeconds === 0);
    world.faults.of = () => 'fail-before';
    world.clock.advance(2 * REFRESH_MS);
    await world.put(SMALL, 1);
    while ((await world.local.room.free('leased')) > 0);
    assert.equal(await world.isMissing(digest), false);
  });

  it('lets go of a stream that it does not need, and refuses calls that were cancelled before', async () => {
    const world = await BucketWorld.open();
    const digest = await world.put(SMALL, 1);
    await world.evict();
    const freed = { count: 0 };
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(new Error('nobody should read')),
        return: () => {
          freed.count++;
          return Promise.resolve({ done: true as const, value: undefined });
        },
      }),
    };
    await world.tier.blobs.put(digest, source, noAbort());
    await assert.rejects(world.tier.blobs.put(digest, source, AbortSignal.abort()), ofKind('cancelled'));
    await assert.rejects(
      world.tier.blobs.putBytes(digest, someBytes(SMALL, 1), AbortSignal.abort()),
      ofKind('cancelled'),
    );
    assert.equal(freed.count, 2);
  });
});
