import assert from 'node:assert/strict';
import fc from 'fast-check';
import { sha256 } from '../../../test/support/blob-store-contract.ts';
import { deferred } from '../../../test/support/deferred.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { openStoreForTest } from '../../../test/support/local-store-for-test.ts';
import { SegmentWorld } from '../../../test/support/segment-world.ts';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { type Digest, digestKey, emptyDigest } from '../../digest/digest.ts';
import { forEachEntry } from './iteration.ts';
import type { LocalStore } from './local-store.ts';
import { ENTRY_KIND } from './log/format.ts';
import type { LocalStoreOptions } from './open-store.ts';
import { digestOfKey, RowKey } from './record-index/row-key.ts';

const MIB = 1024 * 1024;

describe('iteration', () => {
  let folder: string;
  let clock: FakeClock;

  beforeEach(() => {
    folder = temporaryFolder();
    clock = new FakeClock();
  });

  const open = (options: Partial<LocalStoreOptions> = {}): Promise<LocalStore> =>
    openStoreForTest(folder, { clock, maxBytes: 16 * MIB, ...options });
  const put = async (store: LocalStore, sizeBytes: number, seed: number): Promise<Digest> => {
    const bytes = Buffer.alloc(sizeBytes, `${seed} `);
    await store.blobs.putBytes(sha256(bytes), bytes, noAbort());
    return sha256(bytes);
  };
  const putEntries = async (store: LocalStore, count: number, value = 'value', from = 0): Promise<string[]> => {
    const keys = Array.from({ length: count }, (_, at) => `key ${from + at}`);
    await Promise.all(keys.map((key) => store.entries.put(key, Buffer.from(value), noAbort())));
    return keys;
  };
  const entriesOf = async (store: LocalStore): Promise<Map<string, string>> => {
    const seen = new Map<string, string>();
    await store.eachEntry((key, { value }) => void seen.set(key, Buffer.from(value).toString()), noAbort());
    return seen;
  };
  const blobsOf = (store: LocalStore): string[] => {
    const seen: string[] = [];
    store.forEachBlob((key, sizeBytes) => seen.push(digestKey(digestOfKey(key, sizeBytes))));
    return seen.sort();
  };

  describe('of blobs', () => {
    it('law: visits each record and file once with its size, no entries, and the same after a restart', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.constantFrom(1, 31, 1000, 70_000), { maxLength: 12 }), async (sizes) => {
          folder = temporaryFolder();
          const store = await open();
          await putEntries(store, 3);
          const digests: string[] = [];
          for (const [seed, size] of sizes.entries()) digests.push(digestKey(await put(store, size, seed + 1)));
          const expected = [...new Set(digests)].sort();
          assert.deepEqual(blobsOf(store), expected);
          await store.close();
          const again = await open();
          assert.deepEqual(blobsOf(again), expected);
          await again.close();
        }),
        { numRuns: 15 },
      );
    });

    it('visits a small blob once that has both a record and a file', async () => {
      const world = await SegmentWorld.open();
      const digest = await world.put(1000, 1);
      const bytes = await world.blobs.getBytes(digest, noAbort());
      await world.parts.files.putBytes(digest, bytes, noAbort());
      await world.close();
      folder = world.folder;
      assert.deepEqual(blobsOf(await open()), [digestKey(digest)]);
    });

    it('knows whether there is a blob, of that size, and promises nothing by saying so', async () => {
      const store = await open();
      const digests = [await put(store, 1000, 1), await put(store, 70_000, 2)];
      clock.advance(95_000);
      for (const digest of digests) {
        assert.equal(store.has(digest), true);
        assert.equal(store.has({ ...digest, sizeBytes: digest.sizeBytes + 1 }), false);
      }
      assert.equal(store.has(emptyDigest('sha256')), true);
      assert.equal((await store.prune(0, () => undefined, noAbort())).evictedBlobs, 2);
      assert.deepEqual(
        digests.map((digest) => store.has(digest)),
        [false, false],
      );
    });
  });

  describe('of entries', () => {
    it('reads all of them, the newest values and when they were put, also after a restart', async () => {
      const store = await open();
      const keys = await putEntries(store, 1000, 'old');
      await putEntries(store, 500, 'new');
      await store.entries.delete('key 999', noAbort());
      await put(store, 1000, 1);
      const expected = new Map(keys.slice(0, 999).map((key, at) => [key, at < 500 ? 'new' : 'old']));
      assert.deepEqual(await entriesOf(store), expected);
      await store.close();
      const again = await open();
      assert.deepEqual(await entriesOf(again), expected);
      await again.eachEntry((_, { writtenMs }) => assert.equal(writtenMs, clock.nowMs()), noAbort());
    });

    it('visits every entry that is there throughout, while values change, others come and segments are reclaimed', async () => {
      const store = await open({ guard: { mayEvict: ({ kind }) => kind !== ENTRY_KIND } });
      const keys = await putEntries(store, 3000, 'old'.padEnd(300));
      for (let seed = 1; seed < 30; seed++) await put(store, 50_000, seed);
      clock.advance(95_000);
      const seen = new Set<string>();
      let visits = 0;
      const visit = async (key: string): Promise<void> => {
        seen.add(key);
        if (++visits % 300 !== 0) return;
        // Those that were and were not visited yet change their rows, and all their segments.
        for (const from of [0, 1500, 2900]) await putEntries(store, 100, 'new'.padEnd(300), from);
        await putEntries(store, 50, 'other', 10_000 + visits);
        await store.room.free('recent');
      };
      await store.eachEntry(visit, noAbort());
      assert.deepEqual(
        keys.filter((key) => !seen.has(key)),
        [],
      );
      assert.ok(store.stats().copiedBytes > 3000 * 300, `${store.stats().copiedBytes}`);
    });

    it('puts damaged ones aside and goes on with the others, and uses none of them', async () => {
      const world = await SegmentWorld.open();
      for (const key of ['a', 'b', 'c']) await world.putEntry(key, key);
      const keyOf = (text: string): RowKey => new RowKey().setHex(128, sha256(Buffer.from(text)).hash);
      const { table } = world.index;
      const [row, other] = ['b', 'a'].map((key) => table.find(keyOf(key)));
      assert.ok(row !== undefined && other !== undefined);
      world.damageRow(row, 33);
      const touched = table.touched(other);
      world.clock.advance(100_000);
      const seen: string[] = [];
      await forEachEntry(world.parts.core, (key) => void seen.push(key), noAbort());
      assert.deepEqual(seen.sort(), ['a', 'c']);
      assert.deepEqual([world.parts.core.quarantined, table.touched(other)], [1, touched]);
    });

    it('lets other work run, and ends when it is told to', async () => {
      const store = await open();
      await putEntries(store, 2000);
      let visits = 0;
      let turns = 0;
      let isDone = false;
      const countTurns = (): void => {
        turns++;
        if (!isDone) setImmediate(countTurns);
      };
      setImmediate(countTurns);
      await store.eachEntry(() => void visits++, noAbort());
      isDone = true;
      assert.equal(visits, 2000);
      assert.ok(turns >= 7, `${turns}`);
      const abort = new AbortController();
      await assert.rejects(
        store.eachEntry(() => abort.abort(), abort.signal),
        ofKind('cancelled'),
      );
    });

    it('ends when the store is closed, which waits for the visit, and passes on what a visit throws', async () => {
      const store = await open();
      await putEntries(store, 3);
      await assert.rejects(
        store.eachEntry(() => Promise.reject(new TypeError('of ours')), noAbort()),
        TypeError,
      );
      const [visiting, gate] = [deferred(), deferred()];
      const visit = (): Promise<void> => {
        visiting.resolve();
        return gate.promise;
      };
      const ended = assert.rejects(store.eachEntry(visit, noAbort()), ofKind('unavailable'));
      await visiting.promise;
      let isClosed = false;
      const closed = store.close().then(() => {
        isClosed = true;
      });
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(isClosed, false);
      gate.resolve();
      await Promise.all([ended, closed]);
      assert.throws(() => store.eachEntry(() => undefined, noAbort()), ofKind('unavailable'));
    });
  });
});
