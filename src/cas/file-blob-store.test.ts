import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { blobStoreContract, inPieces, sha256, someBytes } from '../../test/support/blob-store-contract.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { HookedFileSystem } from '../../test/support/hooked-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import type { Digest } from '../digest/digest.ts';
import { isKind, ReapiError } from '../errors.ts';
import { type ByteStream, collect, WHOLE } from '../system/byte-stream.ts';
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

async function missing(store: FileBlobStore, ...digests: readonly Digest[]): Promise<number> {
  return (await store.findMissing(digests, NEVER)).length;
}

describe('FileBlobStore', () => {
  describe('with sync none', () => {
    blobStoreContract(() => open(temporaryFolder()));
  });

  describe('with sync file', () => {
    blobStoreContract(() => open(temporaryFolder(), { sync: 'file' }));
  });

  it('keeps everything acknowledged over a clean and over an unclean stop, without partial files', async () => {
    const folder = temporaryFolder();
    const first = await open(folder);
    const small = await put(first, someBytes(10));
    const large = await put(first, someBytes(LARGE));
    writeFileSync(join(folder, 'tmp', '77'), 'half an upload');
    const second = await open(folder);
    assert.equal(await missing(second, small, large), 0);
    assert.deepEqual(readdirSync(join(folder, 'tmp')), []);
    await second.close();
    const third = await open(folder);
    assert.equal(await missing(third, small, large), 0);
    assert.deepEqual(third.stats(), { ...second.stats(), oldestAgeMs: 0 });
    assert.deepEqual(Buffer.from(await third.getBytes(large, NEVER)), Buffer.from(someBytes(LARGE)));
  });

  it('writes its format, and refuses a newer one', async () => {
    const folder = temporaryFolder();
    await open(folder);
    assert.deepEqual(JSON.parse(readFileSync(join(folder, 'format'), 'utf8')), { format: 'gantry-files', version: 1 });
    writeFileSync(join(folder, 'format'), '{"format":"gantry-files","version":2}');
    await assert.rejects(open(folder), (error) => isKind(error, 'precondition') && /newer/.test(error.message));
  });

  it('refuses what can never fit, before reading (R-CAS-13)', async () => {
    const store = await open(temporaryFolder(), { maxBytes: 500_000 });
    const bytes = someBytes(LARGE);
    let reads = 0;
    const counting = async function* (): ByteStream {
      reads++;
      yield bytes;
    };
    await assert.rejects(store.put(sha256(bytes), counting(), NEVER), (error) => isKind(error, 'too-large'));
    await assert.rejects(store.putBytes(sha256(bytes), bytes, NEVER), (error) => isKind(error, 'too-large'));
    assert.equal(reads, 0);
  });

  it('evicts the least recently used, never what was used within the retention time, and says what to do when full', async () => {
    const clock = new FakeClock();
    const store = await open(temporaryFolder(), { clock, maxBytes: 3 * 4096, minRetentionMs: 1000 });
    const [a, b, c] = [
      await put(store, someBytes(10, 1)),
      await put(store, someBytes(10, 2)),
      await put(store, someBytes(10, 3)),
    ];
    await assert.rejects(
      put(store, someBytes(10, 4)),
      (error) => isKind(error, 'quota-exceeded') && /--max-size/.test(error.message),
    );
    clock.advance(999);
    assert.equal(await missing(store, a), 0);
    clock.advance(1);
    await put(store, someBytes(10, 4));
    assert.deepEqual(await store.findMissing([a, b, c], NEVER), [b]);
    assert.equal(store.stats().evictions, 1);
  });

  it('finishes a read of a blob that is evicted meanwhile', async () => {
    const store = await open(temporaryFolder(), { maxBytes: 1_300_000, minRetentionMs: 0 });
    const digest = await put(store, someBytes(LARGE));
    const stream = await store.open(digest, WHOLE, NEVER);
    await put(store, someBytes(LARGE, 2));
    await put(store, someBytes(LARGE, 3));
    assert.equal(await missing(store, digest), 1);
    assert.deepEqual(sha256(await collect(stream, LARGE)), digest);
  });

  it('shares one reservation among uploads of one blob when there is no room for two (R-CAS-20)', async () => {
    const store = await open(temporaryFolder(), { maxBytes: 1_000_000 });
    const bytes = someBytes(LARGE);
    const puts = [1, 2, 3].map((n) => store.put(sha256(bytes), inPieces(bytes, n * 10_000), NEVER));
    await Promise.all(puts);
    assert.equal(await missing(store, sha256(bytes)), 0);
    assert.equal(store.stats().reservedBytes, 0);
  });

  it('lets a waiting upload go on when the one it waited for fails, and leave when its signal aborts', async () => {
    const store = await open(temporaryFolder(), { maxBytes: 1_000_000 });
    const bytes = someBytes(LARGE);
    const first = Promise.withResolvers<void>();
    const failing = async function* (): ByteStream {
      yield bytes.subarray(0, 10);
      await first.promise;
      throw new Error('gone');
    };
    const abort = new AbortController();
    const failed = store.put(sha256(bytes), failing(), NEVER);
    const waiting = store.put(sha256(bytes), inPieces(bytes, 50_000), NEVER);
    const leaving = store.put(sha256(bytes), inPieces(bytes, 50_000), abort.signal);
    abort.abort();
    await assert.rejects(leaving, (error) => isKind(error, 'cancelled'));
    first.resolve();
    await assert.rejects(failed, /gone/);
    await waiting;
    assert.equal(await missing(store, sha256(bytes)), 0);
  });

  it('keeps the floor of free space, evicting no more than is lacking', async () => {
    const files = new FaultyFileSystem();
    let freeBytes = 110_000;
    files.freeBytes = () => freeBytes;
    const clock = new FakeClock();
    const store = await open(temporaryFolder(), { files, clock, minFreeBytes: 90_000, minRetentionMs: 1000 });
    const first = await put(store, someBytes(8000, 1));
    const second = await put(store, someBytes(8000, 2));
    freeBytes = 95_000;
    await assert.rejects(
      put(store, someBytes(8000, 3)),
      (error) => isKind(error, 'quota-exceeded') && /free/.test(error.message),
    );
    clock.advance(1000);
    await put(store, someBytes(8000, 3));
    assert.deepEqual(await store.findMissing([first, second], NEVER), [first]);
  });

  it('refuses calls after close, and streams that go on or end after it; close waits until these have left', async () => {
    const folder = temporaryFolder();
    const store = await open(folder);
    const started = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const slow = async function* (bytes: Uint8Array, atByte: number): ByteStream {
      yield bytes.subarray(0, atByte);
      started.resolve();
      await gate.promise;
      yield bytes.subarray(atByte);
    };
    const large = someBytes(LARGE);
    const small = someBytes(1000);
    const order: string[] = [];
    const uploads = [
      store.put(sha256(large), slow(large, 400_000), NEVER),
      store.put(sha256(large), slow(large, LARGE - 1), NEVER),
      store.put(sha256(small), slow(small, 10), NEVER),
    ].map(async (upload) => {
      await assert.rejects(upload, (error) => isKind(error, 'unavailable'));
      order.push('refused');
    });
    await started.promise;
    const closing = store.close().then(() => order.push('closed'));
    await assert.rejects(store.putBytes(sha256(someBytes(1)), someBytes(1), NEVER), (error) =>
      isKind(error, 'unavailable'),
    );
    gate.resolve();
    await Promise.all([...uploads, closing]);
    assert.equal(order.filter((what) => what === 'refused').length, 3);
    assert.deepEqual([openTemporaryFiles(), readdirSync(join(folder, 'tmp'))], [0, []]);
    await assert.rejects(store.findMissing([], NEVER), (error) => isKind(error, 'unavailable'));
    const again = await open(folder);
    assert.equal(await missing(again, sha256(large), sha256(small)), 2);
  });

  it('closes after a blob that was complete is stored', async () => {
    const folder = temporaryFolder();
    const files = new HookedFileSystem();
    const store = await open(folder, { files, sync: 'file' });
    const isSyncing = Promise.withResolvers<void>();
    const mayGoOn = Promise.withResolvers<void>();
    files.before = (call) => {
      if (call !== 'fdatasync') return undefined;
      isSyncing.resolve();
      return mayGoOn.promise;
    };
    const order: string[] = [];
    const uploading = put(store, someBytes(10)).then(() => order.push('stored'));
    await isSyncing.promise;
    const closing = store.close().then(() => order.push('closed'));
    mayGoOn.resolve();
    await Promise.all([uploading, closing]);
    assert.deepEqual(order, ['stored', 'closed']);
    assert.equal(await missing(await open(folder), sha256(someBytes(10))), 0);
  });
});

