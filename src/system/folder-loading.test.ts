import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { isKind } from '../errors.ts';
import { BoundedFolder, type BoundedFolderOptions } from './bounded-folder.ts';
import { NO_LOG } from './log.ts';

const NEVER = new AbortController().signal;
const NOON_MS = Date.parse('2026-01-01T12:00:00Z');

/** The real disk, which tells what was synced and can fail to sync the bytes of some files. */
class SyncedFiles extends FaultyFileSystem {
  readonly synced: string[] = [];
  /** The code of the error, or undefined. */
  failing: (path: string) => string | undefined = () => undefined;
  readonly #paths = new Map<number, string>();

  override open(path: string, purpose: Parameters<FaultyFileSystem['open']>[1]): number {
    const fd = super.open(path, purpose);
    this.#paths.set(fd, path);
    return fd;
  }

  override async syncData(fd: number): Promise<void> {
    const path = this.#paths.get(fd) ?? '';
    const code = this.failing(path);
    if (code !== undefined) throw Object.assign(new Error('planned'), { code });
    await super.syncData(fd);
    this.synced.push(path);
  }

  override async syncFolder(path: string): Promise<void> {
    await super.syncFolder(path);
    this.synced.push(path);
  }
}

function open(path: string, options: Partial<BoundedFolderOptions> = {}): Promise<BoundedFolder> {
  return BoundedFolder.open(path, {
    clock: new FakeClock(NOON_MS),
    log: NO_LOG,
    title: 'test store',
    fullAdvice: 'use a larger one',
    maxBytes: 1_000_000,
    sync: 'file',
    ...options,
  });
}

async function write(folder: BoundedFolder, name: string): Promise<void> {
  const pending = await folder.begin(name, 3, NEVER);
  pending.write(Buffer.from('abc'));
  await pending.publish();
}

/** A folder with the files `aa-1` and `bb-1`, the first last changed an hour before noon, the second some ms before it. */
async function folderWithFiles(agoMs: number, sync: 'file' | 'none' = 'file'): Promise<BoundedFolder> {
  const folder = await open(temporaryFolder(), { sync });
  for (const name of ['aa-1', 'bb-1']) await write(folder, name);
  utimesSync(folder.pathOf('aa-1'), NOON_MS / 1000 - 3600, NOON_MS / 1000 - 3600);
  utimesSync(folder.pathOf('bb-1'), (NOON_MS - agoMs) / 1000, (NOON_MS - agoMs) / 1000);
  return folder;
}

describe('loading a bounded folder', () => {
  it('makes its own name, and those of its parts, durable before anything is in it', async () => {
    const path = join(temporaryFolder(), 'new');
    const files = new SyncedFiles();
    await open(path, { files });
    assert.equal(files.synced[0], dirname(path));
    assert.equal(files.synced.at(-1), join(path, 'files'));
    assert.ok(files.synced.includes(path));
    const again = new SyncedFiles();
    await open(path, { files: again });
    assert.equal(again.synced.includes(dirname(path)), false);
  });

  it('syncs all names, and the bytes of files changed lately, after an unclean stop', async () => {
    const { path } = await folderWithFiles(599_000);
    writeFileSync(join(path, 'files', 'aa', 'aa-2'), 'renamed when the process was killed');
    const files = new SyncedFiles();
    const folder = await open(path, { files });
    assert.equal(folder.has('aa-2'), true);
    const parts = ['files', 'files/aa', 'files/aa/aa-2', 'files/bb', 'files/bb/bb-1'].map((part) => join(path, part));
    assert.deepEqual(files.synced.filter((synced) => synced.startsWith(join(path, 'files'))).sort(), parts);
    assert.equal(openTemporaryFiles(), 0);
  });

  it('counts "lately" from the newest file when the clock was set forward, and from now when it was set back', async () => {
    const { path } = await folderWithFiles(0);
    for (const nowMs of [NOON_MS + 1e10, NOON_MS - 600_000 - 3_600_000]) {
      const files = new SyncedFiles();
      await open(path, { files, clock: new FakeClock(nowMs) });
      const isOldSynced = files.synced.includes(join(path, 'files', 'aa', 'aa-1'));
      assert.deepEqual(
        [files.synced.includes(join(path, 'files', 'bb', 'bb-1')), isOldSynced],
        [true, nowMs < NOON_MS],
      );
    }
  });

  it('syncs nothing again after a clean stop of a run that synced', async () => {
    const first = await folderWithFiles(0);
    await first.close();
    const files = new SyncedFiles();
    const second = await open(first.path, { files });
    assert.deepEqual(files.synced, [first.path]);
    assert.deepEqual([second.has('aa-1'), second.has('bb-1')], [true, true]);
  });

  it('makes up for a run that synced nothing, however it ended, and only when it is asked to sync', async () => {
    for (const isClean of [true, false]) {
      const first = await folderWithFiles(0, 'none');
      if (isClean) await first.close();
      const unsyncing = new SyncedFiles();
      const second = await open(first.path, { files: unsyncing, sync: 'none' });
      assert.deepEqual(unsyncing.synced, []);
      if (isClean) await second.close();
      const files = new SyncedFiles();
      await open(first.path, { files });
      assert.ok(files.synced.includes(first.pathOf('bb-1')));
      assert.ok(files.synced.includes(join(first.path, 'files', 'aa')));
    }
  });

  it('puts a file aside whose bytes did not reach the device', async () => {
    const first = await folderWithFiles(0);
    const files = new SyncedFiles();
    files.failing = (path) => (path.endsWith('bb-1') ? 'EIO' : undefined);
    const second = await open(first.path, { files });
    assert.deepEqual([second.has('aa-1'), second.has('bb-1'), second.stats().quarantined], [true, false, 1]);
    assert.deepEqual(readdirSync(join(first.path, 'quarantine')), ['bb-1']);
    assert.equal(openTemporaryFiles(), 0);
  });

  it('does not open while syncing fails for another reason, and syncs then at the next start', async () => {
    const first = await folderWithFiles(0);
    await first.close();
    const text = readFileSync(join(first.path, 'order'), 'utf8');
    assert.match(text, /^gantry-order 1\n/);
    writeFileSync(join(first.path, 'order'), 'damaged');
    const failing = new SyncedFiles();
    failing.failing = () => 'ENOLCK';
    await assert.rejects(open(first.path, { files: failing }), (error) => isKind(error, 'unavailable'));
    assert.equal(existsSync(first.pathOf('bb-1')), true);
    const files = new SyncedFiles();
    await open(first.path, { files });
    assert.ok(files.synced.includes(first.pathOf('bb-1')));
    assert.equal(openTemporaryFiles(), 0);
  });
});
