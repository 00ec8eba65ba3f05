import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, someBytes } from '../../../test/support/blob-store-contract.ts';
import { deferred } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { blobKey, flipByte, SegmentWorld } from '../../../test/support/segment-world.ts';
import type { Digest } from '../../digest/digest.ts';
import { checkStore } from './check-store.ts';
import { ENTRY_KIND, recordBytes } from './log/format.ts';
import { RowKey } from './record-index/row-key.ts';
import { type CheckReport, MAX_REPORTED_DAMAGE, type StoreProgress } from './store-report.ts';

const MIB = 1024 * 1024;

describe('checkStore', () => {
  let world: SegmentWorld;

  beforeEach(async () => {
    world = await SegmentWorld.open();
  });

  const check = (
    onProgress: (progress: StoreProgress) => void = () => undefined,
    signal = noAbort(),
  ): Promise<CheckReport> => {
    const { core, segments, files } = world.parts;
    return checkStore({ core, segments, files }, onProgress, signal);
  };
  const pathOf = (digest: Digest): string => {
    const folder = join(world.folder, 'blobs', 'files');
    const name = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((each) => each.includes(digest.hash));
    assert.ok(name !== undefined);
    return join(folder, name);
  };
  /** A record that is whole, under a key that is not that of its bytes. */
  const putUnder = async (key: Uint8Array, kind = 1): Promise<void> => {
    const record = { kind, isRemoval: false, key, data: Buffer.from('other bytes'), writtenMs: 0 };
    const rowKey = new RowKey().setBytes(kind, key);
    await world.parts.core.append(record, (place) => world.index.put(rowKey, { ...place, touched: 0 }));
  };

  it('finds nothing wrong with a store that is whole, and counts what it read', async () => {
    await world.fill(20, 1);
    await world.put(5000, 99);
    await world.putEntry('key', 'value');
    const report = await check();
    const bytes = 20 * recordBytes(32 + 1000) + recordBytes(8) + 8192;
    assert.deepEqual(report, { blobs: 21, entries: 1, bytes, damaged: 0, damage: [] });
    assert.equal(world.parts.core.quarantined, 0);
  });

  it('finds nothing in an empty store, and says that it is done', async () => {
    const progress: StoreProgress[] = [];
    assert.equal((await check((each) => progress.push(each))).bytes, 0);
    assert.deepEqual(progress, [{ doneBytes: 0, totalBytes: 0 }]);
  });

  it('renews no promise: a check is no use', async () => {
    const [digest] = await world.fill(1, 1);
    const large = await world.put(5000, 99);
    assert.ok(digest);
    const touchedMs = world.parts.files.touchedMs(large);
    world.clock.advance(40_000);
    await check();
    assert.equal(world.touched(digest), 0);
    assert.equal(world.parts.files.touchedMs(large), touchedMs);
  });

  describe('damage', () => {
    it('is named, put aside and absent from then on: records', async () => {
      const digests = await world.fill(10, 1);
      const [first, second] = digests;
      assert.ok(first && second);
      world.damage(first);
      // In its header.
      world.damageRow(world.rowOf(second), 20);
      const report = await check();
      assert.deepEqual([report.damaged, report.blobs], [2, 10]);
      assert.deepEqual(
        report.damage.map(({ what, name }) => [what, name]),
        [
          ['blob', first.hash],
          ['blob', second.hash],
        ],
      );
      assert.equal(new Set(report.damage.map(({ reason }) => reason)).size, 2);
      assert.equal(await world.missing(digests), 2);
      assert.equal(world.quarantined().length, 2);
      assert.equal((await check()).damaged, 0);
    });

    it('is named, put aside and absent from then on: files', async () => {
      const digest = await world.put(5000, 99);
      flipByte(pathOf(digest), 100);
      const report = await check();
      assert.deepEqual([report.damaged, report.damage[0]?.what], [1, 'blob']);
      assert.ok(report.damage[0]?.name.includes(`${digest.hash}/5000`));
      assert.equal(await world.missing([digest]), 1);
      assert.equal((await check()).damaged, 0);
    });

    it('is named by what is known: of an entry, the hash of its key', async () => {
      await world.putEntry('key', 'value');
      const { table } = world.index;
      table.forEachRow((row) => world.damageRow(row, 36));
      const { damage } = await check();
      assert.deepEqual(
        damage.map(({ what }) => what),
        ['entry'],
      );
      assert.ok(damage[0]?.name.endsWith(sha256(Buffer.from('key')).hash));
      assert.equal(await world.textOf('key'), undefined);
    });

    it('is also what the device cannot read', async () => {
      const [digest] = await world.fill(1, 1);
      assert.ok(digest);
      world.files.failOn('EIO', (call) => call === 'read');
      const { damage } = await check();
      assert.deepEqual(damage, [{ what: 'blob', name: digest.hash, reason: 'it cannot be read' }]);
      assert.equal(world.rowOf(digest), -1);
    });

    it('is also a whole record that is not what its key says, or of a function that is not known', async () => {
      const digest = sha256(someBytes(10));
      await putUnder(Buffer.from(digest.hash, 'hex'));
      await putUnder(Buffer.from(digest.hash, 'hex'), 77);
      const { damaged, damage } = await check();
      assert.deepEqual([damaged, damage.map(({ name }) => name)], [2, [digest.hash, digest.hash]]);
      assert.equal(world.index.table.find(blobKey(digest)), -1);
      assert.equal(world.index.blobs, 0);
    });

    it('is counted in full and listed up to a limit', async () => {
      for (let at = 0; at <= MAX_REPORTED_DAMAGE; at++) {
        const key = Buffer.alloc(32);
        key.writeUInt32BE(at);
        world.index.table.add(new RowKey().setBytes(ENTRY_KIND, key), {
          segment: 1,
          offset: 4096,
          payloadBytes: 100,
          touched: 0,
        });
      }
      world.index.adopt();
      const { damaged, damage } = await check();
      assert.deepEqual([damaged, damage.length], [MAX_REPORTED_DAMAGE + 1, MAX_REPORTED_DAMAGE]);
    });
  });

  describe('while the store goes on', () => {
    beforeEach(async () => {
      world = await SegmentWorld.open({ segmentBytes: 8 * MIB });
    });
    const fillMany = async (mebibytes: number): Promise<Digest[]> => {
      const digests: Digest[] = [];
      for (let seed = 0; seed < mebibytes; seed++) digests.push(await world.put(MIB, seed));
      return digests;
    };

    it('tells how far it is, a few times, and never more than all', async () => {
      await fillMany(9);
      const progress: StoreProgress[] = [];
      const { bytes } = await check((each) => progress.push(each));
      assert.ok(progress.length >= 3);
      assert.ok(
        progress.every(({ doneBytes, totalBytes }, at) => {
          return doneBytes <= totalBytes && doneBytes >= (progress[at - 1]?.doneBytes ?? 0);
        }),
      );
      assert.deepEqual(progress.at(-1), { doneBytes: bytes, totalBytes: bytes });
    });

    it('passes over what was removed or moved meanwhile', async () => {
      const digests = await fillMany(7);
      let didChange = false;
      const report = await check(() => {
        if (didChange) return;
        didChange = true;
        const [moved, removed] = digests.slice(-2).map((digest) => world.rowOf(digest));
        assert.ok(moved !== undefined && removed !== undefined);
        world.index.remove(removed);
        world.index.move(moved, 99, 32);
      });
      assert.deepEqual([report.blobs, report.damaged], [5, 0]);
    });

    it('stops when it is told to', async () => {
      await fillMany(5);
      const abort = new AbortController();
      await assert.rejects(
        check(() => abort.abort(), abort.signal),
        ofKind('cancelled'),
      );
    });

    it('leaves alone what was uploaded since it began to read what was there before', async () => {
      world = await SegmentWorld.open({ segmentBytes: MIB });
      const digest = await world.put(200_000, 1);
      world.damage(digest);
      const device = deferred();
      world.files.before = (call) => (call === 'read' ? device.promise : undefined);
      const checking = check();
      world.files.mend();
      await assert.rejects(world.blobs.getBytes(digest, noAbort()), ofKind('blob-not-found'));
      await world.put(200_000, 1);
      device.resolve();
      await checking;
      assert.equal(await world.missing([digest]), 0);
      await world.parts.core.close();
      assert.equal(await (await world.afterCrash()).missing([digest]), 0);
    });

    it('is unavailable if the store is closed meanwhile', async () => {
      await fillMany(5);
      let closing: Promise<void> | undefined;
      await assert.rejects(
        check(() => {
          closing ??= world.parts.core.close();
        }),
        ofKind('unavailable'),
      );
      await closing;
    });

    it('is unavailable if something cannot be read just now; that is no damage', async () => {
      const [digest] = await fillMany(1);
      assert.ok(digest);
      world.files.failOn('ENOMEM', (call) => call === 'read');
      await assert.rejects(check(), ofKind('unavailable'));
      assert.ok(world.rowOf(digest) >= 0);
    });
  });
});
