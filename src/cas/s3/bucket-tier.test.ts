import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { blobStoreContract, sha256, someBytes } from '../../../test/support/blob-store-contract.ts';
import { BucketWorld, MAX_PACKED_BYTES } from '../../../test/support/bucket-world.ts';
import { turns, until } from '../../../test/support/deferred.ts';
import { entryStoreContract } from '../../../test/support/entry-store-contract.ts';
import { EvictedBlobStore, EvictedEntryStore } from '../../../test/support/evicted-stores.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { MemoryBucket } from '../../../test/support/memory-object-store.ts';
import type { Digest } from '../../digest/digest.ts';
import { ReapiError } from '../../errors.ts';

for (const durability of ['s3', 'local'] as const) {
  describe(`BucketTier with durability ${durability}`, () => {
    describe('as a store of blobs', () => {
      blobStoreContract(async () => (await BucketWorld.open({ durability })).tier.blobs);
    });

    describe('as a store of blobs, read from the bucket', () => {
      blobStoreContract(async () => new EvictedBlobStore(await BucketWorld.open({ durability })));
    });

    describe('as a store of entries', () => {
      entryStoreContract(async (wall) => (await BucketWorld.open({ durability, wall })).tier.entries);
    });

    describe('as a store of entries, read from the bucket', () => {
      entryStoreContract(async (wall) => new EvictedEntryStore(await BucketWorld.open({ durability, wall })));
    });
  });
}

