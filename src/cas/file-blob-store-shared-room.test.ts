import assert from 'node:assert/strict';
import { readdirSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inPieces, sha256, someBytes } from '../../test/support/blob-store-contract.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { HookedFileSystem } from '../../test/support/hooked-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import type { Digest } from '../digest/digest.ts';
import { isKind, ReapiError } from '../errors.ts';
import { NO_LOG } from '../system/log.ts';
import { FileBlobStore, type FileBlobStoreOptions } from './file-blob-store.ts';

const NEVER = new AbortController().signal;
const LARGE = 600_000;

function open(folder: string, options: Partial<FileBlobStoreOptions> = {}): Promise<FileBlobStore> {
  return FileBlobStore.open(folder, {
    clock: new FakeClock(),
    log: NO_LOG,
    maxBytes: 20_000_000,
    maxFiles: 1000,
    sync: 'none',
    ...options,
  });
}

function pathOf(folder: string, digest: Digest): string {
  return join(folder, 'files', digest.hash.slice(0, 2), `${digest.hash}-${digest.sizeBytes}-sha256`);
}

async function put(store: FileBlobStore, bytes: Uint8Array): Promise<Digest> {
  const digest = sha256(bytes);
  await store.putBytes(digest, bytes, NEVER);
  return digest;
}

