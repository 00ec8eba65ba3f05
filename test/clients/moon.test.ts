import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runChild } from './child.ts';
import { Gantry, ROOT, stopEverything, temporaryFolder } from './gantry.ts';
import { requireTool } from './tools.ts';

const MOON = join(ROOT, 'node_modules/.bin/moon');

async function makeProject(url: string, instanceName: string): Promise<string> {
  const folder = temporaryFolder();
  mkdirSync(join(folder, '.moon'));
  mkdirSync(join(folder, 'app'));
  const cache = { instanceName, compression: 'none', verifyIntegrity: true };
  const workspace = { projects: ['app'], remote: { api: 'grpc', host: url, cache }, telemetry: false };
  writeFileSync(join(folder, '.moon/workspace.yml'), JSON.stringify(workspace));
  const build = { command: 'cp in.txt out.txt', inputs: ['in.txt'], outputs: ['out.txt'] };
  writeFileSync(join(folder, 'app/moon.yml'), JSON.stringify({ tasks: { build } }));
  writeFileSync(join(folder, 'app/in.txt'), `content for ${instanceName}\n`);
  const identity = ['-c', 'user.name=test', '-c', 'user.email=test@example.com'];
  for (const args of [
    ['init', '-q'],
    ['add', '.'],
    [...identity, 'commit', '-q', '-m', 'start'],
  ]) {
    const { exitCode, output } = await runChild('git', args, { cwd: folder });
    assert.equal(exitCode, 0, output);
  }
  return folder;
}

async function build(folder: string): Promise<string> {
  // Not the project itself: moon looks for a workspace below the home folder only.
  const environment = { HOME: temporaryFolder(), MOON_TOOLCHAIN_FORCE_GLOBALS: 'true', NO_COLOR: '1' };
  const { exitCode, output } = await runChild(MOON, ['run', 'app:build'], { cwd: folder, environment });
  assert.equal(exitCode, 0, output);
  return output;
}

describe('moon 2.4.6', () => {
  before(function () {
    requireTool(this, 'moon', MOON);
  });

  afterEach(stopEverything);

  for (const instanceName of ['main', '']) {
    it(`misses, uploads, then hits under the instance name "${instanceName}"`, async () => {
      const gantry = await Gantry.start({ flags: ['--embedded-worker=false'] });
      const folder = await makeProject(gantry.url, instanceName);
      assert.doesNotMatch(await build(folder), /cached/);
      for (const left of ['app/out.txt', '.moon/cache']) rmSync(join(folder, left), { recursive: true, force: true });
      assert.match(await build(folder), /cached from remote/);
    });
  }
});
