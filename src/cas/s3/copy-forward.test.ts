import assert from 'node:assert/strict';
import {
  bucketWorld,
  inTime,
  rowKeyOf,
  storeEntry,
  storeLarge,
  storePack,
} from '../../../test/support/bucket-server.ts';
import { turns } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import type { ObjectStoreFault } from '../../../test/support/memory-object-store.ts';
import { ReapiError } from '../../errors.ts';

/** A bucket with a pack of two blobs. */
async function setUp(options: Parameters<ReturnType<typeof bucketWorld>['server']>[1] = {}) {
  const { clock, bucket, server } = bucketWorld();
  const world = server('1', options);
  const { digests, pack } = await storePack(world, 'one', 'two');
  const [one, two] = digests;
  assert.ok(one !== undefined && two !== undefined);
  const copy = (containers = [pack], signal = noAbort()): Promise<void> =>
    world.copies.copy(
      containers.flatMap((container) => world.index.rowsOf(container)),
      signal,
    );
  return { clock, bucket, world, one, two, pack, copy };
}

describe('CopyForward', () => {
  it('moves rows into a pack of this server, with the times of their last use', async () => {
    const { clock, world, one, two, pack, copy } = await setUp();
    world.index.blobTable.setTouched(world.index.blobRow(one), 4711);
    await inTime(clock, copy());
    assert.equal(pack.liveBytes, 0);
    for (const digest of [one, two]) assert.notEqual(world.index.findBlob(digest)?.container, pack);
    assert.equal(world.index.findBlob(one)?.container, world.index.findBlob(two)?.container);
    assert.equal(world.index.blobTable.touched(world.index.blobRow(one)), 4711);
    assert.equal(world.copies.bytes, 6);
  });

  it('takes bytes from the local tier if it has them, and else with one request from the bucket', async () => {
    const { clock, world, one, copy } = await setUp();
    world.local.held.set(one.hash, Buffer.from('one'));
    await inTime(clock, copy());
    assert.equal(world.local.reads, 1);
    assert.equal(world.objects.counts.of('get').requests, 1);
  });

  for (const kind of ['blob-not-found', 'data-loss', 'unavailable'] as const) {
    it(`takes from the bucket what the local tier has and cannot give: ${kind}`, async () => {
      const { clock, world, one, pack, copy } = await setUp();
      world.local.held.set(one.hash, Buffer.from('one'));
      world.local.error = new ReapiError(kind, 'the disk is at fault');
      await inTime(clock, copy());
      assert.ok(world.index.keeps(one));
      assert.notEqual(world.index.findBlob(one)?.container, pack);
    });
  }

  it('moves entries and removals with their versions', async () => {
    const { clock, world, copy } = await setUp();
    const { pack, hash, version } = await storeEntry(world, 'key', 12);
    await inTime(clock, copy([pack]));
    const found = world.index.findEntry(hash);
    assert.notEqual(found?.container, pack);
    assert.deepEqual([found?.version, found?.isRemoval], [version, false]);
  });

  it('has large blobs copied by S3, whose bytes do not pass', async () => {
    const { clock, bucket, world, copy } = await setUp();
    const { digest, container } = storeLarge(world, 'a large blob');
    await inTime(clock, copy([container]));
    const now = world.index.findBlob(digest)?.container;
    assert.ok(now !== undefined && now !== container);
    assert.equal(Buffer.from(bucket.objects.get(now.key)?.bytes ?? []).toString(), 'a large blob');
    assert.equal(world.objects.counts.of('get').requests, 0);
    assert.equal(world.numbers.floor, 3);
  });

  it('leaves a row alone that stands elsewhere by the time its copy is stored', async () => {
    const { clock, world, one, two, copy } = await setUp();
    const rows = copy();
    const elsewhere = await storePack(world, 'one');
    await inTime(clock, rows);
    assert.equal(world.index.findBlob(one)?.container, elsewhere.pack);
    assert.notEqual(world.index.findBlob(two)?.container, elsewhere.pack);
  });

  it('leaves an entry alone of which a newer value came meanwhile', async () => {
    const { clock, world, copy } = await setUp();
    const { pack, hash } = await storeEntry(world, 'key', 1);
    const copied = copy([pack]);
    const newer = await storeEntry(world, 'key', 2);
    await inTime(clock, copied);
    assert.deepEqual(world.index.findEntry(hash)?.version, newer.version);
    assert.equal(world.index.findEntry(hash)?.container, newer.pack);
  });

  it('drops what is damaged or gone, says so, and copies the rest', async () => {
    const { clock, bucket, world, one, two, pack, copy } = await setUp();
    const bytes = Buffer.from(bucket.objects.get(pack.key)?.bytes ?? []);
    bytes[0] = 0;
    bucket.set(pack.key, bytes, 0);
    const entry = await storeEntry(world, 'key', 1);
    bucket.set(entry.pack.key, Buffer.alloc(entry.pack.sizeBytes), 0);
    const large = storeLarge(world, 'large');
    bucket.objects.delete(large.container.key);
    await inTime(clock, copy([pack, entry.pack, large.container]));
    assert.deepEqual(
      [one, two, large.digest].map((digest) => world.index.keeps(digest)),
      [false, true, false],
    );
    assert.equal(world.index.findEntry(entry.hash), undefined);
    assert.ok(world.lines.filter(({ level }) => level === 'error').length >= 3);
  });

  for (const fault of ['fail-before', 'fail-after'] as const) {
    it(`waits until S3 is there again: ${fault}`, async () => {
      let down: ObjectStoreFault | undefined;
      const { clock, world, one, two, pack, copy } = await setUp({ faults: () => down });
      const large = storeLarge(world, 'large');
      down = fault;
      const copied = copy([pack, large.container]);
      for (let at = 0; at < 600; at++) {
        clock.advance(100);
        await turns(1);
      }
      assert.ok(pack.liveBytes > 0, 'nothing was dropped');
      down = undefined;
      await inTime(clock, copied);
      for (const digest of [one, two, large.digest]) assert.ok(world.index.keeps(digest));
      assert.deepEqual([pack.liveBytes, large.container.liveBytes], [0, 0]);
    });
  }

  it('waits until the object store has room again', async () => {
    let failures = 3;
    const copyError = () => (failures-- > 0 ? new ReapiError('quota-exceeded', 'no room') : undefined);
    const { clock, world, copy } = await setUp({ copyError });
    const { digest, container } = storeLarge(world, 'large');
    await inTime(clock, copy([container]));
    assert.notEqual(world.index.findBlob(digest)?.container, container);
    assert.equal(failures, -1);
  });

  it('fails with an error that trying again does not mend, without dropping the row', async () => {
    const { clock, world, copy } = await setUp({ copyError: () => new ReapiError('precondition', 'no') });
    const { digest, container } = storeLarge(world, 'large');
    await assert.rejects(inTime(clock, copy([container])), ofKind('precondition'));
    assert.equal(world.index.findBlob(digest)?.container, container);
    assert.equal(world.numbers.floor, 3, 'its number is settled');
  });

  it('ends when it is aborted while S3 is away', async () => {
    let isDown = false;
    const { clock, pack, copy } = await setUp({ faults: () => (isDown ? 'fail-before' : undefined) });
    isDown = true;
    const abort = new AbortController();
    const copied = assert.rejects(copy([pack], abort.signal));
    await turns(5);
    abort.abort(new ReapiError('cancelled', 'stop'));
    await copied;
    assert.ok(pack.liveBytes > 0);
    assert.equal(clock.armed, 0);
  });

  it('ends when no more packs are stored, and leaves the rows where they are', async () => {
    let isDown = false;
    const { world, pack, copy } = await setUp({ faults: (call) => (isDown && call === 'put' ? 'hang' : undefined) });
    isDown = true;
    const copied = assert.rejects(copy([pack]), ofKind('unavailable'));
    await turns(10);
    await world.packs.close();
    await copied;
    assert.equal(pack.liveRows, 2);
  });

  it('holds no more of it in memory than one full pack and some slack, and makes full packs of it', async () => {
    let isDown = false;
    const packBytes = 8 * 1024 * 1024;
    const faults = (call: string) => (isDown && call === 'put' ? ('fail-before' as const) : undefined);
    const { clock, world, copy } = await setUp({ packBytes, faults });
    const sources = [];
    for (let pack = 0; pack < 8; pack++) {
      const texts = Array.from({ length: 16 }, (_, number) => `${pack}-${number}-`.padEnd(512 * 1024, 'x'));
      sources.push((await storePack(world, ...texts)).pack);
    }
    const before = world.packs.packs;
    isDown = true;
    let readBytes = 0;
    const getRange = world.objects.getRange.bind(world.objects);
    world.objects.getRange = (...args) => {
      readBytes += args[2];
      return getRange(...args);
    };
    const copied = copy(sources);
    await turns(200);
    assert.ok(readBytes <= packBytes + 24 * 1024 * 1024, `${readBytes} bytes were read while none was stored`);
    isDown = false;
    await inTime(clock, copied);
    assert.ok(world.packs.packs - before <= 11, `${world.packs.packs - before} packs`);
    assert.deepEqual(
      sources.map(({ liveBytes }) => liveBytes),
      sources.map(() => 0),
    );
  });

  it('holds no more than some thousands of rows in memory, however short they are', async () => {
    let isDown = false;
    const packBytes = 1024 * 1024;
    const { clock, world, copy } = await setUp({ packBytes, faults: () => (isDown ? 'fail-before' : undefined) });
    const texts = Array.from({ length: 9500 }, (_, number) => `${number}`);
    const { digests, pack } = await storePack(world, ...texts);
    for (const [at, { hash }] of digests.entries()) world.local.held.set(hash, Buffer.from(texts[at] ?? ''));
    isDown = true;
    const copied = copy([pack]);
    await turns(200);
    const most = (packBytes + 16 * 1024 * 1024) / 2048;
    assert.ok(world.local.reads > 1000 && world.local.reads <= most, `${world.local.reads} rows were read`);
    isDown = false;
    await inTime(clock, copied);
    assert.equal(pack.liveRows, 0);
  });

  it('does nothing for rows that were forgotten meanwhile', async () => {
    const { clock, world, one, pack } = await setUp();
    const rows = world.index.rowsOf(pack);
    world.index.dropBlob(one, pack);
    await inTime(clock, world.copies.copy(rows, noAbort()));
    assert.equal(world.index.blobTable.find(rowKeyOf(one)), -1);
    assert.equal(world.copies.bytes, 3);
  });
});