describe('BucketTier', () => {
  /** Blobs that are stored in packs of their own, one after the other. */
  async function fill(world: BucketWorld, sizeBytes: number, seeds: readonly number[]): Promise<readonly Digest[]> {
    const digests: Digest[] = [];
    for (const seed of seeds) digests.push(await world.put(sizeBytes, seed));
    return digests;
  }

  async function answers(world: BucketWorld, digests: readonly Digest[], keys: readonly string[]) {
    const missing = await world.tier.blobs.findMissing(digests, noAbort());
    const texts: (string | undefined)[] = [];
    for (const key of keys) texts.push(await world.textOf(key));
    return { missing: missing.map(({ hash }) => hash), texts };
  }

  for (const durability of ['s3', 'local'] as const) {
    it(`gives another machine what was stored, with durability ${durability}, and keeps it over restarts`, async () => {
      const world = await BucketWorld.open({ durability });
      const digests = [await world.put(1000, 1), await world.put(MAX_PACKED_BYTES + 1, 2)];
      await world.putEntry('key', 'value');
      await world.uploaded();
      for (const other of [await world.beside(), await world.restart(), await (await world.restart()).crash()]) {
        for (const digest of digests) assert.equal(await other.isMissing(digest), false);
        for (const digest of digests) assert.deepEqual(sha256(await other.read(digest)), digest);
        assert.equal(await other.textOf('key'), 'value');
      }
    });
  }

  it('learns what another machine stores within a refresh', async () => {
    const here = await BucketWorld.open();
    const there = await here.beside();
    const digest = await here.put(1000, 1);
    assert.equal(await there.isMissing(digest), true);
    await here.refreshed();
    await there.refreshed();
    assert.equal(await there.isMissing(digest), false);
    assert.equal(there.tier.stats().otherServers, 1);
  });

  it('gives the same answers on an empty machine by snapshot and by footers alone', async () => {
    const world = await BucketWorld.open();
    const digests = [...(await fill(world, 12_000, seeds(1, 300)))];
    await world.putEntry('old', '1');
    await world.putEntry('removed', '1');
    for (let round = 0; round < 45; round++) await world.refreshed();
    await until(() => snapshots(world) === 1);
    digests.push(...(await fill(world, 12_000, seeds(301, 20))), await world.put(MAX_PACKED_BYTES + 1, 1000));
    await world.putEntry('old', '2');
    await world.putEntry('new', '1');
    await world.tier.entries.delete('removed', noAbort());
    digests.push(sha256(someBytes(12_000, 5000)));
    const keys = ['old', 'new', 'removed', 'never'];
    await world.close();

    const withSnapshot = await world.beside({ bucket: copyOf(world.bucket, () => true) });
    const footersAlone = await world.beside({ bucket: copyOf(world.bucket, (key) => !key.startsWith('snapshots/')) });
    const expected = { missing: digests.slice(-1).map(({ hash }) => hash), texts: ['2', '1', undefined, undefined] };
    assert.deepEqual(await answers(withSnapshot, digests, keys), expected);
    assert.deepEqual(await answers(footersAlone, digests, keys), expected);
    const stats = [withSnapshot.tier.stats(), footersAlone.tier.stats()] as const;
    assert.equal(stats[0].blobs, stats[1].blobs);
    assert.equal(stats[0].liveBytes, stats[1].liveBytes);
    assert.equal(stats[0].bytes, stats[1].bytes);
  });

  it('law: an empty machine has exactly what was acknowledged, whatever was stored and removed in what order', async () => {
    const step = fc.oneof(
      fc.record({ blob: fc.nat(20) }),
      fc.record({ key: fc.constantFrom('a', 'b', 'c'), text: fc.option(fc.string({ maxLength: 5 })) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.constantFrom('s3', 'local'), async (steps, durability) => {
        const world = await BucketWorld.open({ durability });
        const blobs = new Set<number>();
        const entries = new Map<string, string>();
        for (const done of steps) {
          if ('blob' in done) {
            await world.put(100, done.blob);
            blobs.add(done.blob);
          } else if (done.text === null) {
            assert.equal(await world.tier.entries.delete(done.key, noAbort()), entries.delete(done.key));
          } else {
            await world.putEntry(done.key, done.text);
            entries.set(done.key, done.text);
          }
        }
        await world.uploaded();
        const other = await world.beside();
        for (let seed = 0; seed <= 20; seed++) {
          assert.equal(await other.isMissing(sha256(someBytes(100, seed))), !blobs.has(seed));
        }
        for (const key of ['a', 'b', 'c']) assert.equal(await other.textOf(key), entries.get(key));
        await other.close();
        await world.close();
      }),
      { numRuns: 10 },
    );
  });

  it('counts what is in the bucket', async () => {
    const world = await BucketWorld.open();
    await world.put(1000, 1);
    await world.put(MAX_PACKED_BYTES + 1, 2);
    await world.putEntry('key', 'value');
    const stats = world.tier.stats();
    const objects = world.containers().map((key) => world.bucket.objects.get(key)?.bytes.length ?? 0);
    assert.equal(
      stats.bytes,
      objects.reduce((sum, bytes) => sum + bytes, 0),
    );
    assert.deepEqual([stats.blobs, stats.entries, stats.largeBlobs, stats.packs], [2, 1, 1, 2]);
    assert.deepEqual([stats.isReachable, stats.condemned, stats.backlogBytes, stats.damagedPacks], [true, 0, 0, 0]);
  });

  describe('closing', () => {
    it('stores what can be stored within its time', async () => {
      const world = await BucketWorld.open({ durability: 'local' });
      await world.putEntry('key', 'value');
      await world.tier.close(10_000);
      assert.equal(world.tier.stats().entries, 1);
      assert.equal(await (await world.beside()).textOf('key'), 'value');
    });

    it('does not wait longer than its time for a bucket that does not answer', async () => {
      const world = await BucketWorld.open({ durability: 'local' });
      world.faults.of = () => 'hang';
      await world.putEntry('key', 'value');
      await turns(50);
      const closing = world.tier.close(10_000);
      await turns(50);
      world.clock.advance(10_000);
      await closing;
      const next = await world.restart({ faults: { of: () => undefined } });
      await until(() => next.tier.stats().entries === 1);
    });

    for (const fault of ['hang', 'fail-before', 'fail-after', undefined] as const) {
      it(`ends everything that runs, with a bucket that answers ${fault ?? 'well'}`, async () => {
        const world = await BucketWorld.open({ durability: 's3' });
        const small = await world.put(1000, 1);
        const large = await world.put(MAX_PACKED_BYTES + 1, 2);
        await world.putEntry('key', 'value');
        await world.evict();
        world.faults.of = () => fault;
        const calls: Promise<unknown>[] = [
          world.put(1000, 3),
          world.put(MAX_PACKED_BYTES + 1, 4),
          world.putEntry('other', 'value'),
          world.tier.entries.delete('key', noAbort()),
        ];
        const reads = new AbortController();
        const { blobs, entries } = world.tier;
        calls.push(
          blobs.getBytes(small, reads.signal),
          blobs.getBytes(large, reads.signal),
          blobs.open(large, { offset: 0 }, reads.signal),
          entries.get('key', reads.signal),
        );
        const ended = Promise.allSettled(calls);
        await turns(20);
        const closed = world.close();
        reads.abort();
        await closed;
        for (const result of await ended) {
          if (result.status === 'rejected') assert.ok(result.reason instanceof ReapiError, String(result.reason));
        }
        await assert.rejects(world.put(1000, 9), ofKind('unavailable'));
      });
    }

    it('refuses what is put after it began, or the next start finds it', async () => {
      const outcomes = new Set<string>();
      for (let after = 0; after < 5; after++) {
        const world = await BucketWorld.open({ durability: 'local' });
        const closing = world.tier.close(1000);
        await turns(after);
        const put = await world.put(1000, 1).then(
          () => 'stored',
          (error: unknown) => {
            assert.ok(ofKind('unavailable')(error), String(error));
            return 'refused';
          },
        );
        await closing;
        outcomes.add(put);
        const next = await world.restart();
        if (put === 'stored') await until(() => next.tier.stats().blobs === 1);
        await next.close();
      }
      assert.ok(outcomes.has('refused'));
    });

    it('notes that nothing is pending only if that is so', async () => {
      const idle = (world: BucketWorld): boolean => existsSync(join(world.folder, 's3', 'idle'));
      const world = await BucketWorld.open({ durability: 'local' });
      await world.put(1000, 1);
      await world.uploaded();
      await world.close();
      assert.equal(idle(world), true);
      for (const put of [
        (next: BucketWorld) => next.put(1000, 2),
        (next: BucketWorld) => next.put(MAX_PACKED_BYTES + 1, 3),
        (next: BucketWorld) => next.putEntry('key', 'value'),
      ]) {
        const next = await world.beside();
        next.faults.of = () => 'hang';
        await put(next);
        await turns(20);
        await next.close();
        assert.equal(idle(next), false);
      }
    });

    it('may be asked for more than once', async () => {
      const world = await BucketWorld.open();
      await Promise.all([world.tier.close(0), world.tier.close(0)]);
    });
  });
});

function seeds(first: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, at) => first + at);
}

function snapshots({ bucket }: BucketWorld): number {
  return [...bucket.objects.keys()].filter((key) => key.startsWith('snapshots/')).length;
}

function copyOf(bucket: MemoryBucket, isWanted: (key: string) => boolean): MemoryBucket {
  const copy = new MemoryBucket();
  for (const [key, { bytes, modifiedMs }] of bucket.objects) if (isWanted(key)) copy.set(key, bytes, modifiedMs);
  return copy;
}
