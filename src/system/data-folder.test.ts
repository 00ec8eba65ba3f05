import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { openTemporaryFiles, temporaryFolder } from '../../test/support/temporary-folder.ts';
import { isKind } from '../errors.ts';
import { DataFolder } from './data-folder.ts';

/** Another program that listens on a socket and dies by SIGKILL, as a crashed server does. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require('net').createServer().listen(process.argv[1], () => console.log('ready'))`;
  const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('DataFolder', () => {
  it('creates the folder for its owner alone, with a version', async () => {
    const path = join(temporaryFolder(), 'a', 'b');
    const folder = await DataFolder.open(path);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.deepEqual(JSON.parse(readFileSync(folder.sub('version'), 'utf8')), { format: 'gantry-data', version: 2 });
    await folder.release();
    assert.deepEqual(readdirSync(path), ['version']);
    assert.equal(openTemporaryFiles(), 0);
  });

  it('takes over a folder of version 1, which the program that made it refuses afterwards', async () => {
    const path = temporaryFolder();
    mkdirSync(join(path, 'entries'));
    writeFileSync(join(path, 'version'), '{"format":"gantry-data","version":1}\n');
    await (await DataFolder.open(path)).release();
    assert.deepEqual(readdirSync(path).sort(), ['entries', 'version']);
    assert.equal(readFileSync(join(path, 'version'), 'utf8'), '{"format":"gantry-data","version":2}\n');
  });

  it('refuses a second owner, naming the folder, until the first releases it', async () => {
    const path = temporaryFolder();
    const first = await DataFolder.open(path);
    const isRefusal = (error: unknown): boolean =>
      isKind(error, 'precondition') && error.message.includes(path) && /another process/.test(error.message);
    await assert.rejects(DataFolder.open(path), isRefusal);
    await assert.rejects(DataFolder.open(path), isRefusal);
    await first.release();
    await (await DataFolder.open(path)).release();
  });

  it('refuses an owner in another container, whose abstract socket is out of sight', async () => {
    const path = temporaryFolder();
    const other = createServer((socket) => socket.destroy());
    other.listen(join(path, 'lock'));
    await once(other, 'listening');
    await assert.rejects(DataFolder.open(path), (error) => isKind(error, 'precondition'));
    assert.equal(existsSync(join(path, 'lock')), true);
    await new Promise((resolve) => other.close(resolve));
    await (await DataFolder.open(path)).release();
  });

  it('takes over from an owner that was killed', async () => {
    const path = temporaryFolder();
    await leaveStaleSocket(join(path, 'lock'));
    assert.equal(existsSync(join(path, 'lock')), true);
    const folder = await DataFolder.open(path);
    await assert.rejects(DataFolder.open(path), (error) => isKind(error, 'precondition'));
    await folder.release();
    assert.deepEqual(readdirSync(path), ['version']);
  });

  it('lets exactly one of many that take over at once have it', async () => {
    const path = temporaryFolder();
    await leaveStaleSocket(join(path, 'lock'));
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => DataFolder.open(path)));
    const owners = tries.filter((result) => result.status === 'fulfilled');
    assert.equal(owners.length, 1);
    for (const { value } of owners) await value.release();
  });

  it('works, and offers a short name for sockets, where the path is too long for them', async () => {
    const path = join(temporaryFolder(), 'x'.repeat(100));
    const folder = await DataFolder.open(path);
    await assert.rejects(DataFolder.open(path), (error) => isKind(error, 'precondition'));
    const server = createServer((socket) => socket.end('hello'));
    server.listen(join(folder.socketFolder, 'worker.sock'));
    await once(server, 'listening');
    assert.equal(existsSync(join(path, 'worker.sock')), true);
    const [data] = await once(connect(join(folder.socketFolder, 'worker.sock')), 'data');
    assert.equal(String(data), 'hello');
    await new Promise((resolve) => server.close(resolve));
    await folder.release();
    assert.deepEqual(readdirSync(path), ['version']);
  });

  const foreign: readonly (readonly [string, string, string])[] = [
    ['files of somebody else', 'notes.txt', 'my notes'],
    ['another format', 'version', '{"format":"something","version":1}'],
    ['a newer version', 'version', '{"format":"gantry-data","version":3}'],
    ['a damaged version file', 'version', '{"form'],
  ];
  for (const [what, name, content] of foreign) {
    it(`refuses a folder with ${what}, and lets it go`, async () => {
      const path = temporaryFolder();
      writeFileSync(join(path, name), content);
      await assert.rejects(DataFolder.open(path), (error) => isKind(error, 'precondition'));
      assert.deepEqual(readdirSync(path), [name]);
      assert.equal(openTemporaryFiles(), 0);
    });
  }

  it('answers unavailable in a file system that takes no folders, rather than try for ever', async () => {
    await assert.rejects(DataFolder.open('/proc/gantry-test/a'), (error) => isKind(error, 'unavailable'));
  });

  it('answers unavailable where no folder can be', async () => {
    const path = join(temporaryFolder(), 'file');
    writeFileSync(path, '');
    await assert.rejects(DataFolder.open(path), (error) => isKind(error, 'unavailable'));
    mkdirSync(join(path, '..', 'lost+found'));
    await (await DataFolder.open(join(path, '..', 'fresh'))).release();
  });
});