describe('FileBlobStore with damage on disk (R-BS-19)', () => {
  const damages: readonly (readonly [string, (path: string) => void])[] = [
    ['truncated', (path) => truncateSync(path, 5)],
    ['emptied', (path) => truncateSync(path, 0)],
    ['changed', (path) => writeFileSync(path, Buffer.alloc(readFileSync(path).length, 1))],
    ['removed', (path) => unlinkSync(path)],
  ];
  for (const [what, damage] of damages) {
    it(`never gives out a small blob that was ${what}: it is absent, and can be put again`, async () => {
      const folder = temporaryFolder();
      const store = await open(folder);
      const bytes = someBytes(1000);
      for (const read of ['open', 'getBytes'] as const) {
        const digest = await put(store, bytes);
        damage(pathOf(folder, digest));
        const reading = read === 'open' ? store.open(digest, { offset: 3 }, NEVER) : store.getBytes(digest, NEVER);
        await assert.rejects(reading, (error) => isKind(error, 'blob-not-found'));
        assert.equal(await missing(store, digest), 1);
        assert.equal(store.stats().bytes, 0);
      }
    });
  }

  for (const [what, damage] of damages.slice(0, 3)) {
    it(`breaks off the stream of a large blob that was ${what} before its last chunk, with data-loss`, async () => {
      const folder = temporaryFolder();
      const store = await open(folder);
      const digest = await put(store, someBytes(LARGE));
      damage(pathOf(folder, digest));
      let gotBytes = 0;
      await assert.rejects(
        async () => {
          for await (const chunk of await store.open(digest, WHOLE, NEVER)) gotBytes += chunk.length;
        },
        (error) => isKind(error, 'data-loss'),
      );
      assert.ok(gotBytes < LARGE);
      assert.equal(await missing(store, digest), 1);
      assert.equal(store.stats().quarantined, 1);
      assert.equal(existsSync(join(folder, 'quarantine', `${digest.hash}-${LARGE}-sha256`)), true);
      assert.equal(await missing(store, await put(store, someBytes(LARGE))), 0);
      assert.equal(openTemporaryFiles(), 0);
    });
  }

  it('puts files without the size their name says, and foreign files, aside at an unclean start', async () => {
    const folder = temporaryFolder();
    const store = await open(folder);
    const [cut, grown, whole] = [
      await put(store, someBytes(10, 1)),
      await put(store, someBytes(10, 2)),
      await put(store, someBytes(10, 3)),
    ];
    truncateSync(pathOf(folder, cut), 4);
    appendFileSync(pathOf(folder, grown), 'x');
    writeFileSync(join(pathOf(folder, whole), '..', '00-note'), 'mine');
    const again = await open(folder);
    assert.deepEqual(await again.findMissing([cut, grown, whole], NEVER), [cut, grown]);
    assert.equal(again.stats().quarantined, 3);
  });

  it('keeps the blob that was uploaded again when a late reader of the damaged bytes notices', async () => {
    const folder = temporaryFolder();
    const store = await open(folder);
    const bytes = someBytes(LARGE);
    const digest = await put(store, bytes);
    writeFileSync(pathOf(folder, digest), Buffer.alloc(LARGE, 1));
    const [early, late] = [await store.open(digest, WHOLE, NEVER), await store.open(digest, WHOLE, NEVER)];
    await assert.rejects(collect(early, LARGE), (error) => isKind(error, 'data-loss'));
    await put(store, bytes);
    await assert.rejects(collect(late, LARGE), (error) => isKind(error, 'data-loss'));
    assert.equal(await missing(store, digest), 0);
    assert.deepEqual(Buffer.from(await store.getBytes(digest, NEVER)), Buffer.from(bytes));
    assert.deepEqual([store.stats().quarantined, openTemporaryFiles()], [1, 0]);
  });

  it('keeps the blob that was uploaded again while the damaged one was inspected', async () => {
    const folder = temporaryFolder();
    const files = new HookedFileSystem();
    const store = await open(folder, { files });
    const bytes = someBytes(LARGE);
    const digest = await put(store, bytes);
    writeFileSync(pathOf(folder, digest), Buffer.alloc(LARGE, 1));
    const isReading = Promise.withResolvers<void>();
    const mayGoOn = Promise.withResolvers<void>();
    files.before = (call) => {
      if (call !== 'read') return undefined;
      isReading.resolve();
      return mayGoOn.promise;
    };
    const inspection = store.damageOf(digest, NEVER);
    await isReading.promise;
    files.mend();
    await assert.rejects(store.getBytes(digest, NEVER), (error) => isKind(error, 'data-loss'));
    await put(store, bytes);
    mayGoOn.resolve();
    assert.match((await inspection) ?? '', /damaged/);
    assert.equal(await store.damageOf(digest, NEVER), undefined);
    assert.deepEqual([await missing(store, digest), store.stats().quarantined], [0, 1]);
  });

  it('reports a file it may not read as unavailable, and keeps it', async () => {
    const files = new FaultyFileSystem();
    const store = await open(temporaryFolder(), { files });
    const digest = await put(store, someBytes(10));
    for (const code of ['EACCES', 'EMFILE']) {
      files.plan({ atCall: 1, lasts: 'once', code });
      await assert.rejects(store.getBytes(digest, NEVER), (error) => isKind(error, 'unavailable'));
    }
    assert.equal((await store.getBytes(digest, NEVER)).length, 10);
  });

  it('treats a device that cannot read a small blob as having lost it', async () => {
    const files = new FaultyFileSystem();
    const store = await open(temporaryFolder(), { files });
    const digest = await put(store, someBytes(10));
    files.plan({ atCall: 2, lasts: 'once', code: 'EIO' });
    await assert.rejects(store.getBytes(digest, NEVER), (error) => isKind(error, 'blob-not-found'));
    assert.equal(await missing(store, digest), 1);
  });
});

