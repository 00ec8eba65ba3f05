import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { removeStaleSocket } from './stale-socket.ts';

describe('removeStaleSocket', () => {
  it('removes the socket of a process that was killed', async () => {
    const path = join(temporaryFolder(), 'dead.sock');
    const program = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', program]);
    assert.ok(existsSync(path), 'the kernel leaves it');
    await removeStaleSocket(path);
    assert.ok(!existsSync(path));
  });

  it('keeps one that somebody listens on', async () => {
    const path = join(temporaryFolder(), 'live.sock');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await removeStaleSocket(path);
    assert.ok(existsSync(path));
    await new Promise((resolve) => server.close(resolve));
  });

  it('keeps a file that is no socket, and does nothing where there is none', async () => {
    const path = join(temporaryFolder(), 'file');
    writeFileSync(path, '');
    await removeStaleSocket(path);
    assert.ok(existsSync(path));
    await removeStaleSocket(join(temporaryFolder(), 'nothing'));
  });
});
