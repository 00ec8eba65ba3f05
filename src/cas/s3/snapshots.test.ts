import assert from 'node:assert/strict';
import { bucketWorld, storePack } from '../../../test/support/bucket-server.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import type { ObjectStoreFault } from '../../../test/support/memory-object-store.ts';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import { NO_LOG } from '../../system/log.ts';
import { encodeSnapshot } from './bucket-snapshot.ts';
import { PartBudget } from './part-budget.ts';
import { loadFromBucket, loadFromFolder, Snapshots } from './snapshots.ts';
import { TierFolder } from './tier-folder.ts';

const WRITER = '1'.repeat(16);

function setUp() {
  const { clock, bucket, server } = bucketWorld();
  let fault: ObjectStoreFault | undefined;
  const world = server('1', { faults: () => fault });
  const path = temporaryFolder();
  const folder = new TierFolder(NODE_FILE_SYSTEM, path);
  const snapshots = new Snapshots(folder, world.objects, world.index, WRITER);
  const shared = (): readonly string[] => [...bucket.objects.keys()].filter((key) => key.startsWith('snapshots/'));
  /** Adds packs that hold much, without storing them. */
  const addPacks = (count: number, sizeBytes = 1024 * 1024): void => {
    for (let at = 0; at < count; at++) world.index.containers.add({ id: world.numbers.take() }, sizeBytes, 1);
  };
  const load = () => {
    const options = { seed: 1, budget: new PartBudget(1024 * 1024), log: NO_LOG };
    return loadFromBucket(world.objects, options, noAbort());
  };
  const fail = (next: ObjectStoreFault | undefined): void => {
    fault = next;
  };
  return { clock, bucket, world, folder, snapshots, shared, addPacks, load, fail };
}

describe('Snapshots', () => {
  it('writes the index down, and it is loaded again', async () => {
    const { world, folder, snapshots } = setUp();
    const { digests } = await storePack(world, 'one', 'two');
    assert.ok((await snapshots.write('the bucket')) > 0);
    const loaded = await loadFromFolder(folder, 5, NO_LOG);
    assert.equal(loaded?.bucket, 'the bucket');
    assert.ok(digests.every((digest) => loaded?.index.keeps(digest)));
  });

  it('has none in a new folder, nor if it is damaged', async () => {
    const { folder } = setUp();
    assert.equal(await loadFromFolder(folder, 5, NO_LOG), undefined);
    await folder.writeIndex(bytes('GANTRYBS and so on'));
    assert.equal(await loadFromFolder(folder, 5, NO_LOG), undefined);
  });

  describe('share', () => {
    it('puts one into the bucket from 256 packs on, and again after so many more', async () => {
      const { snapshots, shared, addPacks } = setUp();
      addPacks(255);
      await snapshots.share(await snapshots.write('b'), noAbort());
      assert.deepEqual(shared(), []);
      addPacks(1);
      await snapshots.share(await snapshots.write('b'), noAbort());
      assert.deepEqual(shared(), [`snapshots/${WRITER}/0000000000ff`]);
      addPacks(255);
      await snapshots.share(await snapshots.write('b'), noAbort());
      assert.deepEqual(shared(), [`snapshots/${WRITER}/0000000000ff`]);
      addPacks(1);
      await snapshots.share(await snapshots.write('b'), noAbort());
      assert.deepEqual(shared(), [`snapshots/${WRITER}/0000000001ff`], 'and drops the old one');
    });

    it('puts none that takes more than an eightieth of what the bucket holds', async () => {
      const { snapshots, shared, addPacks, world } = setUp();
      addPacks(256, 1000);
      const most = Math.floor(world.index.containers.bytes / 80);
      await snapshots.write('b');
      await snapshots.share(most + 1, noAbort());
      assert.deepEqual(shared(), []);
    });

    it('puts a new one when most of the packs are gone', async () => {
      const { snapshots, shared, addPacks, world } = setUp();
      addPacks(400);
      await snapshots.share(await snapshots.write('b'), noAbort());
      const [first] = shared();
      const containers = [...world.index.containers];
      for (const container of containers.slice(199)) world.index.forget(container);
      await snapshots.share(await snapshots.write('b'), noAbort());
      assert.notDeepEqual(shared(), [first]);
      assert.equal(shared().length, 1);
    });

    it('leaves those of other servers alone', async () => {
      const { bucket, snapshots, shared, addPacks } = setUp();
      const other = `snapshots/${'2'.repeat(16)}/000000000001`;
      bucket.set(other, Buffer.from('theirs'), 0);
      addPacks(256);
      await snapshots.share(await snapshots.write('b'), noAbort());
      assert.equal(shared().length, 2);
      assert.ok(shared().includes(other));
    });

    it('does it the next time if S3 is away', async () => {
      const { snapshots, shared, addPacks, fail } = setUp();
      addPacks(256);
      const sizeBytes = await snapshots.write('b');
      fail('fail-before');
      await assert.rejects(snapshots.share(sizeBytes, noAbort()), ofKind('unavailable'));
      fail(undefined);
      await snapshots.share(sizeBytes, noAbort());
      assert.equal(shared().length, 1);
    });
  });

  describe('loadFromBucket', () => {
    it('takes the newest of all servers', async () => {
      const { clock, world, snapshots, addPacks, load, bucket } = setUp();
      assert.equal(await load(), undefined);
      const { digests } = await storePack(world, 'one');
      addPacks(256);
      await snapshots.share(await snapshots.write('b'), noAbort());
      const older = (await load())?.index;
      assert.ok(digests.every((digest) => older?.keeps(digest)));
      clock.advance(1000);
      const theirs: Uint8Array[] = [];
      for await (const chunk of encodeSnapshot(world.index, { bucket: 'newer' })) theirs.push(chunk);
      bucket.set(`snapshots/${'0'.repeat(16)}/000000000001`, Buffer.concat(theirs), clock.nowMs());
      assert.equal((await load())?.bucket, 'newer');
    });

    it('falls back to an older one if the newest is damaged, and to none', async () => {
      const { bucket, snapshots, addPacks, load, shared } = setUp();
      addPacks(256);
      await snapshots.share(await snapshots.write('older'), noAbort());
      const newest = `snapshots/${'2'.repeat(16)}/000000000001`;
      bucket.set(newest, Buffer.from('no snapshot'), 2e12);
      bucket.set(`snapshots/${'3'.repeat(16)}/000000000001`, Buffer.alloc(0), 3e12);
      assert.equal((await load())?.bucket, 'older');
      for (const key of shared()) bucket.set(key, Buffer.from('none either'), 1);
      assert.equal(await load(), undefined);
    });

    it('does not look at what is no snapshot', async () => {
      const { bucket, load } = setUp();
      bucket.set('snapshots/notes.txt', Buffer.from('by hand'), 5);
      assert.equal(await load(), undefined);
    });

    it('fails if S3 is away, as there may be one', async () => {
      const { bucket, load, fail } = setUp();
      bucket.set(`snapshots/${WRITER}/000000000001`, Buffer.from('x'), 5);
      fail('fail-before');
      await assert.rejects(load(), ofKind('unavailable'));
    });
  });
});

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