describe('FileBlobStore on a failing disk', () => {
  const uploads: readonly (readonly [string, (store: FileBlobStore, bytes: Uint8Array) => Promise<void>, number])[] = [
    ['a small put', (store, bytes) => store.putBytes(sha256(bytes), bytes, NEVER), 1000],
    ['a large put', (store, bytes) => store.putBytes(sha256(bytes), bytes, NEVER), 200_000],
    ['an upload', (store, bytes) => store.put(sha256(bytes), inPieces(bytes, 300_000), NEVER), 1_200_000],
  ];
  for (const [what, upload, sizeBytes] of uploads) {
    for (const lasts of ['once', 'always'] as const) {
      for (const code of ['ENOSPC', 'EIO']) {
        it(`survives ${code} ${lasts} at every call of ${what}`, async () => {
          const folder = temporaryFolder();
          const files = new FaultyFileSystem();
          const options = { files, sync: 'file', minRetentionMs: 0, minFreeBytes: 1, maxBytes: 1_300_000 } as const;
          const store = await open(folder, options);
          const kept = await put(store, someBytes(100));
          let atCall = 0;
          for (let hasFailed = true; hasFailed; ) {
            atCall++;
            const bytes = someBytes(sizeBytes, atCall);
            files.plan({ atCall, lasts, code });
            const result = await Promise.allSettled([upload(store, bytes)]);
            hasFailed = files.calls >= atCall;
            files.plan(undefined);
            await checkAfterFault(store, {
              bytes,
              isStored: result[0].status === 'fulfilled',
              reason: result[0],
              code,
              lasts,
            });
          }
          assert.ok(atCall > 5);
          await checkRestart(folder, store, kept);
        });
      }
    }
  }

  interface Outcome {
    readonly bytes: Uint8Array;
    readonly isStored: boolean;
    readonly reason: PromiseSettledResult<void>;
    readonly code: string;
    readonly lasts: 'once' | 'always';
  }

  async function checkAfterFault(store: FileBlobStore, outcome: Outcome): Promise<void> {
    const { reason, code, bytes } = outcome;
    if (reason.status === 'rejected') {
      assert.ok(reason.reason instanceof ReapiError);
      assert.ok(isKind(reason.reason, code === 'ENOSPC' ? 'quota-exceeded' : 'unavailable'), reason.reason.message);
    }
    // Only a disk that cannot even remove what it failed to make durable may leave a refused blob behind.
    const isAbsent = (await missing(store, sha256(bytes))) === 1;
    if (outcome.isStored || outcome.lasts === 'once') assert.equal(isAbsent, !outcome.isStored);
    assert.equal(openTemporaryFiles(), 0);
    assert.equal(store.stats().reservedBytes, 0);
    assert.ok(store.stats().bytes <= store.stats().maxBytes);
  }

  async function checkRestart(folder: string, store: FileBlobStore, kept: Digest): Promise<void> {
    const before = store.stats();
    const wasKept = (await missing(store, kept)) === 0;
    const again = await open(folder);
    assert.deepEqual([again.stats().files, again.stats().bytes], [before.files, before.bytes]);
    assert.equal((await missing(again, kept)) === 0, wasKept);
    assert.deepEqual(readdirSync(join(folder, 'tmp')), []);
  }
});

