import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isKind } from '../errors.ts';
import { removeTree } from './remove-tree.ts';

describe('removeTree', () => {
  let folder: string;
  let tree: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'remove-tree-'));
    tree = join(folder, 'tree');
    mkdirSync(join(tree, 'a/b'), { recursive: true });
    writeFileSync(join(tree, 'a/b/file'), 'x');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('removes everything below a folder, and the folder', async () => {
    await removeTree(tree);
    assert.deepEqual(readdirSync(folder), []);
  });

  it('takes nothing there as a success, and a file in its place as something to remove', async () => {
    await removeTree(join(folder, 'absent'));
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await removeTree(file);
    assert.equal(existsSync(file), false);
  });

  it('leaves alone what symlinks lead to, and its mode', async () => {
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'kept'), '');
    chmodSync(outside, 0o755);
    symlinkSync(outside, join(tree, 'a/link'));
    symlinkSync(outside, join(folder, 'top'));
    await removeTree(tree);
    await removeTree(join(folder, 'top'));
    assert.deepEqual(readdirSync(folder), ['outside']);
    assert.deepEqual(readdirSync(outside), ['kept']);
    assert.equal(statSync(outside).mode & 0o777, 0o755);
  });

  it('removes directories without permissions and names that are not UTF-8', async () => {
    execFileSync('/bin/sh', ['-c', 'n=$(printf "\\377"); mkdir "$n"; echo x >"$n/$n"'], { cwd: join(tree, 'a') });
    chmodSync(join(tree, 'a/b'), 0);
    await removeTree(tree);
    assert.deepEqual(readdirSync(folder), []);
  });

  it('bears that an action took the permissions of the folder around it, without being root', async () => {
    const nobody = 65_534;
    const isRoot = process.geteuid?.() === 0;
    if (isRoot)
      for (const path of [folder, tree, 'a', 'a/b'].map((name) => resolve(tree, name))) chownSync(path, nobody, nobody);
    chmodSync(folder, 0);
    if (isRoot) process.seteuid?.(nobody);
    try {
      await removeTree(tree);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
    assert.deepEqual(readdirSync(folder), []);
  });

  it('removes trees deeper than any path can say, whatever names they use', async () => {
    writeFileSync(join(tree, '~0'), '');
    mkdirSync(join(tree, '~1/full'), { recursive: true });
    const dig = `const d = 'd'.repeat(250); for (let n = 0; n < 40; n++) { fs.mkdirSync(d); process.chdir(d); }`;
    execFileSync(process.execPath, ['-e', dig], { cwd: tree });
    await removeTree(tree);
    assert.equal(existsSync(tree), false);
  });

  it('gives others a turn while it removes much', async () => {
    for (let file = 0; file < 500; file++) writeFileSync(join(tree, `f${file}`), '');
    let isOver = false;
    const removal = removeTree(tree).then(() => {
      isOver = true;
    });
    await nextTurn();
    assert.equal(isOver, false);
    await removal;
    assert.equal(existsSync(tree), false);
  });

  it('reports as unavailable what it cannot remove', async () => {
    await assert.rejects(removeTree('/proc/self/task'), (error) => isKind(error, 'unavailable'));
  });
});
