import assert from 'node:assert/strict';
import { type BucketServer, bucketWorld, inTime, storeEntry, storePack } from '../../../test/support/bucket-server.ts';
import { turns } from '../../../test/support/deferred.ts';
import { noAbort } from '../../../test/support/expectations.ts';
import type { MemoryBucket } from '../../../test/support/memory-object-store.ts';
import type { Digest } from '../../digest/digest.ts';
import { BucketIndex } from './bucket-index.ts';
import { ContainerLoader } from './container-loader.ts';
import { Containers } from './containers.ts';
import type { Condemnation } from './pack-format.ts';

const LEASE_SECONDS = 150;

/** Condemnations in the bucket, as somebody finds them who knows nothing. */
async function condemnedIn(server: BucketServer): Promise<readonly Condemnation[]> {
  const found: Condemnation[] = [];
  const index = new BucketIndex(new Containers(), 1);
  const loader = new ContainerLoader(server.objects, index, server.log);
  const onCondemned = (some: readonly Condemnation[]): void => void found.push(...some);
  for await (const page of server.objects.list('packs/', undefined, noAbort())) {
    await loader.load(page, { touched: 1, signal: noAbort(), onCondemned });
  }
  return found;
}

/** The packs in a bucket, without footers of the others, that hold a blob's bytes. */
function packsWith(bucket: MemoryBucket, text: string): readonly string[] {
  return [...bucket.objects].filter(([, { bytes }]) => Buffer.from(bytes).includes(text)).map(([key]) => key);
}

async function setUp() {
  const { clock, bucket, server } = bucketWorld();
  const world = server('1');
  const { digests, pack } = await storePack(world, 'blob-one', 'blob-two');
  const [one, two] = digests;
  assert.ok(one !== undefined && two !== undefined);
  const touch = (digest: Digest): void => {
    world.index.blobTable.setTouched(world.index.blobRow(digest), world.time.now());
  };
  const condemn = (keepSince: number, ...more: Parameters<typeof world.condemnations.condemn>[0]): Promise<void> =>
    inTime(clock, world.condemnations.condemn([pack, ...more], keepSince, noAbort()));
  return { clock, bucket, server, world, one, two, pack, touch, condemn };
}

