import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../../test/support/blob-store-contract.ts';
import {
  BucketWorld,
  down,
  type Faults,
  MAX_PACKED_BYTES,
  machineFolder,
  REFRESH_MS,
} from '../../../test/support/bucket-world.ts';
import { turns, until } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { MemoryBucket } from '../../../test/support/memory-object-store.ts';
import { QuickClock } from '../../../test/support/quick-clock.ts';
import { FORMAT_KEY } from './object-names.ts';

const LARGE = MAX_PACKED_BYTES + 1;

/** Longer than from a condemnation until its object may go: two refreshes and the lease of promises of 600 s. */
const GRACE_MS = 2 * REFRESH_MS + 900_000;

/** The bucket has no room. */
const full: Faults['of'] = (call) => (['put', 'putStream', 'copy'].includes(call) ? 'quota' : undefined);

/** Lets time pass on all machines that share the clock, and tells after each refresh. */
async function pass({ clock }: BucketWorld, forMs: number, each: () => void = () => undefined): Promise<void> {
  for (let passedMs = 0; passedMs < forMs; passedMs += REFRESH_MS / 2) {
    clock.advance(REFRESH_MS / 2);
    await turns(30);
    each();
  }
}

/** Lets time pass refresh by refresh until `condition` holds, however slow the disk is. */
async function passUntil(world: BucketWorld, condition: () => boolean): Promise<void> {
  for (let round = 0; round < 100 && !condition(); round++) await pass(world, REFRESH_MS);
  assert.ok(condition(), `it did not come true: ${condition}`);
}

/** A machine with packs that are put together and condemned, which the others can know of. */
async function withCondemned(): Promise<BucketWorld> {
  const world = await BucketWorld.open();
  for (let seed = 1; seed <= 20; seed++) await world.put(1000, seed);
  await pass(world, REFRESH_MS);
  await until(() => world.tier.stats().condemned > 0);
  await pass(world, REFRESH_MS);
  return world;
}

