import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blobStoreContract, inPieces, sha256, someBytes } from '../../../test/support/blob-store-contract.ts';
import { deferred, turns } from '../../../test/support/deferred.ts';
import { entryStoreContract } from '../../../test/support/entry-store-contract.ts';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { HookedFileSystem } from '../../../test/support/hooked-file-system.ts';
import { openStoreForTest } from '../../../test/support/local-store-for-test.ts';
import { openTemporaryFiles, temporaryFolder } from '../../../test/support/temporary-folder.ts';
import type { Digest } from '../../digest/digest.ts';
import { isKind } from '../../errors.ts';
import { type ByteStream, collect, WHOLE } from '../../system/byte-stream.ts';
import { createLog } from '../../system/log.ts';
import { FileBlobStore } from '../file-blob-store.ts';
import type { LocalStore } from './local-store.ts';
import type { LocalStoreOptions } from './open-store.ts';
import type { Eviction } from './store-report.ts';

const MIB = 1024 * 1024;
const RETENTION_MS = 60_000;
/** Leases are half as long again, and counted in steps of a 64th. */
const LEASE_MS = 95_000;

/** Bytes that differ by seed; quicker to make than those of the contract. */
function bytesOf(sizeBytes: number, seed: number): Buffer {
  return Buffer.alloc(sizeBytes, `${seed} `);
}

