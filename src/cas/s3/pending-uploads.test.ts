import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, someBytes } from '../../../test/support/blob-store-contract.ts';
import {
  BucketWorld,
  type Faults,
  MAX_PACKED_BYTES,
  machineFolder,
  withoutBucket,
} from '../../../test/support/bucket-world.ts';
import { until } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import type { Digest } from '../../digest/digest.ts';
import type { LocalStore } from '../segment/local-store.ts';

const SMALL = 1000;
const LARGE = MAX_PACKED_BYTES + 1;

/** The bucket answers, but takes neither packs nor large blobs. */
const noPacks: Faults['of'] = (call, key) =>
  (call === 'put' || call === 'putStream') && key.startsWith('packs/') ? 'fail-before' : undefined;

/** Puts blobs of the given sizes, seeded by their place, into a store without a bucket. */
async function fill(local: LocalStore, sizes: readonly number[]): Promise<readonly Digest[]> {
  const digests: Digest[] = [];
  for (const [seed, sizeBytes] of sizes.entries()) {
    const bytes = someBytes(sizeBytes, seed + 1);
    digests.push(sha256(bytes));
    await local.blobs.putBytes(sha256(bytes), bytes, noAbort());
  }
  return digests;
}

describe('PendingUploads', () => {
  describe('after a restart, with durability local', () => {
    for (const [how, again] of [
      ['an orderly stop', (world, options) => world.restart(options)],
      ['a crash', (world, options) => world.crash(options)],
    ] as readonly [string, (world: BucketWorld, options: object) => Promise<BucketWorld>][]) {
      it(`stores what the local tier has and the bucket has not, after ${how}`, async () => {
        const world = await BucketWorld.open({ durability: 'local' });
        const stored = await world.put(SMALL, 9);
        await world.uploaded();
        world.faults.of = () => 'fail-before';
        const digests = [await world.put(SMALL, 1), await world.put(LARGE, 2)];
        await world.putEntry('key', 'value');
        assert.equal(world.containers().length, 1);
        const next = await again(world, { faults: { of: () => undefined } });
        await until(() => next.tier.stats().blobs === 3 && next.tier.stats().entries === 1);
        await next.uploaded();
        await next.evict();
        for (const digest of [stored, ...digests]) assert.equal(next.local.has(digest), false);
        for (const digest of [stored, ...digests]) assert.deepEqual(sha256(await next.read(digest)), digest);
        assert.equal(await next.textOf('key'), 'value');
      });
    }

    it('counts it in the backlog also while S3 is out of reach, and holds it', async () => {
      const world = await BucketWorld.open({ durability: 'local', maxBacklogBytes: 3 * SMALL });
      world.faults.of = () => 'fail-before';
      const digest = await world.put(2 * SMALL, 1);
      const next = await world.restart();
      await until(() => next.backlogBytes === 2 * SMALL);
      await assert.rejects(next.put(2 * SMALL, 2), ofKind('unavailable'));
      await next.evict();
      assert.equal(await next.isMissing(digest), false);
      await next.mend();
      await next.uploaded();
      await next.evict();
      assert.equal(next.local.has(digest), false);
      assert.deepEqual(sha256(await next.read(digest)), digest);
    });

    it('counts what waits once, however often S3 comes back', async () => {
      const world = await BucketWorld.open({ durability: 'local' });
      world.faults.of = () => 'fail-before';
      await world.put(SMALL, 1);
      await world.put(LARGE, 2);
      await world.putEntry('key', 'value');
      const next = await world.restart();
      await until(() => next.backlogBytes === SMALL + LARGE + 5);
      next.faults.of = noPacks;
      await next.refreshed();
      assert.equal(next.tier.stats().isReachable, true);
      assert.equal(next.backlogBytes, SMALL + LARGE + 5);
      await next.mend();
      await next.uploaded();
      assert.equal(next.tier.stats().blobs, 2);
    });
  });

  describe('takes over what a machine had before it was given a bucket', () => {
    for (const durability of ['s3', 'local'] as const) {
      it(`blobs and entries, with durability ${durability}`, async () => {
        const folder = machineFolder();
        let digests: readonly Digest[] = [];
        await withoutBucket(folder, async (local) => {
          digests = await fill(local, [SMALL, SMALL, LARGE]);
          await local.entries.putWritten('key', Buffer.from('before'), 12_345, noAbort());
        });
        const world = await BucketWorld.open({ folder, durability });
        await until(() => world.tier.stats().blobs === 3 && world.tier.stats().entries === 1);
        await world.uploaded();
        await world.evict();
        for (const digest of digests) assert.deepEqual(sha256(await world.read(digest)), digest);
        const entry = await world.tier.entries.get('key', noAbort());
        assert.deepEqual(entry && [Buffer.from(entry.value).toString(), entry.writtenMs], ['before', 12_345]);
        const other = await world.beside();
        assert.equal(await other.textOf('key'), 'before');
      });
    }

    it('does not hold what is more than the backlog may be, and refuses no write because of it', async () => {
      const folder = machineFolder();
      let digests: readonly Digest[] = [];
      await withoutBucket(folder, async (local) => {
        digests = await fill(local, [LARGE, LARGE, LARGE]);
      });
      const faults = { of: noPacks };
      const world = await BucketWorld.open({ folder, durability: 'local', maxBacklogBytes: 2 * LARGE, faults });
      await until(() => world.tier.stats().pendingUploads === 3);
      assert.equal(world.backlogBytes, 0);
      const mine = await world.put(LARGE, 9);
      assert.equal(world.backlogBytes, LARGE);
      await world.evict();
      for (const digest of digests) assert.equal(world.local.has(digest), false);
      assert.equal(world.local.has(mine), true);
    });

    it('gives back exactly what was taken for new blobs while it goes on', async () => {
      const folder = machineFolder();
      await withoutBucket(folder, async (local) => {
        await fill(local, [LARGE, LARGE, LARGE]);
      });
      const world = await BucketWorld.open({ folder, durability: 'local', maxBacklogBytes: 2 * LARGE });
      await world.put(LARGE, 9);
      await world.put(LARGE, 1);
      await until(() => world.tier.stats().blobs === 4);
      await world.uploaded();
      assert.equal(world.backlogBytes, 0);
    });

    it('takes up more entries than it reads at a time, and they share packs', async () => {
      const folder = machineFolder();
      const count = 5000;
      await withoutBucket(folder, async (local) => {
        const puts = Array.from({ length: count }, (_, at) => local.entries.put(`key ${at}`, Buffer.of(1), noAbort()));
        await Promise.all(puts);
      });
      const world = await BucketWorld.open({ folder });
      await until(() => world.tier.stats().entries === count);
      await world.uploaded();
      assert.ok(world.containers().length < 100);
      assert.ok((await world.textOf('key 4999')) !== undefined);
    });

    it('prefers the value that the bucket has of an entry', async () => {
      const first = await BucketWorld.open();
      await first.putEntry('key', 'in the bucket');
      const folder = machineFolder();
      await withoutBucket(folder, (local) => local.entries.put('key', Buffer.from('before'), noAbort()));
      const world = await first.beside({ folder });
      await until(() => world.local.stats().entries === 0);
      assert.equal(await world.textOf('key'), 'in the bucket');
    });

    it('takes up entries although S3 takes nothing for longer than a write may wait', async () => {
      const folder = machineFolder();
      await withoutBucket(folder, async (local) => {
        await local.entries.put('a', Buffer.from('1'), noAbort());
        await local.entries.put('b', Buffer.from('2'), noAbort());
      });
      const world = await BucketWorld.open({ folder, faults: { of: noPacks } });
      await until(() => world.tier.stats().pendingUploads === 2);
      world.clock.advance(200_000);
      assert.deepEqual([await world.textOf('a'), await world.textOf('b')], ['1', '2']);
      await world.mend();
      await world.uploaded();
      assert.equal(world.tier.stats().entries, 2);
    });
  });

  describe('knows when all that was there before is in the bucket', () => {
    const isMarked = ({ folder }: BucketWorld): boolean => existsSync(join(folder, 's3', 'taken-over'));

    it('in a new data folder before the first put', async () => {
      assert.equal(isMarked(await BucketWorld.open({ durability: 'local', faults: { of: noPacks } })), true);
    });

    it('when what was found is stored, whatever is put meanwhile', async () => {
      const folder = machineFolder();
      let found: readonly Digest[] = [];
      await withoutBucket(folder, async (local) => {
        found = await fill(local, [LARGE, LARGE]);
      });
      const mine = sha256(someBytes(LARGE, 9));
      const later = found[1]?.hash ?? '';
      const world = await BucketWorld.open({
        folder,
        durability: 'local',
        faults: {
          of: (call, key) =>
            call === 'putStream' && (key.includes(mine.hash) || key.includes(later)) ? 'fail-before' : undefined,
        },
      });
      await world.put(LARGE, 9);
      await until(() => world.tier.stats().blobs === 1);
      for (let round = 0; round < 3; round++) await world.refreshed();
      assert.equal(isMarked(world), false);
      world.faults.of = (call, key) => (call === 'putStream' && key.includes(mine.hash) ? 'fail-before' : undefined);
      world.clock.advance(10_000);
      await until(() => world.tier.stats().blobs === 2);
      await world.refreshed();
      await until(() => isMarked(world));
      assert.equal(world.tier.stats().pendingUploads, 1);
    });

    it('and then holds what was acknowledged after an unclean stop, among much that the bucket has forgotten', async () => {
      const world = await BucketWorld.open({ durability: 'local', maxBacklogBytes: 2 * LARGE });
      await fill(world.local, [LARGE, LARGE, LARGE, LARGE]);
      world.faults.of = noPacks;
      const mine = await world.put(LARGE, 9);
      const next = await world.crash({ faults: { of: noPacks } });
      await until(() => next.tier.stats().pendingUploads >= 1);
      await next.evict();
      assert.equal(next.local.has(mine), true);
      await next.mend();
      await until(() => next.tier.stats().backlogBytes === 0);
      await next.evict();
      assert.deepEqual(sha256(await next.read(mine)), mine);
    });
  });

  it('gives the room back of a blob that the local tier loses before the bucket has it', async () => {
    const world = await BucketWorld.open();
    const bytes = someBytes(LARGE, 1);
    await world.local.blobs.putBytes(sha256(bytes), bytes, noAbort());
    const next = await world.crash({ faults: { of: noPacks } });
    assert.equal(next.backlogBytes, LARGE);
    // After the third failure the pause is longer than what passes by itself.
    await until(() => next.lines.filter(({ msg }) => msg.includes('it is tried again')).length === 3);
    await next.evict();
    assert.equal(next.local.has(sha256(bytes)), false);
    await next.mend();
    await next.uploaded();
    assert.equal(await next.isMissing(sha256(bytes)), true);
  });

  it('may forget of the local tier what the bucket has forgotten', async () => {
    const world = await BucketWorld.open({ durability: 'local', retentionSeconds: 3600, promiseSeconds: 60 });
    const digest = await world.put(SMALL, 1);
    await world.uploaded();
    world.clock.advance(2 * 3600_000);
    await until(() => world.tier.stats().condemned > 0 && world.tier.stats().blobs === 0);
    await world.evict();
    assert.equal(world.local.has(digest), false);
  });
});