describe('BucketMaintenance', () => {
  describe('starting', () => {
    it('waits for S3 if this machine knows nothing of the bucket', async () => {
      const clock = new QuickClock();
      const faults = down();
      const seen = { isOver: false };
      const opening = BucketWorld.open({ clock, faults }).then((world) => {
        seen.isOver = true;
        return world;
      });
      for (let round = 0; round < 5; round++) {
        await turns(50);
        clock.advance(10_000);
      }
      assert.equal(seen.isOver, false);
      faults.of = () => undefined;
      await turns(50);
      clock.advance(10_000);
      const world = await opening;
      assert.equal(await world.isMissing(await world.put(1000, 1)), false);
    });

    it('ends when it is cancelled, whether S3 fails or does not answer', async () => {
      for (const fault of ['fail-before', 'hang'] as const) {
        const abort = new AbortController();
        const faults = { of: () => fault };
        const opening = BucketWorld.open({ faults, signal: abort.signal });
        const refused = assert.rejects(opening);
        await turns(100);
        abort.abort();
        await refused;
      }
    });

    it('goes on with what this machine knows if S3 is out of reach, and connects when it is back', async () => {
      const first = await BucketWorld.open();
      const kept = [await first.put(1000, 1), await first.put(LARGE, 2)];
      const elsewhere = await first.put(1000, 3);
      await first.putEntry('key', 'value');
      const world = await first.restart({ faults: down() });
      assert.equal(world.tier.stats().staleSeconds, undefined);
      for (const digest of kept) assert.deepEqual(sha256(await world.read(digest)), digest);
      for (const digest of [...kept, elsewhere]) assert.equal(await world.isMissing(digest), false);
      assert.equal(await world.textOf('key'), 'value');
      await world.mend();
      await until(() => world.tier.stats().staleSeconds !== undefined);
      await world.put(1000, 4);
      await world.evict();
      for (const digest of kept) assert.equal(await world.isMissing(digest), false);
    });

    it('promises nothing of the bucket before it has news, unless there is a copy here', async () => {
      const first = await BucketWorld.open();
      const gone = await first.put(1000, 1);
      await first.evict();
      const kept = await first.put(1000, 2);
      const world = await first.restart({ faults: down() });
      assert.equal(await world.isMissing(gone), true);
      assert.equal(await world.isMissing(kept), false);
      await world.mend();
      await until(() => world.tier.stats().staleSeconds !== undefined);
      assert.equal(await world.isMissing(gone), false);
    });

    it('reads the index from the bucket if the one of this machine is damaged or gone', async () => {
      const first = await BucketWorld.open();
      const digest = await first.put(1000, 1);
      await first.evict();
      await first.close();
      rmSync(join(first.folder, 's3', 'index'));
      const world = await first.restart();
      assert.equal(await world.isMissing(digest), false);
    });

    it('forgets what it knew if the bucket is another one than before, and gives it what it has', async () => {
      const first = await BucketWorld.open();
      const here = await first.put(1000, 1);
      await first.evict();
      const kept = await first.put(1000, 2);
      assert.equal(first.local.has(here), false);
      const world = await first.restart({ bucket: new MemoryBucket() });
      assert.equal(await world.isMissing(here), true);
      await until(() => world.tier.stats().blobs === 1);
      assert.equal(await world.isMissing(kept), false);
    });

    it('refuses a bucket that holds something else', async () => {
      const bucket = new MemoryBucket();
      bucket.set(FORMAT_KEY, Buffer.from('hello'), 0);
      await assert.rejects(BucketWorld.open({ bucket }), ofKind('precondition'));
    });

    it('tells how far it is', async () => {
      const first = await BucketWorld.open();
      for (const seed of [1, 2, 3]) await first.put(1000, seed);
      const told: string[] = [];
      await first.beside({ onProgress: ({ listed, done, total }) => told.push(`${listed} ${done}/${total}`) });
      assert.equal(told.at(0), '3 0/0');
      assert.equal(told.at(-1), '3 3/3');
    });
  });

  describe('while S3 is out of reach', () => {
    it('gives what is here, says soon that the rest is out of reach, and recovers', async () => {
      const world = await BucketWorld.open();
      const gone = await world.put(1000, 1);
      await world.evict();
      const here = await world.put(1000, 2);
      world.faults.of = () => 'fail-before';
      await assert.rejects(world.read(gone), ofKind('unavailable'));
      world.clock.advance(4000);
      assert.equal(world.tier.stats().isReachable, false);
      await assert.rejects(world.read(gone), ofKind('unavailable'));
      const asked = { count: 0 };
      world.faults.of = (call) => {
        if (call === 'getRange') asked.count++;
        return 'fail-before';
      };
      await assert.rejects(world.read(gone), ofKind('unavailable'));
      assert.equal(asked.count, 0);
      assert.deepEqual(sha256(await world.read(here)), here);
      await world.mend();
      assert.deepEqual(sha256(await world.read(gone)), gone);
      assert.equal(world.tier.stats().isReachable, true);
    });

    it('says that what others stored is missing once news is overdue, and knows it again with the next news', async () => {
      const other = await BucketWorld.open();
      const digest = await other.put(1000, 1);
      const world = await other.beside();
      assert.equal(await world.isMissing(digest), false);
      world.faults.of = () => 'fail-before';
      world.clock.advance(REFRESH_MS);
      assert.equal(await world.isMissing(digest), true);
      await world.mend();
      await until(() => (world.tier.stats().staleSeconds ?? 99) < 20);
      assert.equal(await world.isMissing(digest), false);
    });
  });

  describe('in a bucket without room', () => {
    it('deletes what is due, and learns what others stored', async () => {
      const world = await withCondemned();
      const other = await world.beside();
      const { condemned } = world.tier.stats();
      world.faults.of = full;
      const digest = await other.put(1000, 99);
      await pass(world, REFRESH_MS);
      assert.equal(await world.isMissing(digest), false);
      assert.ok(condemned > 0);
      await passUntil(world, () => world.tier.stats().deletedObjects === condemned);
    });

    it('starts, with an index on this machine and without, and reads', async () => {
      const first = await BucketWorld.open();
      const digest = await first.put(1000, 1);
      await first.evict();
      const again = await first.restart({ faults: { of: full } });
      const other = await first.beside({ faults: { of: full } });
      for (const world of [again, other]) {
        assert.equal(await world.isMissing(digest), false);
        assert.deepEqual(sha256(await world.read(digest)), digest);
      }
    });
  });

  it('learns and promises what others store while a comparison lists slowly', async () => {
    const other = await BucketWorld.open();
    const lists = { begun: 0 };
    const world = await other.beside();
    world.faults.of = (call, key) => {
      if (call !== 'list' || key !== 'packs/') return undefined;
      lists.begun++;
      return 'hang';
    };
    let staleSeconds = 0;
    await pass(world, 300_000, () => {
      staleSeconds = Math.max(staleSeconds, world.tier.stats().staleSeconds ?? 0);
    });
    assert.equal(lists.begun, 1);
    assert.ok(staleSeconds < REFRESH_MS / 1000, `${staleSeconds} s`);
    const digest = await other.put(1000, 1);
    await pass(world, REFRESH_MS);
    assert.equal(await world.isMissing(digest), false);
  });

  it('reads at a start no footers that it knows, although others deleted something meanwhile', async () => {
    const first = await BucketWorld.open();
    for (let seed = 1; seed <= 10; seed++) await first.put(1000, seed);
    await first.evict();
    await first.close();
    first.bucket.objects.delete(first.containers()[0] ?? '');
    const world = await first.restart();
    assert.equal(world.tier.stats().blobs, 9);
    const gets = world.objects.counts.of('get').requests;
    assert.ok(gets <= 3, `${gets} objects are read beside the identity of the bucket and states of writers`);
  });

  it('goes on collecting if the bucket refuses to delete', async () => {
    const world = await withCondemned();
    const refused = { count: 0 };
    world.faults.of = (call) => {
      if (call !== 'delete') return undefined;
      refused.count++;
      return 'fail-before';
    };
    await pass(world, GRACE_MS);
    assert.ok(refused.count > 0);
    const { condemned } = world.tier.stats();
    for (let seed = 101; seed <= 120; seed++) await world.put(1000, seed);
    await passUntil(world, () => world.tier.stats().condemned > condemned);
  });

  it('asks for news that fails less and less often, down to every half refresh', async () => {
    const world = await BucketWorld.open();
    const asked: number[] = [];
    world.faults.of = (call, key) => {
      if (call !== 'list' || key !== 'writers/') return undefined;
      asked.push(world.clock.monotonicMs());
      return 'fail-before';
    };
    for (let at = 0; at < 60; at++) {
      world.clock.advance(2000);
      await turns(20);
    }
    const pauses = asked.slice(1).map((ms, at) => ms - (asked[at] ?? 0));
    assert.deepEqual(pauses.slice(0, 3), [2000, 4000, 8000]);
    assert.ok(pauses.slice(3).length > 2);
    for (const pauseMs of pauses.slice(3)) assert.ok(pauseMs >= REFRESH_MS / 2 && pauseMs < REFRESH_MS / 2 + 2000);
  });

  it('gives the bucket back what somebody deleted by hand and this machine still has', async () => {
    const world = await BucketWorld.open();
    const small = await world.put(1000, 1);
    const large = await world.put(LARGE, 2);
    for (const key of world.containers()) world.bucket.objects.delete(key);
    for (let passedMs = 0; passedMs <= 3_600_000; passedMs += REFRESH_MS) {
      await world.refreshed();
      world.clock.advance(REFRESH_MS / 2);
    }
    await until(() => world.containers().length === 2);
    await world.uploaded();
    const other = await world.beside();
    for (const digest of [small, large]) assert.deepEqual(sha256(await other.read(digest)), digest);
  });

  it('notices a copy of its data folder that is used at the same time', async () => {
    const world = await BucketWorld.open();
    await world.put(1000, 1);
    const folder = machineFolder();
    cpSync(world.folder, folder, { recursive: true });
    const twin = await world.beside({ folder });
    for (let round = 0; round < 8; round++) {
      world.clock.advance(REFRESH_MS / 2 + 1);
      await turns(100);
    }
    assert.ok([...world.lines, ...twin.lines].some(({ msg }) => msg.includes('news of the bucket')));
  });

  it('writes the index down when it stops, and says after a crash that it did not', async () => {
    const world = await BucketWorld.open();
    const digest = await world.put(1000, 1);
    const again = await world.restart();
    const gets = again.objects.counts.of('get').requests;
    assert.ok(gets <= 3, 'only the identity of the bucket and states of writers are read');
    const crashed = await again.crash();
    assert.equal(await crashed.isMissing(digest), false);
    assert.deepEqual(await crashed.tier.blobs.findMissing([digest], noAbort()), []);
  });
});
