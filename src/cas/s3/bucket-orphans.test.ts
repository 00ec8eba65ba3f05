import assert from 'node:assert/strict';
import fc from 'fast-check';
import { sha256 } from '../../../test/support/blob-store-contract.ts';
import { BucketContent, idOf, WRITERS } from '../../../test/support/bucket-content.ts';
import { BucketWorld, MAX_PACKED_BYTES } from '../../../test/support/bucket-world.ts';
import { until } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { MemoryObjectStore } from '../../../test/support/memory-object-store.ts';
import { NO_LOG } from '../../system/log.ts';
import { SystemRandom } from '../../system/random.ts';
import { condemnedGraceMs, type Orphan, orphansIn, removeOrphans } from './bucket-orphans.ts';
import { surveyBucket } from './bucket-survey.ts';

const NOW = 1_700_000_000_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const [A, B] = WRITERS;

/** Of `BucketContent.state` as it is by default: two refreshes, a lease and two days. */
const GRACE = (2 * 60 + 900) * 1000 + 2 * DAY;

describe('orphansIn', () => {
  let content: BucketContent;

  beforeEach(() => {
    content = new BucketContent();
    content.format(1);
  });

  const open = (): MemoryObjectStore => new MemoryObjectStore(new FakeClock(NOW), { bucket: content.bucket });
  const survey = () =>
    surveyBucket(open(), { random: new SystemRandom(), log: NO_LOG, onProgress: () => undefined }, noAbort());
  const orphans = async () => orphansIn(await survey()).map(({ what, key }) => `${what} ${key}`);

  it('are uploads in parts that were begun more than a day ago', async () => {
    const key = `packs/${A}/000000000001-0000aaaa`;
    content.bucket.beginUpload(key, NOW - DAY - 1);
    content.bucket.beginUpload(`packs/${A}/000000000002-0000aaaa`, NOW - DAY);
    content.bucket.beginUpload(`packs/${A}/000000000003-0000aaaa`, 0);
    content.bucket.beginUpload('movie', NOW - 9 * DAY);
    assert.deepEqual(await orphans(), [`upload ${key}`]);
  });

  it('are containers that servers should have deleted a day ago', async () => {
    content.state(A, NOW);
    const key = content.pack(idOf(A, 1), { blobs: ['x'] }, NOW - 9 * DAY);
    content.pack(idOf(A, 2), { blobs: ['y'] }, NOW - 9 * DAY);
    content.pack(idOf(A, 3), { blobs: ['z'] }, NOW - 9 * DAY);
    content.pack(idOf(A, 4), { condemns: [idOf(A, 1)] }, NOW - GRACE - 1);
    content.pack(idOf(A, 5), { condemns: [idOf(A, 2)] }, NOW - GRACE);
    assert.deepEqual(await orphans(), [`condemned ${key}`]);
  });

  it('are none of the condemned ones that the slowest server may still rely on', async () => {
    const key = content.pack(idOf(A, 1), { blobs: ['x'] }, NOW - 9 * DAY);
    content.pack(idOf(A, 2), { condemns: [idOf(A, 1)] }, NOW - GRACE - 1);
    assert.deepEqual(await orphans(), [`condemned ${key}`]);
    content.state(B, NOW - 20 * DAY, { refreshSeconds: 61, leaseSeconds: 900 });
    assert.deepEqual(await orphans(), []);
    content.state(B, NOW - 20 * DAY, { refreshSeconds: 60, leaseSeconds: 901 });
    assert.deepEqual(await orphans(), []);
    // What it relies on cannot be known.
    content.bucket.set(content.state(B, NOW), Buffer.from('{}'), NOW - 20 * DAY);
    assert.equal(condemnedGraceMs((await survey()).writers), undefined);
    assert.deepEqual(await orphans(), []);
  });

  it('are snapshots that are replaced, or of a server that is forgotten', async () => {
    content.state(A, NOW);
    // Numbers may fall: the later one is the newest.
    const replaced = content.snapshot(A, 9, NOW - 2_000);
    content.snapshot(A, 5, NOW - 1_000);
    const forgotten = content.snapshot(B, 1, NOW);
    assert.deepEqual(await orphans(), [`snapshot ${replaced}`, `snapshot ${forgotten}`]);
    content.state(B, NOW);
    const older = content.snapshot(B, 0, NOW);
    assert.deepEqual(await orphans(), [`snapshot ${replaced}`, `snapshot ${older}`]);
  });

  it('are states of servers that were silent for 30 days and have nothing in the bucket', async () => {
    content.state(A, NOW - 31 * DAY);
    content.pack(idOf(A, 1), { blobs: ['x'] }, NOW - 40 * DAY);
    const silent = content.state(B, NOW - 30 * DAY - 1);
    assert.deepEqual(await orphans(), [`writer ${silent}`]);
    content.state(B, NOW - 30 * DAY);
    assert.deepEqual(await orphans(), []);
  });

  it('are what commands left behind more than a day ago', async () => {
    const key = 'doctor/0123456789abcdef/a';
    content.bucket.set(key, Buffer.alloc(1), NOW - DAY - 1);
    content.bucket.set('doctor/0123456789abcdef/b', Buffer.alloc(1), NOW - DAY);
    content.bucket.set('doctor/mine', Buffer.alloc(1), NOW - 9 * DAY);
    assert.deepEqual(await orphans(), [`scratch ${key}`]);
  });

  it('law: are never a container that is not condemned, a damaged pack, or an object of others', async () => {
    const age = fc.integer({ min: 0, max: 100 * DAY });
    const kind = fc.constantFrom('pack', 'large', 'damaged', 'foreign');
    const object = fc.record({ kind, age, writer: fc.constantFrom(...WRITERS) });
    await fc.assert(
      fc.asyncProperty(fc.array(object, { maxLength: 12 }), fc.array(age, { maxLength: 3 }), async (made, states) => {
        content = new BucketContent();
        content.format(1);
        for (const [at, days] of states.entries()) content.state(WRITERS[at] ?? A, NOW - days);
        for (const [number, { kind, age, writer }] of made.entries()) {
          if (kind === 'foreign') content.bucket.set(`packs/${writer}/mine-${number}`, Buffer.from('x'), NOW - age);
          else if (kind === 'large') content.large(idOf(writer, number), `blob ${number}`, NOW - age);
          else {
            const key = content.pack(idOf(writer, number), { blobs: [`blob ${number}`] }, NOW - age);
            if (kind === 'damaged') content.bucket.set(key, Buffer.from('torn'), NOW - age);
          }
        }
        const before = [...content.bucket.objects.keys()].filter((key) => key.startsWith('packs/'));
        await removeOrphans(open(), orphansIn(await survey()), () => undefined, noAbort());
        const after = [...content.bucket.objects.keys()].filter((key) => key.startsWith('packs/'));
        assert.deepEqual(after, before);
      }),
    );
  });

  it('are removed, and told one by one', async () => {
    content.state(A, NOW);
    const upload = `packs/${A}/000000000009-0000aaaa`;
    content.bucket.beginUpload(upload, NOW - 2 * DAY);
    const condemned = content.pack(idOf(A, 1), { blobs: ['x'] }, NOW - 9 * DAY);
    const pack = content.pack(idOf(A, 2), { condemns: [idOf(A, 1)] }, NOW - 8 * DAY);
    const removed: Orphan[] = [];
    await removeOrphans(open(), orphansIn(await survey()), (orphan) => removed.push(orphan), noAbort());
    assert.deepEqual(
      removed.map(({ key }) => key),
      [upload, condemned],
    );
    assert.equal(content.bucket.uploads.size, 0);
    assert.deepEqual([...content.bucket.objects.keys()].sort(), ['format', pack, `writers/${A}`]);
  });

  it('are not told to be removed if that failed or was stopped', async () => {
    const key = 'doctor/0123456789abcdef/a';
    content.bucket.set(key, Buffer.alloc(1), NOW - 2 * DAY);
    const found = orphansIn(await survey());
    const failing = new MemoryObjectStore(new FakeClock(NOW), { bucket: content.bucket, faults: () => 'fail-before' });
    const told = (): never => assert.fail('it is still there');
    await assert.rejects(removeOrphans(failing, found, told, noAbort()), ofKind('unavailable'));
    await assert.rejects(removeOrphans(open(), found, told, AbortSignal.abort()), ofKind('cancelled'));
    assert.ok(content.bucket.objects.has(key));
  });
});