describe('Condemnations', () => {
  describe('condemn', () => {
    it('keeps what was used since the given time or is promised, and forgets the rest', async () => {
      const { clock, world, one, two, pack, touch, condemn } = await setUp();
      clock.advance(LEASE_SECONDS * 1000);
      touch(two);
      await condemn(world.time.now() + 1000);
      assert.deepEqual([world.index.keeps(one), world.index.keeps(two)], [false, true]);
      assert.deepEqual(world.forgotten, [one.hash]);
      assert.deepEqual([pack.liveBytes, pack.condemned !== undefined], [0, true]);
    });

    it('keeps what was used exactly at the given time, promised or not', async () => {
      const { clock, world, one, two, condemn } = await setUp();
      const usedAt = world.time.now();
      clock.advance(LEASE_SECONDS * 10_000);
      world.index.blobTable.setTouched(world.index.blobRow(two), usedAt + 1);
      await condemn(usedAt + 1);
      assert.deepEqual([world.index.keeps(one), world.index.keeps(two)], [false, true]);
    });

    it('copies first: when the condemnation is in the bucket, so are the copies', async () => {
      const { bucket, world, pack, condemn } = await setUp();
      const puts: string[] = [];
      const set = bucket.set.bind(bucket);
      bucket.set = (key, bytes, ms) => {
        set(key, bytes, ms);
        const isCopy = Buffer.from(bytes).includes('blob-one');
        puts.push(isCopy ? 'copy' : 'condemnation');
      };
      await condemn(0);
      assert.deepEqual(puts, ['copy', 'condemnation']);
      assert.equal(packsWith(bucket, 'blob-one').length, 2);
      assert.deepEqual(await condemnedIn(world), [{ id: pack.id, keepSinceSeconds: 0 }]);
    });

    it('copies what is needed of many containers into one pack', async () => {
      const { clock, world, condemn } = await setUp();
      const more = [];
      for (let at = 0; at < 20; at++) more.push((await storePack(world, `more ${at}`)).pack);
      const before = world.packs.packs;
      await condemn(0, ...more);
      assert.equal(world.packs.packs - before, 2, 'the copies, and the condemnations');
      assert.ok(more.every(({ liveBytes }) => liveBytes === 0));
      assert.equal(clock.armed, 0);
    });

    it('also copies what was promised between the copying and the condemnation', async () => {
      const { clock, bucket, world, one, two, touch, condemn } = await setUp();
      clock.advance(LEASE_SECONDS * 2000);
      touch(two);
      const set = bucket.set.bind(bucket);
      bucket.set = (key, bytes, ms) => {
        set(key, bytes, ms);
        if (world.index.keeps(one)) touch(one);
      };
      await condemn(world.time.now() + 1000);
      assert.deepEqual([world.index.keeps(one), world.index.keeps(two)], [true, true]);
      assert.deepEqual(world.forgotten, []);
    });

    it('repeats what is still in force, as the packs it stands in may be condemned', async () => {
      const { world, bucket, pack, condemn, clock } = await setUp();
      await condemn(7);
      const second = (await storePack(world, 'later')).pack;
      const before = new Set(bucket.objects.keys());
      await inTime(clock, world.condemnations.condemn([second], 9, noAbort()));
      for (const key of before) bucket.objects.delete(key);
      const repeated = await condemnedIn(world);
      assert.deepEqual(
        new Set(repeated.map(({ id, keepSinceSeconds }) => `${id.number} ${keepSinceSeconds}`)),
        new Set([`${pack.id.number} 7`, `${second.id.number} 9`]),
      );
    });

    it('lets nothing more be filed under the container', async () => {
      const { world, one, pack, condemn } = await setUp();
      const [row] = world.index.rowsOf(pack);
      await condemn(0);
      assert.notEqual(world.index.findBlob(one)?.container, pack);
      assert.ok(row !== undefined && !world.index.isCurrent(row));
    });
  });

  describe('empty', () => {
    it('gives others a turn between containers, and looks once for the oldest of all', async () => {
      const { clock, world, pack } = await setUp();
      const packs = [pack];
      for (let at = 0; at < 49; at++) packs.push((await storePack(world, `more ${at}`)).pack);
      clock.advance(LEASE_SECONDS * 10_000);
      world.condemnations.learn(packs.map(({ id }) => ({ id, keepSinceSeconds: world.time.now() })));
      const { containers } = world.index;
      const all = containers[Symbol.iterator].bind(containers);
      let looks = 0;
      containers[Symbol.iterator] = () => {
        looks++;
        return all();
      };
      let isOver = false;
      const emptied = world.condemnations.empty(packs, noAbort()).then(() => {
        isOver = true;
      });
      let taken = 0;
      for (; !isOver; taken++) await turns(1);
      await emptied;
      assert.equal(world.forgotten.length, 51);
      assert.equal(looks, 1);
      assert.ok(taken >= packs.length / 2, `${taken} turns`);
    });
  });

  describe('values that are forgotten', () => {
    it('leave a removal behind that hides older ones at a recovery', async () => {
      const { clock, bucket, server } = bucketWorld();
      const world = server('1');
      const old = await storeEntry(world, 'key', 1, 'older');
      await storePack(world, 'keeps the first pack from being alone');
      const { pack, hash } = await storeEntry(world, 'key', 2, 'newer');
      clock.advance(LEASE_SECONDS * 2000);
      await inTime(clock, world.condemnations.condemn([pack], world.time.now(), noAbort()));
      await inTime(clock, world.packs.flush());
      assert.equal(world.index.findEntry(hash)?.isRemoval, true);
      bucket.objects.delete(pack.key);
      const fresh = server('2');
      await fresh.refresh.compare(noAbort(), { isFollowing: true });
      assert.equal(fresh.index.findEntry(hash)?.isRemoval, true);
      assert.deepEqual(fresh.index.findEntry(hash)?.version.sequence, 2);
      assert.ok(bucket.objects.has(old.pack.key));
    });

    it('leave none if there never was an older value', async () => {
      const { clock, server } = bucketWorld();
      const world = server('1');
      const { pack, hash } = await storeEntry(world, 'key', 1);
      await storePack(world, 'another');
      clock.advance(LEASE_SECONDS * 2000);
      await inTime(clock, world.condemnations.condemn([pack], world.time.now(), noAbort()));
      await inTime(clock, world.packs.flush());
      assert.equal(world.index.findEntry(hash), undefined);
      assert.deepEqual(world.forgotten, [hash]);
    });

    it('leave one also if the older value stands in a container that is condemned with it', async () => {
      const { clock, server } = bucketWorld();
      const world = server('1');
      const old = await storeEntry(world, 'key', 1);
      const { pack, hash } = await storeEntry(world, 'key', 2);
      clock.advance(LEASE_SECONDS * 2000);
      await storePack(world, 'later');
      await inTime(clock, world.condemnations.condemn([old.pack, pack], world.time.now(), noAbort()));
      await inTime(clock, world.packs.flush());
      assert.equal(world.index.findEntry(hash)?.isRemoval, true);
    });

    it('need no removal any more once all packs of that time are gone', async () => {
      const { clock, server } = bucketWorld();
      const world = server('1');
      const old = await storeEntry(world, 'key', 1);
      const { pack, hash } = await storeEntry(world, 'key', 2);
      clock.advance(86_400_000);
      await inTime(clock, world.condemnations.condemn([old.pack, pack], world.time.now(), noAbort()));
      await inTime(clock, world.packs.flush());
      const removal = world.index.findEntry(hash)?.container;
      assert.ok(removal !== undefined);
      for (const container of [old.pack, pack]) world.index.forget(container);
      await inTime(clock, world.condemnations.condemn([removal], world.time.now(), noAbort()));
      assert.equal(world.index.findEntry(hash), undefined);
    });

    it('do not hide a value that came meanwhile', async () => {
      const { clock, server } = bucketWorld();
      const world = server('1');
      await storeEntry(world, 'key', 1);
      const { pack, hash } = await storeEntry(world, 'key', 2);
      clock.advance(LEASE_SECONDS * 2000);
      await inTime(clock, world.condemnations.condemn([pack], world.time.now(), noAbort()));
      const newest = await storeEntry(world, 'key', 3);
      await inTime(clock, world.packs.flush());
      assert.deepEqual(world.index.findEntry(hash)?.version, newest.version);
      assert.equal(world.index.findEntry(hash)?.isRemoval, false);
    });
  });

  describe('learn', () => {
    it('condemns each container once: what is read again changes nothing', async () => {
      const { clock, world, pack } = await setUp();
      const learnedMs = clock.monotonicMs();
      world.condemnations.learn([{ id: pack.id, keepSinceSeconds: 5 }]);
      clock.advance(1000);
      world.condemnations.learn([{ id: pack.id, keepSinceSeconds: 6 }]);
      const expected = { keepSinceSeconds: 5, learnedMs, isAnnounced: false, publishedMs: undefined };
      assert.deepEqual(pack.condemned, expected);
      assert.deepEqual(world.condemnations.unfinished, [pack]);
    });

    it('remembers a condemnation of a container that becomes known only later', async () => {
      const { server, world, pack } = await setUp();
      const other = server('2');
      other.condemnations.learn([{ id: pack.id, keepSinceSeconds: 5 }]);
      other.condemnations.learnAhead();
      const container = other.index.containers.add({ id: pack.id }, pack.sizeBytes, 1);
      other.condemnations.learnAhead();
      assert.equal(container.condemned?.keepSinceSeconds, 5);
      assert.equal(world.index.containers.find(pack.id)?.condemned, undefined);
    });

    it('remembers a limited number of those', async () => {
      const { server, pack } = await setUp();
      const other = server('2');
      const strangers = Array.from({ length: 65_536 }, (_, number) => ({
        id: { ...pack.id, number: number + 100 },
        keepSinceSeconds: 1,
      }));
      other.condemnations.learn([{ id: pack.id, keepSinceSeconds: 1 }, ...strangers]);
      const first = other.index.containers.add({ id: pack.id }, 1, 1);
      const last = other.index.containers.add({ id: { ...pack.id, number: 65_635 } }, 1, 1);
      other.condemnations.learnAhead();
      assert.deepEqual([first.condemned, last.condemned?.keepSinceSeconds], [undefined, 1]);
    });
  });

  describe('publishing', () => {
    it('starts the time of what was condemned before, when it is told that the state is there', async () => {
      const { clock, world, pack, condemn } = await setUp();
      await condemn(0);
      assert.equal(pack.condemned?.publishedMs, undefined);
      const published = world.condemnations.publishing('a0a0a0a0-1');
      const late = (await storePack(world, 'late')).pack;
      await inTime(clock, world.condemnations.condemn([late], 0, noAbort()));
      clock.advance(500);
      published();
      assert.equal(pack.condemned?.publishedMs, clock.monotonicMs());
      assert.equal(late.condemned?.publishedMs, undefined, 'it was condemned after the state was made');
      clock.advance(500);
      world.condemnations.publishing('a0a0a0a0-2')();
      assert.equal(pack.condemned?.publishedMs, clock.monotonicMs() - 500);
      assert.equal(late.condemned?.publishedMs, clock.monotonicMs());
    });
  });
});
