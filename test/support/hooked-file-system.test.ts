import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../../src/errors.ts';
import { HookedFileSystem } from './hooked-file-system.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('HookedFileSystem', () => {
  let files: HookedFileSystem;
  let path: string;
  let fd: number;

  beforeEach(() => {
    files = new HookedFileSystem();
    path = join(temporaryFolder(), 'file');
    fd = files.open(path, 'create');
  });
  afterEach(() => files.close(fd));

  it('does what the disk does as long as nothing is hooked', async () => {
    files.writeAt(fd, [Buffer.from('one')], 0);
    await files.writeAtAsync(fd, [Buffer.from('two')], 3);
    await files.syncData();
    assert.equal(readFileSync(path, 'utf8'), 'onetwo');
  });

  it('lets the calls fail that match, which then do nothing, until it is mended', async () => {
    files.failOn('EIO', (call, at) => call === 'write' || (call === 'unlink' && at === path));
    const isPlanned = (error: unknown): boolean => systemCode(error) === 'EIO';
    assert.throws(() => files.writeAt(fd, [Buffer.from('x')], 0), isPlanned);
    await assert.rejects(files.writeAtAsync(fd, [Buffer.from('x')], 0), isPlanned);
    assert.throws(() => files.remove(path), isPlanned);
    assert.equal(files.read(fd, Buffer.alloc(1), 0), 0);
    files.mend();
    files.remove(path);
    assert.equal(existsSync(path), false);
  });

  it('lets one call by its number fail, and tells which that was', () => {
    const failed = files.failAt(2, 'ENOSPC');
    files.truncate(fd, 10);
    assert.equal(failed(), undefined);
    assert.throws(
      () => files.rename(path, `${path}-2`),
      (error) => systemCode(error) === 'ENOSPC',
    );
    assert.equal(failed(), 'rename');
    files.truncate(fd, 0);
  });

  it('does something before a call, once', () => {
    let times = 0;
    files.onceBefore(
      (call) => call === 'read',
      () => times++,
    );
    for (let time = 0; time < 3; time++) files.read(fd, Buffer.alloc(1), 0);
    assert.equal(times, 1);
  });

  it('has calls wait for what the hook waits for, if they can', async () => {
    const done: string[] = [];
    files.before = async () => {
      await Promise.resolve();
      done.push('hook');
    };
    await files.syncFolder(path);
    done.push('call');
    assert.deepEqual(done, ['hook', 'call']);
  });
});