describe('LocalStore', () => {
  let folder: string;
  let clock: FakeClock;
  let evictions: Eviction[];
  let refusals: string[];

  beforeEach(() => {
    folder = temporaryFolder();
    clock = new FakeClock();
    evictions = [];
    refusals = [];
  });

  const open = (options: Partial<LocalStoreOptions> = {}, where = folder): Promise<LocalStore> =>
    openStoreForTest(where, {
      clock,
      maxBytes: 16 * MIB,
      minRetentionMs: RETENTION_MS,
      events: {
        committed: () => undefined,
        evicted: (eviction) => evictions.push(eviction),
        refused: (reason) => refusals.push(reason),
      },
      ...options,
    });
  /** The store as a killed process leaves it: a copy of its folder, opened. */
  const openAfterCrash = (options: Partial<LocalStoreOptions> = {}): Promise<LocalStore> => {
    const copy = join(temporaryFolder(), 'copy');
    cpSync(folder, copy, { recursive: true });
    return open(options, copy);
  };
  const put = async (store: LocalStore, sizeBytes: number, seed: number): Promise<Digest> => {
    const bytes = bytesOf(sizeBytes, seed);
    await store.blobs.putBytes(sha256(bytes), bytes, noAbort());
    return sha256(bytes);
  };
  /** Blobs with unlike contents, as many as make up `totalBytes`. */
  const fill = async (store: LocalStore, totalBytes: number, firstSeed = 1, sizeBytes = 50_000): Promise<Digest[]> => {
    const digests: Digest[] = [];
    for (let at = 0; at < totalBytes / sizeBytes; at++) digests.push(await put(store, sizeBytes, firstSeed + at));
    return digests;
  };
  const missing = async (store: LocalStore, digests: readonly Digest[]): Promise<number> =>
    (await store.blobs.findMissing(digests, noAbort())).length;
  const assertWhole = async (store: LocalStore, digests: readonly Digest[]): Promise<void> => {
    for (const digest of digests) assert.deepEqual(sha256(await store.blobs.getBytes(digest, noAbort())), digest);
  };
  const bytesOnDisk = (where = folder): number => {
    let bytes = 0;
    for (const entry of readdirSync(where, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size;
    }
    return bytes;
  };

  for (const sync of ['group', 'none'] as const) {
    describe(`as a blob store, sync: ${sync}`, () => {
      blobStoreContract(async () => (await openStoreForTest(temporaryFolder(), { sync })).blobs);
    });
  }

  describe('as an entry store', () => {
    entryStoreContract(async (given) => (await openStoreForTest(temporaryFolder(), { clock: given })).entries);
  });

  describe('retention', () => {
    it('stays under its limit on disk, evicts the oldest first and says how old it was', async () => {
      const store = await open();
      const old = await fill(store, 4 * MIB);
      clock.advance(LEASE_MS);
      for (let round = 0; round < 10; round++) {
        await fill(store, 3 * MIB, 1000 * (round + 1));
        assert.ok(bytesOnDisk() <= 16 * MIB, `${bytesOnDisk()} bytes on disk`);
        const { segmentBytes, fileBytes, otherBytes } = store.stats();
        assert.ok(bytesOnDisk() <= segmentBytes + fileBytes + otherBytes);
        clock.advance(LEASE_MS);
      }
      assert.equal(await missing(store, old), old.length);
      const oldHashes = new Set(old.map(({ hash }) => hash));
      assert.ok(evictions.slice(0, old.length).every(({ hash, what }) => what === 'blob' && oldHashes.has(hash)));
      assert.ok(evictions.every(({ ageSeconds, sizeBytes }) => ageSeconds >= 90 && sizeBytes > 50_000));
      assert.equal(store.stats().evictedBlobs, evictions.length);
    });

    it('never evicts what was promised, however it was promised, and refuses writes instead', async () => {
      const store = await open();
      const old = await fill(store, 3 * MIB);
      const large = await put(store, 2 * MIB, 77);
      clock.advance(LEASE_MS);
      const [asked, read, streamed, putAgain] = [0, 1, 2, 3].map((nth) => old.filter((_, at) => at % 4 === nth));
      assert.ok(asked && read && streamed && putAgain);
      const kept = [...asked, ...read, ...streamed, ...putAgain, large];
      assert.equal(await missing(store, [...asked, large]), 0);
      await assertWhole(store, read);
      for (const digest of streamed) await collect(await store.blobs.open(digest, WHOLE, noAbort()), MIB);
      for (const [at, digest] of putAgain.entries()) {
        await store.blobs.put(digest, inPieces(bytesOf(50_000, 4 + 4 * at), 9000), noAbort());
      }
      let refused: unknown;
      let stored = 0;
      for (let seed = 1000; refused === undefined; seed++) {
        await put(store, 50_000, seed).then(
          () => stored++,
          (error: unknown) => {
            refused = error;
          },
        );
      }
      assert.ok(isKind(refused, 'quota-exceeded'), String(refused));
      assert.match(refused.message, /promised .* larger store/);
      const { retryAfterMs } = refused.facts;
      assert.ok(retryAfterMs !== undefined && retryAfterMs > 0 && retryAfterMs <= LEASE_MS, String(retryAfterMs));
      assert.ok(stored * 50_000 > 5 * MIB, `only ${stored} fitted`);
      assert.deepEqual([...new Set(refusals)], ['leased']);
      await assertWhole(store, kept);
      clock.advance(LEASE_MS);
      await fill(store, 4 * MIB, 5000);
    });

    it('promises from the last look: half a lease is never less than the retention time', async () => {
      const store = await open();
      const [digest] = await fill(store, 1);
      assert.ok(digest);
      for (let look = 0; look < 5; look++) {
        clock.advance(29_000);
        assert.equal(await missing(store, [digest]), 0);
      }
      clock.advance(RETENTION_MS - 1000);
      await fill(store, 11 * MIB, 1000);
      assert.equal(await missing(store, [digest]), 0);
    });

    it('keeps what was used recently beyond its lease, as long as that leaves room', async () => {
      const store = await open();
      const old = await fill(store, 8 * MIB);
      const used = old.filter((_, at) => at % 8 === 0);
      clock.advance(20 * LEASE_MS);
      assert.equal(await missing(store, used), 0);
      clock.advance(2 * LEASE_MS);
      await fill(store, 11 * MIB, 1000);
      assert.equal(await missing(store, used), 0);
      assert.ok((await missing(store, old)) > old.length / 2);
    });

    it('rotates large files by the same rule', async () => {
      const store = await open();
      const large = await put(store, 3 * MIB, 1);
      clock.advance(10_000);
      const small = await fill(store, 3 * MIB, 100);
      clock.advance(10_000);
      const otherLarge = await put(store, 3 * MIB, 2);
      clock.advance(LEASE_MS);
      await fill(store, 10 * MIB, 1000);
      assert.equal(await missing(store, [large]), 1);
      assert.equal(await missing(store, [otherLarge]), 0);
      assert.ok((await missing(store, small)) > 0);
      assert.deepEqual(evictions[0]?.hash, large.hash);
    });

    it('refuses a blob that could never be promised', async () => {
      const store = await open();
      await assert.rejects(put(store, 14 * MIB, 1), ofKind('too-large'));
      assert.deepEqual(refusals, ['too-large']);
    });

    it('lets many upload one large blob at the same time, however little may be promised', async () => {
      const store = await open({ maxLeasedShare: 0.2 });
      await Promise.all(Array.from({ length: 8 }, () => put(store, MIB, 1)));
    });

    it('keeps the floor of free space', async () => {
      const store = await open({ minFreeBytes: Number.MAX_SAFE_INTEGER });
      await assert.rejects(put(store, 10, 1), (error) => /floor of \d+ free bytes/.test(String(error)));
      await assert.rejects(store.entries.put('key', Buffer.of(1), noAbort()), ofKind('quota-exceeded'));
    });

    it('drops entries that were not used lately, and keeps those that were', async () => {
      const store = await open();
      for (const key of ['used', 'forgotten']) await store.entries.put(key, Buffer.from(key), noAbort());
      await fill(store, 3 * MIB);
      clock.advance(20 * LEASE_MS);
      for (let round = 0; round < 3; round++) {
        assert.ok(await store.entries.get('used', noAbort()));
        await fill(store, 4 * MIB, 1000 * (round + 1));
        clock.advance(LEASE_MS);
      }
      await fill(store, 4 * MIB, 8000);
      assert.ok(await store.entries.get('used', noAbort()));
      assert.equal(await store.entries.get('forgotten', noAbort()), undefined);
      assert.equal(evictions.filter(({ what }) => what === 'entry').length, 1);
    });

    it('takes no notice of a wall clock that jumps', async () => {
      const store = await open();
      const digests = await fill(store, 3 * MIB);
      for (const jump of [1e10, -2e10]) {
        clock.jump(jump);
        await fill(store, 4 * MIB, jump > 0 ? 1000 : 2000);
        assert.equal(await missing(store, digests), 0);
      }
    });

    it('copies nothing forward for writes that it refuses: all is promised', async () => {
      const store = await open({ maxLeasedShare: 0.99 });
      await assert.rejects(fill(store, 17 * MIB), ofKind('quota-exceeded'));
      const { copiedBytes } = store.stats();
      for (let seed = 5000; seed < 5020; seed++) {
        await assert.rejects(put(store, 60_000, seed), ofKind('quota-exceeded'));
        clock.advance(1000);
      }
      assert.equal(store.stats().copiedBytes, copiedBytes);
    });

    it('stays under its limit with the index that tiny blobs need, also when they come all at once', async () => {
      let mostBytes = 0;
      const used = (): number => {
        const { segmentBytes, fileBytes, otherBytes } = store.stats();
        return segmentBytes + fileBytes + otherBytes;
      };
      const store: LocalStore = await open({
        ...{ maxBytes: MIB, segmentBytes: 8192, minRetentionMs: 1000 },
        events: {
          committed: () => {
            mostBytes = Math.max(mostBytes, used());
          },
          evicted: () => undefined,
          refused: () => undefined,
        },
      });
      for (let round = 1; round <= 2; round++) {
        clock.advance(10_000);
        await Promise.allSettled(Array.from({ length: 10_000 }, (_, at) => put(store, 8, 10_000 * round + at)));
      }
      assert.ok(mostBytes <= MIB && mostBytes > MIB / 2, `${mostBytes}`);
      assert.ok(store.stats().evictedBlobs > 0);
      // Nor does it evict more than it was asked to, for an index that shrinks with what goes.
      clock.advance(10_000);
      const target = Math.floor(used() * 0.75);
      await store.prune(target, () => undefined, noAbort());
      assert.ok(used() <= target && used() > target - 3 * 8192 - 3 * 4096, `${used()} of ${target}`);
    });

    it('makes room when asked to, and keeps what is promised', async () => {
      const store = await open();
      const old = await fill(store, 6 * MIB);
      clock.advance(LEASE_MS);
      const held = await fill(store, 2 * MIB, 1000);
      const progress: number[] = [];
      const report = await store.prune(0, ({ doneBytes }) => progress.push(doneBytes), noAbort());
      assert.equal(report.evictedBlobs, old.length);
      assert.ok(report.freedBytes > 5 * MIB && report.sizeBytes < 5 * MIB);
      assert.equal(await missing(store, held), 0);
      assert.ok(progress.length > 1);
    });
  });

  describe('starting', () => {
    it('knows everything again after a clean stop, without reading the log', async () => {
      const store = await open();
      const digests = [...(await fill(store, MIB)), await put(store, MIB, 99)];
      await store.entries.put('key', Buffer.from('value'), noAbort());
      await store.close();
      const again = await open();
      await assertWhole(again, digests);
      assert.equal(Buffer.from((await again.entries.get('key', noAbort()))?.value ?? []).toString(), 'value');
      const { blobs, entries, quarantined } = again.stats();
      assert.deepEqual([blobs, entries, quarantined], [21, 1, 0]);
    });

    it('knows everything again after a crash: blobs, the newest values, what was deleted', async () => {
      const store = await open({ sync: 'group' });
      const digests = await fill(store, MIB);
      for (const value of ['old', 'new']) await store.entries.put('key', Buffer.from(value), noAbort());
      await store.entries.put('deleted', Buffer.from('x'), noAbort());
      await store.entries.delete('deleted', noAbort());
      const again = await openAfterCrash();
      await assertWhole(again, digests);
      const entry = await again.entries.get('key', noAbort());
      assert.deepEqual([Buffer.from(entry?.value ?? []).toString(), entry?.writtenMs], ['new', clock.nowMs()]);
      assert.equal(await again.entries.get('deleted', noAbort()), undefined);
    });

    it('has its promises again, after a stop as after a crash', async () => {
      const store = await open({ checkpointMs: 10_000 });
      const digests = await fill(store, 2 * MIB);
      const large = await put(store, 2 * MIB, 99);
      clock.advance(50_000);
      assert.equal(await missing(store, [...digests, large]), 0);
      clock.advance(5000);
      const crashed = await openAfterCrash();
      await store.close();
      const stopped = await open();
      for (const again of [crashed, stopped]) {
        clock.advance(20_000);
        await fill(again, 7 * MIB, 1000);
        assert.equal(await missing(again, [...digests, large]), 0);
      }
    });

    it('is built anew from the segments if the index is gone or damaged', async () => {
      const store = await open();
      const digests = await fill(store, 3 * MIB);
      await store.entries.put('key', Buffer.from('value'), noAbort());
      await store.close();
      const index = join(folder, 'segments', 'index');
      for (const damage of [() => rmSync(index), () => writeFileSync(index, 'rubbish')]) {
        damage();
        const again = await open();
        await assertWhole(again, digests);
        assert.ok(await again.entries.get('key', noAbort()));
        await again.close();
      }
    });

    it('obeys a limit that was lowered, even against promises', async () => {
      const store = await open({ maxBytes: 64 * MIB });
      await fill(store, 30 * MIB);
      await put(store, 5 * MIB, 99);
      await store.close();
      const again = await open({ maxBytes: 16 * MIB });
      assert.ok(bytesOnDisk() <= 16 * MIB, `${bytesOnDisk()}`);
      clock.advance(LEASE_MS);
      await fill(again, MIB, 5000);
    });

    it('has the blobs of the earlier version, which kept each in a file', async () => {
      const path = join(folder, 'blobs');
      const earlier = { clock, log: createLog('silent'), maxBytes: 16 * MIB, sync: 'none' as const };
      const files = await FileBlobStore.open(path, earlier);
      const bytes = someBytes(1000);
      await files.putBytes(sha256(bytes), bytes, noAbort());
      await files.close();
      const store = await open();
      assert.equal(await missing(store, [sha256(bytes)]), 0);
      await assertWhole(store, [sha256(bytes)]);
      assert.deepEqual([store.stats().files, store.stats().blobs], [1, 0]);
      for (let round = 1; round < 4; round++) {
        clock.advance(LEASE_MS);
        await fill(store, 8 * MIB, 1000 * round);
      }
      assert.equal(await missing(store, [sha256(bytes)]), 1);
    });

    it('leaves nothing open if the limit cannot be applied', async () => {
      const store = await open();
      await fill(store, 8 * MIB);
      await store.close();
      const before = openTemporaryFiles();
      const files = new HookedFileSystem();
      files.failOn('EIO', (call, path) => call === 'unlink' && path.endsWith('.segment'));
      await assert.rejects(open({ maxBytes: 4 * MIB, files }), ofKind('unavailable'));
      assert.equal(openTemporaryFiles(), before);
    });

    it('refuses a folder of another kind, and a limit that is too small to rotate in, and leaves nothing open', async () => {
      const before = openTemporaryFiles();
      await assert.rejects(open({ maxBytes: MIB }), ofKind('precondition'));
      writeFileSync(join(folder, 'segments'), '');
      await assert.rejects(open(), ofKind('unavailable'));
      assert.equal(openTemporaryFiles(), before);
    });
  });

  describe('stopping', () => {
    it('refuses what an upload still wants to write, and leaves no byte of it', async () => {
      const files = new HookedFileSystem();
      const store = await open({ files });
      await put(store, 10, 1);
      const bytes = bytesOf(5000, 2);
      const gate = deferred();
      const slow = async function* (): ByteStream {
        yield bytes.subarray(0, 10);
        await gate.promise;
        yield bytes.subarray(10);
      };
      const upload = store.blobs.put(sha256(bytes), slow(), noAbort());
      await turns(2);
      await store.close();
      // Somebody else may have the descriptors by now.
      const calls: string[] = [];
      files.before = (call) => void calls.push(call);
      gate.resolve();
      await assert.rejects(upload, ofKind('unavailable'));
      assert.deepEqual(calls, []);
    });

    it('ends a check and a prune that are under way', async () => {
      const store = await open();
      await fill(store, 12 * MIB);
      clock.advance(LEASE_MS);
      const check = store.check(() => undefined, noAbort());
      const prune = store.prune(0, () => undefined, noAbort());
      const ends = [check, prune].map((job) => assert.rejects(job, ofKind('unavailable')));
      await store.close();
      await Promise.all(ends);
      assert.equal(openTemporaryFiles(), 0);
    });

    it('refuses further calls and closes every file', async () => {
      const before = openTemporaryFiles();
      const store = await open();
      const digest = await put(store, 10, 1);
      const writing = put(store, 100, 2);
      await store.close();
      await writing;
      await assert.rejects(store.blobs.getBytes(digest, noAbort()), ofKind('unavailable'));
      await assert.rejects(store.blobs.findMissing([digest], noAbort()), ofKind('unavailable'));
      await assert.rejects(store.entries.get('key', noAbort()), ofKind('unavailable'));
      await assert.rejects(put(store, 10, 3), ofKind('unavailable'));
      assert.equal(openTemporaryFiles(), before);
      assert.equal(clock.armed, 0);
      assert.equal(await missing(await open(), [digest]), 0);
    });
  });

  describe('checking', () => {
    it('reads everything, names what is damaged, and makes that absent', async () => {
      const store = await open();
      const digests = [...(await fill(store, MIB)), await put(store, MIB, 99)];
      await store.entries.put('key', Buffer.from('value'), noAbort());
      const clean = await store.check(() => undefined, noAbort());
      assert.deepEqual([clean.blobs, clean.entries, clean.damaged], [22, 1, 0]);
      const segment = join(folder, 'segments', '00000001.segment');
      const rotten = readFileSync(segment);
      rotten[30_000] = (rotten[30_000] ?? 0) ^ 1;
      writeFileSync(segment, rotten);
      const progress: number[] = [];
      const report = await store.check(({ doneBytes }) => progress.push(doneBytes), noAbort());
      assert.equal(report.damaged, 1);
      assert.deepEqual(report.damage[0]?.what, 'blob');
      assert.equal(await missing(store, digests), 1);
      assert.equal(store.stats().quarantined, 1);
      assert.equal((await store.check(() => undefined, noAbort())).damaged, 0);
      assert.equal(readdirSync(join(folder, 'segments', 'quarantine')).length, 1);
      // It stays absent, and can be put again.
      assert.equal(await missing(await openAfterCrash(), digests), 1);
      await fill(store, MIB);
      assert.equal(await missing(store, digests), 0);
    });

    it('stops when it is told to', async () => {
      const store = await open();
      await fill(store, 8 * MIB);
      const abort = new AbortController();
      const check = store.check(() => abort.abort(), abort.signal);
      await assert.rejects(check, ofKind('cancelled'));
    });
  });
});