describe('law: FileBlobStore is an LRU bounded by bytes', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant('put' as const), blob: fc.nat(9) }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('touch' as const), blob: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('restart' as const), blob: fc.constant(0) }) },
  );

  it('law: agrees with a naive model over any puts, touches and clean restarts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const folder = temporaryFolder();
        const clock = new FakeClock();
        const options = { clock, maxBytes: 4000, blockBytes: 1, minRetentionMs: 0 };
        let store = await open(folder, options);
        let model: readonly number[] = [];
        for (const { type, blob } of steps) {
          clock.advance(1);
          if (type === 'restart') {
            await store.close();
            store = await open(folder, options);
          } else if (type === 'put' || model.includes(blob)) {
            model = [...model.filter((other) => other !== blob), blob];
            if (type === 'put') await put(store, someBytes(sizeOf(blob), blob));
            else await missing(store, sha256(someBytes(sizeOf(blob), blob)));
            while (total(model) > 4000) model = model.slice(1);
          }
          assert.equal(store.stats().bytes, total(model));
          assert.ok(store.stats().bytes <= 4000);
        }
        const present = [...model].sort();
        assert.deepEqual(await presentBlobs(store), present);
      }),
      { numRuns: 40 },
    );
  });

  function sizeOf(blob: number): number {
    return 400 + 150 * blob;
  }

  function total(model: readonly number[]): number {
    return model.reduce((sum, blob) => sum + sizeOf(blob), 0);
  }

  async function presentBlobs(store: FileBlobStore): Promise<number[]> {
    const blobs = Array.from({ length: 10 }, (_, blob) => blob);
    const absent = await store.findMissing(
      blobs.map((blob) => sha256(someBytes(sizeOf(blob), blob))),
      NEVER,
    );
    const hashes = new Set(absent.map((digest) => digest.hash));
    return blobs.filter((blob) => !hashes.has(sha256(someBytes(sizeOf(blob), blob)).hash));
  }
});
