import assert from 'node:assert/strict';
import { closeSync, existsSync, readFileSync } from 'node:fs';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { isKind, ReapiError } from '../errors.ts';
import { BoundedFolder, type BoundedFolderOptions } from './bounded-folder.ts';
import { NO_LOG } from './log.ts';
import type { RoomSource } from './room-source.ts';

const NEVER = new AbortController().signal;

/** A limit shared with nobody: evicts from the folder, and refuses what does not fit then. */
class TestRoom implements RoomSource {
  folder: BoundedFolder | undefined;
  takenBytes = 0;
  mostBytes = 0;
  readonly asked: number[] = [];
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  async make(diskBytes: number): Promise<void> {
    this.asked.push(diskBytes);
    while (this.takenBytes + diskBytes > this.maxBytes) {
      if (this.folder?.evictOldest() === undefined)
        throw new ReapiError('quota-exceeded', 'no room', { retryAfterMs: 1 });
    }
  }

  changed(diskBytes: number): void {
    this.takenBytes = diskBytes;
    this.mostBytes = Math.max(this.mostBytes, diskBytes);
  }
}

async function open(room: RoomSource, options: Partial<BoundedFolderOptions> = {}): Promise<BoundedFolder> {
  const folder = await BoundedFolder.open(temporaryFolder(), {
    clock: new FakeClock(),
    log: NO_LOG,
    title: 'test store',
    fullAdvice: 'use a larger one',
    maxBytes: 1000,
    maxFiles: 100,
    minRetentionMs: 0,
    blockBytes: 1,
    sync: 'none',
    room,
    ...options,
  });
  if (room instanceof TestRoom) room.folder = folder;
  return folder;
}

async function write(folder: BoundedFolder, name: string, sizeBytes: number): Promise<void> {
  const pending = await folder.begin(name, sizeBytes, NEVER);
  pending.write(Buffer.alloc(sizeBytes, name));
  await pending.publish();
}

/** As a reader does that finds a file damaged. */
function quarantine(folder: BoundedFolder, name: string): void {
  const file = folder.open(name, 'inspection');
  assert.ok(file !== undefined);
  closeSync(file.fd);
  folder.quarantine(name, file.generation, 'a test');
}