describe('orphans of servers', () => {
  it('can be removed while servers run and after they were killed, and nothing that was stored is missing', async () => {
    const world = await BucketWorld.open();
    const there = await world.beside();
    const digests = [await world.put(MAX_PACKED_BYTES + 1, 0)];
    for (let seed = 1; seed <= 20; seed++) digests.push(await world.put(1_000, seed));
    await world.putEntry('key', 'value');
    // Small packs are put together, and what they were is condemned.
    await until(() => {
      world.clock.advance(1_000);
      return world.tier.stats().condemned > 0;
    });
    const prune = async (): Promise<readonly Orphan[]> => {
      const objects = new MemoryObjectStore(world.clock, { bucket: world.bucket });
      const parts = { random: new SystemRandom(), log: NO_LOG, onProgress: () => undefined };
      const found = orphansIn(await surveyBucket(objects, parts, noAbort()));
      await removeOrphans(objects, found, () => undefined, noAbort());
      return found;
    };
    assert.deepEqual(await prune(), []);
    const { condemned } = world.tier.stats();
    assert.ok(condemned > 0);
    world.faults.of = () => 'fail-before';
    there.faults.of = () => 'fail-before';
    await world.close();
    await there.close();
    world.clock.advance(3 * DAY);
    const removed = await prune();
    assert.deepEqual(
      removed.map(({ what }) => what),
      removed.map(() => 'condemned'),
    );
    assert.ok(removed.length >= condemned);
    const fresh = await BucketWorld.open({ bucket: world.bucket, clock: world.clock });
    for (const digest of digests) assert.deepEqual(sha256(await fresh.read(digest)), digest);
    assert.equal(await fresh.textOf('key'), 'value');
    assert.equal(fresh.tier.stats().condemned, 0);
  });
});
