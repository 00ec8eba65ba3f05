import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runChild } from './child.ts';
import { Gantry, ROOT, stopEverything, temporaryFolder } from './gantry.ts';
import { requireTool } from './tools.ts';

/** A virtual environment, where `npm ci` makes room for it and nothing else looks. */
const BST = join(ROOT, 'node_modules/.cache/buildstream/bin/bst');
const BUSYBOX = '/bin/busybox';
const BUBBLEWRAP = '/usr/bin/bwrap';

/** The settings to paste that the server printed. */
function printedSettings(output: string): string {
  const settings = /^BuildStream \(buildstream\.conf\):\n((?: {2}.*\n)+)/m.exec(output)?.[1];
  assert.ok(settings !== undefined, output);
  return settings.replaceAll(/^ {2}/gm, '');
}

/** A copy of examples/buildstream with its root file system. */
function makeProject(): string {
  const folder = join(temporaryFolder(), 'example');
  cpSync(join(ROOT, 'examples/buildstream'), folder, { recursive: true });
  mkdirSync(join(folder, 'base/bin'), { recursive: true });
  cpSync(BUSYBOX, join(folder, 'base/bin/sh'));
  return folder;
}

describe('BuildStream 2.8.1', () => {
  before(function () {
    requireTool(this, 'BuildStream', BST);
    requireTool(this, 'busybox-static', BUSYBOX);
    requireTool(this, 'bubblewrap', BUBBLEWRAP);
  });

  afterEach(stopEverything);

  it('keeps the files of a build in the server, with the settings that it prints', async () => {
    const gantry = await Gantry.start({ flags: ['--embedded-worker=false'] });
    const folder = makeProject();
    const caches = temporaryFolder();
    const settings = join(caches, 'buildstream.conf');
    writeFileSync(settings, `cachedir: ${caches}/cache\nlogdir: ${caches}/logs\n${printedSettings(gantry.output)}`);
    const bst = async (...args: readonly string[]): Promise<void> => {
      const all = ['-c', settings, '--no-interactive', ...args];
      const { exitCode, output } = await runChild(BST, all, { cwd: folder, environment: { HOME: caches } });
      assert.equal(exitCode, 0, output);
    };
    await bst('build', 'greeting.bst');
    // Names of artifacts stay on this side; what they consist of now is in the server alone.
    rmSync(join(caches, 'cache/cas'), { recursive: true });
    const out = join(caches, 'out');
    await bst('artifact', 'checkout', 'greeting.bst', '--deps', 'none', '--directory', out);
    assert.equal(readFileSync(join(out, 'share/greeting'), 'utf8'), 'HELLO FROM THE SANDBOX\n');
  });
});