describe('FileBlobStore as a tier under a shared limit', () => {
  it('tells presence and times of use without changing them, and changes them when asked', async () => {
    const clock = new FakeClock();
    const store = await open(temporaryFolder(), { clock });
    const startMs = clock.monotonicMs();
    const digest = await put(store, someBytes(10));
    const other = sha256(someBytes(11));
    clock.advance(500);
    assert.deepEqual([store.has(digest), store.touchedMs(digest)], [true, startMs]);
    assert.deepEqual([store.has(other), store.touchedMs(other), store.touch(other)], [false, undefined, false]);
    assert.deepEqual([store.touch(digest), store.touchedMs(digest)], [true, startMs + 500]);
  });

  it('restores times of use by the beginning of hashes, so that promises outlast an unclean stop', async () => {
    const folder = temporaryFolder();
    const clock = new FakeClock(Date.now());
    const first = await open(folder, { clock });
    const promised = await put(first, someBytes(10, 1));
    const forgotten = await put(first, someBytes(10, 2));
    const later = new FakeClock(clock.nowMs() + 10_000_000);
    const second = await open(folder, { clock: later });
    const found = new Map(second.digestsByHashStart()).get(promised.hash.slice(0, 16));
    assert.ok(found !== undefined);
    assert.equal(second.touchAt(found, later.monotonicMs() - 1000), true);
    assert.equal(second.touchAt(sha256(someBytes(3)), 0), false);
    assert.equal(second.bytesHeld(later.monotonicMs()), 4096);
    assert.deepEqual(
      [...second.inOrder()].map((blob) => blob.digest.hash),
      [forgotten.hash, promised.hash],
    );
    assert.equal(second.evictOldest()?.digest.hash, forgotten.hash);
    assert.equal(second.oldestTouchMs(), later.monotonicMs() - 1000);
    assert.equal(second.evictOldest(), undefined);
  });

  it('gives back what it evicted: digest, bytes on disk, last use', async () => {
    const clock = new FakeClock();
    const store = await open(temporaryFolder(), { clock, minRetentionMs: 0, smallBytes: 1000 });
    const digest = await put(store, someBytes(1000));
    await put(store, someBytes(5000));
    assert.deepEqual([store.diskBytes, store.smallFiles], [3 * 4096, 1]);
    const evicted = store.evictOldest();
    assert.deepEqual(evicted, { digest, diskBytes: 4096, touchedMs: clock.monotonicMs() });
    assert.deepEqual([store.diskBytes, store.smallFiles, store.has(digest)], [2 * 4096, 0, false]);
  });

  it('lists what is promised, the newest first', async () => {
    const clock = new FakeClock();
    const store = await open(temporaryFolder(), { clock, minRetentionMs: 1000 });
    const digests: Digest[] = [];
    for (const seed of [1, 2, 3]) {
      digests.push(await put(store, someBytes(10, seed)));
      clock.advance(500);
    }
    assert.deepEqual(
      [...store.heldNewestFirst()].map((blob) => blob.digest),
      [digests[2]],
    );
    for (const digest of digests.slice(0, 2)) store.touch(digest);
    assert.deepEqual(
      [...store.heldNewestFirst()].map((blob) => blob.digest),
      [digests[1], digests[0], digests[2]],
    );
  });

  it('lists blobs and what is promised while others come, go and are used', async () => {
    const clock = new FakeClock();
    const store = await open(temporaryFolder(), { clock });
    const digests: Digest[] = [];
    for (const seed of [1, 2, 3, 4]) {
      digests.push(await put(store, someBytes(10, seed)));
      clock.advance(1);
    }
    const [oldest, second, , newest] = digests;
    assert.ok(oldest && second && newest);
    const held: Digest[] = [];
    for (const { digest } of store.heldNewestFirst()) {
      held.push(digest);
      if (digest.hash !== newest.hash) continue;
      assert.equal(store.touch(newest) && store.touch(second), true);
      await put(store, someBytes(10, 5));
    }
    assert.deepEqual(held, [newest, digests[2], oldest]);
    const listed: string[] = [];
    for (const [start, digest] of store.digestsByHashStart()) {
      assert.ok(digest.hash.startsWith(start) && start.length === 16);
      listed.push(digest.hash);
      store.touchAt(digest, clock.monotonicMs() - 1);
      store.touch(oldest);
    }
    assert.deepEqual(listed.sort(), [...digests, sha256(someBytes(10, 5))].map(({ hash }) => hash).sort());
  });

  it('leaves the time of a blob as it is for the interval of touching, whoever looks at it', async () => {
    const clock = new FakeClock();
    const store = await open(temporaryFolder(), { clock, touchIntervalMs: 1000 });
    const startMs = clock.monotonicMs();
    const digest = await put(store, someBytes(LARGE));
    for (const passMs of [999, 1]) {
      clock.advance(passMs);
      assert.equal((await store.findMissing([digest], NEVER)).length, 0);
      await store.getBytes(digest, NEVER);
      await put(store, someBytes(LARGE));
      assert.equal(store.touchedMs(digest), passMs === 999 ? startMs : startMs + 1000);
    }
  });

  it('evicts the next blob when one cannot be removed, and keeps counting that', async () => {
    const files = new HookedFileSystem();
    const store = await open(temporaryFolder(), { files, minRetentionMs: 0 });
    const [stuck, next] = [await put(store, someBytes(10, 1)), await put(store, someBytes(10, 2))];
    files.failOn('EPERM', (call, path) => call === 'unlink' && path.includes(stuck.hash));
    assert.equal(store.evictOldest()?.digest.hash, next.hash);
    assert.equal(store.evictOldest(), undefined);
    assert.deepEqual([store.has(stuck), store.diskBytes], [true, 4096]);
  });

  it('says what is wrong with a blob on disk without counting that as use', async () => {
    const folder = temporaryFolder();
    const clock = new FakeClock();
    const store = await open(folder, { clock });
    const startMs = clock.monotonicMs();
    const [whole, changed, cut, gone] = await Promise.all(
      [1, 2, 3, 4].map((seed) => put(store, someBytes(LARGE, seed))),
    );
    assert.ok(whole && changed && cut && gone);
    clock.advance(1000);
    writeFileSync(pathOf(folder, changed), Buffer.alloc(LARGE, 1));
    truncateSync(pathOf(folder, cut), 100);
    unlinkSync(pathOf(folder, gone));
    assert.equal(await store.damageOf(whole, NEVER), undefined);
    assert.equal(store.touchedMs(whole), startMs);
    assert.match((await store.damageOf(changed, NEVER)) ?? '', /damaged/);
    assert.match((await store.damageOf(cut, NEVER)) ?? '', /shorter/);
    assert.match((await store.damageOf(gone, NEVER)) ?? '', /vanished/);
    for (const digest of [changed, cut, gone]) assert.equal(await store.damageOf(digest, NEVER), undefined);
    assert.deepEqual([store.stats().quarantined, store.stats().files, openTemporaryFiles()], [2, 1, 0]);
    await assert.rejects(store.damageOf(whole, AbortSignal.abort()), (error) => isKind(error, 'cancelled'));
  });

  it('passes a refusal on, with its retry delay, and lets uploads of one blob share the room of one (R-CAS-20)', async () => {
    let takenBytes = 0;
    const room = {
      async make(diskBytes: number): Promise<void> {
        if (takenBytes + diskBytes > 1_000_000) throw new ReapiError('quota-exceeded', 'leased', { retryAfterMs: 7 });
      },
      changed: (diskBytes: number) => {
        takenBytes = diskBytes;
        assert.ok(takenBytes <= 1_000_000);
      },
    };
    const store = await open(temporaryFolder(), { room });
    const bytes = someBytes(LARGE);
    await Promise.all([1, 2, 3].map((n) => store.put(sha256(bytes), inPieces(bytes, n * 10_000), NEVER)));
    assert.equal(store.has(sha256(bytes)), true);
    await assert.rejects(
      put(store, someBytes(LARGE, 2)),
      (error) => isKind(error, 'quota-exceeded') && error.facts.retryAfterMs === 7,
    );
    assert.equal(takenBytes, store.diskBytes);
  });

  it('refuses, counts right, and leaves nothing behind wherever the disk fails', async () => {
    const files = new FaultyFileSystem();
    let takenBytes = 0;
    const room = {
      make: () => Promise.resolve(),
      changed: (diskBytes: number) => {
        takenBytes = diskBytes;
      },
    };
    const folder = temporaryFolder();
    const store = await open(folder, { files, room, sync: 'file' });
    let atCall = 0;
    for (let hasFailed = true; hasFailed; ) {
      const bytes = someBytes(1000, ++atCall);
      files.plan({ atCall, lasts: 'once', code: 'EIO' });
      const [result] = await Promise.allSettled([put(store, bytes)]);
      hasFailed = files.calls >= atCall;
      files.plan(undefined);
      assert.equal(store.has(sha256(bytes)), result.status === 'fulfilled');
      assert.deepEqual([takenBytes, store.stats().reservedBytes], [store.diskBytes, 0]);
      assert.deepEqual(readdirSync(join(folder, 'tmp')).length, 0);
    }
    assert.ok(atCall > 5);
  });
});
