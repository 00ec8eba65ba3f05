import assert from 'node:assert/strict';
import { closeSync, existsSync, linkSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { HookedFileSystem } from '../../test/support/hooked-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { BugError, type ErrorKind, isKind } from '../errors.ts';
import { BoundedFolder, type BoundedFolderOptions } from './bounded-folder.ts';
import { NO_LOG } from './log.ts';

const NEVER = new AbortController().signal;

function open(path: string, options: Partial<BoundedFolderOptions> = {}): Promise<BoundedFolder> {
  return BoundedFolder.open(path, {
    clock: new FakeClock(),
    log: NO_LOG,
    title: 'test store',
    fullAdvice: 'use a larger one',
    maxBytes: 1000,
    maxFiles: 100,
    minRetentionMs: 0,
    blockBytes: 1,
    sync: 'none',
    ...options,
  });
}

async function write(folder: BoundedFolder, name: string, sizeBytes: number): Promise<void> {
  const pending = await folder.begin(name, sizeBytes, NEVER);
  pending.write(Buffer.alloc(sizeBytes, name));
  await pending.publish();
}

function ofKind(kind: ErrorKind): (error: unknown) => boolean {
  return (error) => isKind(error, kind);
}

/** As a reader does that finds a file damaged. */
function quarantine(folder: BoundedFolder, name: string): void {
  const file = folder.open(name, 'inspection');
  assert.ok(file !== undefined);
  closeSync(file.fd);
  folder.quarantine(name, file.generation, 'a test');
}

describe('BoundedFolder', () => {
  it('shows a file when it is published and not before', async () => {
    const folder = await open(temporaryFolder());
    const pending = await folder.begin('aa-file', 3, NEVER);
    pending.write(Buffer.from('ab'));
    await pending.writeAsync([Buffer.from('c')]);
    assert.equal(folder.has('aa-file'), false);
    assert.equal(existsSync(folder.pathOf('aa-file')), false);
    await pending.publish();
    assert.equal(folder.has('aa-file'), true);
    assert.equal(readFileSync(folder.pathOf('aa-file'), 'utf8'), 'abc');
    assert.deepEqual(readdirSync(join(folder.path, 'tmp')), []);
  });

  it('counts a file from the moment it is announced, so that concurrent writes stay within the limit', async () => {
    const folder = await open(temporaryFolder());
    const first = await folder.begin('aa', 600, NEVER);
    await assert.rejects(folder.begin('bb', 401, NEVER), (error) => isKind(error, 'quota-exceeded'));
    first.abandon();
    assert.equal(folder.stats().reservedBytes, 0);
    await write(folder, 'bb', 401);
    assert.deepEqual(readdirSync(join(folder.path, 'tmp')), []);
  });

  it('rounds sizes up to blocks', async () => {
    const folder = await open(temporaryFolder(), { blockBytes: 100 });
    await write(folder, 'aa', 1);
    await write(folder, 'bb', 100);
    await write(folder, 'cc', 101);
    assert.equal(folder.stats().bytes, 400);
    await assert.rejects(folder.begin('dd', 1001, NEVER), (error) => isKind(error, 'too-large'));
  });

  it('gives up a pending file once, whatever is called afterwards', async () => {
    const folder = await open(temporaryFolder());
    const pending = await folder.begin('aa', 3, NEVER);
    pending.write(Buffer.from('abc'));
    await pending.publish();
    pending.abandon();
    assert.equal(folder.has('aa'), true);
    assert.throws(() => pending.write(Buffer.from('d')), BugError);
  });

  it('never publishes a file of another size than was announced', async () => {
    const folder = await open(temporaryFolder());
    const pending = await folder.begin('aa', 3, NEVER);
    pending.write(Buffer.from('ab'));
    await assert.rejects(pending.publish(), BugError);
    assert.equal(folder.has('aa'), false);
    assert.equal(folder.stats().reservedBytes, 0);
    assert.equal(openTemporaryFiles(), 0);
  });

  it('leaves hard links good when it evicts the file', async () => {
    const folder = await open(temporaryFolder());
    const link = join(temporaryFolder(), 'link');
    await write(folder, 'aa', 600);
    linkSync(folder.pathOf('aa'), link);
    await write(folder, 'bb', 600);
    assert.equal(folder.has('aa'), false);
    assert.equal(readFileSync(link).length, 600);
  });

  it('keeps the order of use over a clean restart, and takes it from modification times after a crash', async () => {
    const path = temporaryFolder();
    const clock = new FakeClock(Date.parse('2020-01-01'));
    const first = await open(path, { clock });
    for (const name of ['aa', 'bb', 'cc']) await write(first, name, 300);
    clock.advance(5000);
    first.touch('aa');
    await first.close();
    const second = await open(path, { clock });
    assert.equal(second.stats().oldestAgeMs, 5000);
    await write(second, 'dd', 300);
    assert.deepEqual([second.has('aa'), second.has('bb')], [true, false]);
    assert.equal(existsSync(join(path, 'order')), false);
    const afterCrash = await open(path, { clock });
    assert.deepEqual(
      [...['aa', 'cc', 'dd']].map((name) => afterCrash.has(name)),
      [true, true, true],
    );
    assert.equal(afterCrash.stats().bytes, 900);
  });

  it('believes nothing of a damaged snapshot', async () => {
    const path = temporaryFolder();
    const first = await open(path);
    await write(first, 'aa', 300);
    await first.close();
    const text = readFileSync(join(path, 'order'), 'utf8');
    writeFileSync(join(path, 'order'), text.replace('300', '301'));
    const second = await open(path);
    assert.equal(second.stats().bytes, 300);
  });

  it('shrinks to limits that were lowered meanwhile, the least recently used first', async () => {
    const path = temporaryFolder();
    const clock = new FakeClock();
    const first = await open(path, { clock });
    for (const name of ['aa', 'bb', 'cc', 'dd']) {
      clock.advance(1000);
      await write(first, name, 200);
    }
    await first.close();
    const fewer = await open(path, { clock, maxFiles: 3, minRetentionMs: 1e9 });
    assert.deepEqual([fewer.has('aa'), fewer.stats().files], [false, 3]);
    await fewer.close();
    const smaller = await open(path, { clock, maxBytes: 250, minRetentionMs: 1e9 });
    assert.deepEqual([smaller.has('dd'), smaller.stats().bytes], [true, 200]);
    assert.equal(existsSync(smaller.pathOf('cc')), false);
  });

  describe('with files that must not be evicted', () => {
    const NAMES = ['aa', 'bb', 'cc', 'dd'];
    const present = (folder: BoundedFolder): string[] => NAMES.filter((name) => folder.has(name));
    let held: string[];
    let path: string;
    const openGuarded = (options: Partial<BoundedFolderOptions>): Promise<BoundedFolder> =>
      open(path, { mayEvict: (name) => !held.includes(name), ...options });

    beforeEach(() => {
      held = ['aa', 'cc'];
      path = temporaryFolder();
    });

    for (const [what, limits, lowered] of [
      ['the number of files', { maxFiles: 3 }, { maxFiles: 1 }],
      ['bytes', { maxBytes: 30 }, { maxBytes: 10 }],
    ] as const) {
      it(`evicts others for ${what}, refuses files when there are none, and keeps them when the limit was lowered`, async () => {
        const folder = await openGuarded(limits);
        for (const name of NAMES) await write(folder, name, 10);
        assert.deepEqual(present(folder), ['aa', 'cc', 'dd']);
        held = ['aa', 'cc', 'dd'];
        const isPinned = (error: unknown): boolean =>
          ofKind('quota-exceeded')(error) && /is pinned/.test(String(error));
        await assert.rejects(write(folder, 'bb', 10), isPinned);
        await folder.close();
        held = ['aa', 'dd'];
        const smaller = await openGuarded(lowered);
        assert.deepEqual(present(smaller), ['aa', 'dd']);
        assert.equal(existsSync(smaller.pathOf('aa')), true);
        await assert.rejects(write(smaller, 'bb', 10), isPinned);
        held = [];
        await write(smaller, 'bb', 10);
        assert.deepEqual([smaller.has('aa'), smaller.has('bb')], [false, true]);
      });
    }

    it('passes them over for the floor of free space and when it is asked to evict', async () => {
      const files = new FaultyFileSystem();
      const clock = new FakeClock();
      const folder = await openGuarded({ clock, files, minFreeBytes: 1 });
      for (const name of NAMES) await write(folder, name, 10);
      clock.advance(60_000);
      files.freeBytes = () => 0;
      await assert.rejects(write(folder, 'ee', 25), ofKind('quota-exceeded'));
      assert.deepEqual(present(folder), ['aa', 'cc']);
      assert.equal(folder.evictOldest({ sparing: 'none' }), undefined);
      assert.equal(folder.passedOver, 2);
      held = ['aa'];
      assert.equal(folder.evictOldest()?.name, 'cc');
    });
  });

  it('bounds its quarantine', async () => {
    const folder = await open(temporaryFolder(), { maxBytes: 100_000 });
    for (let n = 0; n < 40; n++) {
      await write(folder, `aa${n}`, 10);
      quarantine(folder, `aa${n}`);
    }
    assert.equal(folder.stats().quarantined, 40);
    assert.equal(folder.stats().files, 0);
    const kept = readdirSync(join(folder.path, 'quarantine'));
    assert.equal(kept.length, 32);
    assert.equal(kept.includes('aa39'), true);
    assert.equal(kept.includes('aa0'), false);
  });

  it('does not serve a damaged file that cannot even be moved', async () => {
    const files = new FaultyFileSystem();
    const folder = await open(temporaryFolder(), { files });
    await write(folder, 'aa', 10);
    const file = folder.open('aa');
    assert.ok(file !== undefined);
    closeSync(file.fd);
    files.plan({ atCall: 1, lasts: 'always', code: 'EIO' });
    folder.quarantine('aa', file.generation, 'a test');
    assert.equal(folder.has('aa'), false);
  });

  it('puts aside the file that was found damaged, never one that has come in its place', async () => {
    const folder = await open(temporaryFolder(), { maxBytes: 100_000 });
    await write(folder, 'aa', 10);
    const early = folder.open('aa');
    const late = folder.open('aa');
    assert.ok(early !== undefined && late !== undefined);
    for (const { fd } of [early, late]) closeSync(fd);
    folder.quarantine('aa', early.generation, 'a test');
    assert.equal(folder.has('aa'), false);
    folder.quarantine('aa', late.generation, 'a test');
    await write(folder, 'aa', 10);
    folder.quarantine('aa', late.generation, 'a test');
    assert.deepEqual([folder.has('aa'), existsSync(folder.pathOf('aa')), folder.stats().quarantined], [true, true, 1]);
    quarantine(folder, 'aa');
    assert.deepEqual(
      [folder.has('aa'), existsSync(folder.pathOf('aa')), folder.stats().quarantined],
      [false, false, 2],
    );
  });

  it('puts nothing aside while another file is coming under that name', async () => {
    const files = new HookedFileSystem();
    const folder = await open(temporaryFolder(), { files, sync: 'file' });
    await write(folder, 'aa', 10);
    const reader = folder.open('aa');
    assert.ok(reader !== undefined);
    closeSync(reader.fd);
    const isSyncingName = Promise.withResolvers<void>();
    const mayGoOn = Promise.withResolvers<void>();
    files.before = (call) => {
      if (call !== 'fsync') return undefined;
      isSyncingName.resolve();
      return mayGoOn.promise;
    };
    const writing = write(folder, 'aa', 20);
    await isSyncingName.promise;
    folder.quarantine('aa', reader.generation, 'a test');
    mayGoOn.resolve();
    await writing;
    assert.equal(folder.has('aa'), true);
    assert.equal(readFileSync(folder.pathOf('aa')).length, 20);
  });

  it('leaves a damaged file to the next owner once it is closed', async () => {
    const folder = await open(temporaryFolder());
    await write(folder, 'aa', 10);
    const reader = folder.open('aa');
    assert.ok(reader !== undefined);
    closeSync(reader.fd);
    await folder.close();
    folder.quarantine('aa', reader.generation, 'a test');
    assert.equal(existsSync(folder.pathOf('aa')), true);
  });

  it('refuses what is incomplete when it is closed, and waits for what is being published', async () => {
    const path = temporaryFolder();
    const files = new HookedFileSystem();
    const folder = await open(path, { files, sync: 'file' });
    const isSyncing = Promise.withResolvers<void>();
    const mayGoOn = Promise.withResolvers<void>();
    files.before = (call) => {
      if (call !== 'fdatasync') return undefined;
      isSyncing.resolve();
      return mayGoOn.promise;
    };
    const incomplete = await folder.begin('aa', 2, NEVER);
    incomplete.write(Buffer.from('a'));
    const complete = await folder.begin('bb', 1, NEVER);
    complete.write(Buffer.from('b'));
    const publishing = complete.publish();
    await isSyncing.promise;
    const order: string[] = [];
    const closing = [folder.close(), folder.close()].map((closed) => closed.then(() => order.push('closed')));
    assert.throws(() => incomplete.write(Buffer.from('a')), ofKind('unavailable'));
    await assert.rejects(incomplete.writeAsync([Buffer.from('a')]), ofKind('unavailable'));
    await assert.rejects(incomplete.publish(), ofKind('unavailable'));
    mayGoOn.resolve();
    await publishing.then(() => order.push('published'));
    await Promise.all(closing);
    assert.deepEqual(order, ['published', 'closed', 'closed']);
    assert.deepEqual([folder.has('aa'), folder.has('bb')], [false, true]);
    assert.deepEqual(readdirSync(join(path, 'tmp')), []);
    const again = await open(path);
    assert.deepEqual([again.has('aa'), again.has('bb')], [false, true]);
  });

  it('evicts the next file when the oldest cannot be removed, and tries that again after a minute', async () => {
    const files = new HookedFileSystem();
    const clock = new FakeClock();
    const folder = await open(temporaryFolder(), { files, clock });
    for (const name of ['aa', 'bb', 'cc']) await write(folder, name, 300);
    files.failOn('EPERM', (call, path) => call === 'unlink' && path.endsWith('aa'));
    await write(folder, 'dd', 300);
    assert.deepEqual(
      ['aa', 'bb', 'cc', 'dd'].map((name) => folder.has(name)),
      [true, false, true, true],
    );
    assert.equal(folder.stats().bytes, 900);
    files.mend();
    clock.advance(59_999);
    assert.equal(folder.evictOldest()?.name, 'cc');
    clock.advance(1);
    assert.equal(folder.evictOldest()?.name, 'aa');
    assert.equal(folder.stats().bytes, 300);
  });

  it('leaves time and order of a file as they are when it is used again within the interval of touching', async () => {
    const clock = new FakeClock();
    const folder = await open(temporaryFolder(), { clock, touchIntervalMs: 100, minRetentionMs: 1000 });
    const startMs = clock.monotonicMs();
    await write(folder, 'aa', 10);
    await write(folder, 'bb', 10);
    clock.advance(99);
    assert.equal(folder.touch('aa'), true);
    closeSync(folder.open('aa')?.fd ?? -1);
    assert.deepEqual([folder.touchedMs('aa'), [...folder.inOrder()][0]?.name], [startMs, 'aa']);
    clock.advance(1);
    closeSync(folder.open('aa')?.fd ?? -1);
    assert.deepEqual([folder.touchedMs('aa'), [...folder.inOrder()][0]?.name], [startMs + 100, 'bb']);
    assert.equal(folder.touch('cc'), false);
  });

  it('keeps a file, and its account, when the disk refuses to remove it', async () => {
    const files = new FaultyFileSystem();
    const clock = new FakeClock();
    const folder = await open(temporaryFolder(), { files, clock });
    await write(folder, 'aa', 600);
    files.plan({ atCall: 1, lasts: 'once', code: 'EIO' });
    await assert.rejects(folder.begin('bb', 600, NEVER), (error) => isKind(error, 'unavailable'));
    assert.deepEqual([folder.stats().bytes, folder.stats().reservedBytes], [600, 0]);
    await assert.rejects(folder.begin('bb', 600, NEVER), (error) => isKind(error, 'quota-exceeded'));
    clock.advance(60_000);
    await write(folder, 'bb', 600);
    assert.equal(folder.evictOldest()?.name, 'bb');
    assert.equal(folder.evictOldest(), undefined);
    assert.equal(folder.stats().bytes, 0);
  });

  it('closes although the order of use cannot be written', async () => {
    const path = temporaryFolder();
    const files = new FaultyFileSystem();
    const folder = await open(path, { files });
    await write(folder, 'aa', 10);
    files.plan({ atCall: 1, lasts: 'always', code: 'ENOSPC' });
    await folder.close();
    await folder.close();
    assert.equal((await open(path)).has('aa'), true);
  });

  it('fails to open with our error, and without a leak, at whichever call the disk fails', async () => {
    const path = temporaryFolder();
    const first = await open(path);
    await write(first, 'aa', 10);
    await first.close();
    const files = new FaultyFileSystem();
    let atCall = 0;
    for (let hasFailed = true; hasFailed; ) {
      atCall++;
      files.plan({ atCall, lasts: 'once', code: 'EACCES' });
      const [result] = await Promise.allSettled([open(path, { files })]);
      hasFailed = files.calls >= atCall;
      if (result.status === 'rejected') assert.ok(isKind(result.reason, 'unavailable'));
      assert.equal(openTemporaryFiles(), 0);
    }
    assert.ok(atCall > 8);
    assert.equal((await open(path)).has('aa'), true);
  });

  it('refuses a folder with foreign content', async () => {
    const path = temporaryFolder();
    writeFileSync(join(path, 'notes.txt'), 'mine');
    await assert.rejects(open(path), (error) => isKind(error, 'precondition') && /notes/.test(error.message));
    assert.deepEqual(readdirSync(path), ['notes.txt']);
  });
});