describe('BoundedFolder under a shared limit', () => {
  it('asks for room in whole blocks and evicts nothing by itself, for bytes or for free space', async () => {
    const room = { make: () => Promise.resolve(), changed: (): void => undefined };
    const files = new FaultyFileSystem();
    files.freeBytes = () => 0;
    const folder = await open(room, { files, maxBytes: 100, minFreeBytes: 1e9 });
    for (const name of ['aa', 'bb', 'cc']) await write(folder, name, 90);
    assert.deepEqual([folder.stats().files, folder.stats().evictions, folder.diskBytes], [3, 0, 270]);

    const asking = new TestRoom(100_000);
    await write(await open(asking, { blockBytes: 100 }), 'aa', 101);
    assert.deepEqual(asking.asked, [200]);
  });

  it('tells of every change: reservation, publication, giving up, eviction, quarantine', async () => {
    const told: number[] = [];
    const folder = await open(
      { make: () => Promise.resolve(), changed: (bytes) => told.push(bytes) },
      { maxBytes: 10_000 },
    );
    assert.deepEqual(told.splice(0), [0]);
    await write(folder, 'aa', 100);
    assert.deepEqual(told.splice(0), [100, 100]);
    const pending = await folder.begin('bb', 50, NEVER);
    pending.abandon();
    assert.deepEqual(told.splice(0), [150, 100]);
    await write(folder, 'bb', 20);
    quarantine(folder, 'bb');
    assert.deepEqual(told.splice(0), [120, 120, 120]);
    await write(folder, 'cc', 5);
    assert.deepEqual(folder.evictOldest(), { name: 'aa', sizeBytes: 100, touchedMs: folder.touchedMs('cc') });
    folder.evictOldest();
    assert.deepEqual(told.splice(0), [125, 125, 25, 20]);
    assert.equal(folder.diskBytes, 20);
  });

  it('stays within the limit when many ask at once', async () => {
    const room = new TestRoom(1000);
    const folder = await open(room);
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => write(folder, `a${n}`, 300)));
    assert.ok(results.some((result) => result.status === 'fulfilled'));
    assert.ok(room.mostBytes <= 1000, `${room.mostBytes}`);
    assert.equal(room.takenBytes, folder.diskBytes);
  });

  it('passes the refusal of the source on, and goes on afterwards', async () => {
    const room = new TestRoom(1000);
    const clock = new FakeClock();
    const folder = await open(room, { clock, minRetentionMs: 100 });
    await write(folder, 'aa', 700);
    await assert.rejects(
      folder.begin('bb', 400, NEVER),
      (error) => isKind(error, 'quota-exceeded') && error.facts.retryAfterMs === 1,
    );
    assert.equal(folder.diskBytes, 700);
    clock.advance(100);
    await write(folder, 'bb', 400);
    assert.deepEqual([folder.has('aa'), folder.diskBytes], [false, 400]);
  });

  it('takes nothing when it is closed, or the caller leaves, while room is being made', async () => {
    const made = Promise.withResolvers<void>();
    const folder = await open({ make: () => made.promise, changed: (): void => undefined });
    const waiting = folder.begin('aa', 10, NEVER);
    const abort = new AbortController();
    const leaving = folder.begin('bb', 10, abort.signal);
    abort.abort();
    await assert.rejects(leaving, (error) => isKind(error, 'cancelled'));
    await folder.close();
    made.resolve();
    await assert.rejects(waiting, (error) => isKind(error, 'unavailable'));
    assert.equal(folder.diskBytes, 0);
  });

  it('asks for no more room, and creates nothing, for writes that were still waiting when it was closed', async () => {
    const made = Promise.withResolvers<void>();
    const isAsked = Promise.withResolvers<void>();
    const asked: number[] = [];
    const make = (diskBytes: number): Promise<void> => {
      asked.push(diskBytes);
      isAsked.resolve();
      return made.promise;
    };
    const told: number[] = [];
    const files = new FaultyFileSystem();
    const folder = await open({ make, changed: (bytes) => told.push(bytes) }, { files });
    const waiting = Promise.allSettled([1, 2, 3].map((sizeBytes) => folder.begin(`a${sizeBytes}`, sizeBytes, NEVER)));
    await isAsked.promise;
    await folder.close();
    files.plan(undefined);
    made.resolve();
    for (const result of await waiting) {
      assert.ok(result.status === 'rejected' && isKind(result.reason, 'unavailable'));
    }
    await assert.rejects(folder.begin('bb', 4, NEVER), (error) => isKind(error, 'unavailable'));
    assert.deepEqual([asked, told, files.calls, folder.diskBytes], [[1], [0], 0, 0]);
  });

  it('keeps all files at start although they take more than the limit, for the source to ask back', async () => {
    const room = new TestRoom(1000);
    const first = await open(room);
    await write(first, 'aa', 600);
    await write(first, 'bb', 300);
    await first.close();
    const options = { clock: new FakeClock(), log: NO_LOG, title: 't', fullAdvice: 'a', sync: 'none', room } as const;
    room.changed(0);
    const second = await BoundedFolder.open(first.path, {
      ...options,
      maxBytes: 100,
      blockBytes: 1,
      minRetentionMs: 0,
    });
    assert.equal(second.diskBytes, 900);
    assert.equal(room.takenBytes, 900);
  });

  it('evicts for the number of files, as it does alone', async () => {
    const folder = await open(new TestRoom(1000), { maxFiles: 2 });
    for (const name of ['aa', 'bb', 'cc']) await write(folder, name, 1);
    assert.deepEqual([folder.has('aa'), folder.stats().files], [false, 2]);
  });

  it('evicts nothing that is being published or was used within the retention time', async () => {
    const clock = new FakeClock();
    const folder = await open(new TestRoom(1000), { clock, minRetentionMs: 100 });
    assert.equal(folder.evictOldest(), undefined);
    await write(folder, 'aa', 10);
    assert.equal(folder.evictOldest(), undefined);
    clock.advance(100);
    const again = await folder.begin('aa', 10, NEVER);
    again.write(Buffer.alloc(10, 'x'));
    const publishing = again.publish();
    assert.equal(existsSync(folder.pathOf('aa')), true);
    await publishing;
    assert.equal(folder.evictOldest(), undefined);
    assert.equal(readFileSync(folder.pathOf('aa'), 'utf8'), 'x'.repeat(10));
  });

  it('restores times of use that others remembered, which never shortens a promise', async () => {
    const clock = new FakeClock();
    const folder = await open(new TestRoom(1000), { clock, minRetentionMs: 10_000 });
    for (const name of ['aa', 'bb', 'cc']) await write(folder, name, 10);
    const startMs = clock.monotonicMs();
    clock.advance(20_000);
    assert.equal(folder.bytesHeld(clock.monotonicMs()), 0);
    assert.equal(folder.touchAt('aa', startMs + 15_000), true);
    assert.equal(folder.touchAt('bb', startMs + 1e9), true);
    assert.equal(folder.touchAt('cc', startMs - 1), true);
    assert.equal(folder.touchAt('dd', startMs), false);
    assert.deepEqual(
      ['aa', 'bb', 'cc'].map((name) => folder.touchedMs(name)),
      [startMs + 15_000, startMs + 20_000, startMs],
    );
    assert.equal(folder.bytesHeld(clock.monotonicMs()), 20);
    assert.equal(folder.oldestTouchMs(), startMs);
    assert.deepEqual(
      [...folder.inOrder()].map((file) => file.name),
      ['cc', 'aa', 'bb'],
    );
    assert.equal(folder.evictOldest()?.name, 'cc');
    assert.equal(folder.evictOldest(), undefined);
    assert.equal(folder.evictOldest({ sparing: 'none' })?.name, 'aa');
  });

  it('keeps damaged files from filling a small store', async () => {
    const folder = await open(new TestRoom(1600), { maxBytes: 1600 });
    for (let n = 0; n < 10; n++) {
      await write(folder, `aa${n}`, 60);
      quarantine(folder, `aa${n}`);
    }
    assert.equal(folder.diskBytes, 60);
  });

  it('counts small files', async () => {
    const folder = await open(new TestRoom(1000), { smallBytes: 10 });
    for (const size of [9, 10, 11]) await write(folder, `a${size}`, size);
    assert.equal(folder.smallFiles, 2);
    assert.equal(folder.evictOldest()?.name, 'a9');
    await write(folder, 'a10', 12);
    assert.equal(folder.smallFiles, 0);
  });
});
