import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { digestKey } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { isKind } from '../../errors.ts';
import { Command, Directory, Tree } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { OutputLimits } from './output-tree.ts';
import { encodeTree } from './output-tree.ts';
import { type CollectedOutputs, Outputs } from './outputs.ts';

const LIMITS: OutputLimits = { maxDepth: 20, maxEntries: 100, keepBelowBytes: 100, maxKeptBytes: 1000 };

describe('Outputs', () => {
  let base: string;
  let root: string;
  const never = new AbortController().signal;

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'outputs-'));
    root = join(base, 'root');
    mkdirSync(root);
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  function write(path: string, text: string, mode = 0o644): void {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text, { mode });
  }

  function collect(command: Parameters<typeof Command.fromPartial>[0], limits = LIMITS): Promise<CollectedOutputs> {
    return new Outputs(Command.fromPartial(command)).collect(root, 'sha256', limits, never);
  }

  const sha = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

  function bytesOf(collected: CollectedOutputs, hash: string | undefined): Uint8Array {
    const blob = collected.blobs.find(({ digest }) => digest.hash === hash);
    assert.ok(blob && 'bytes' in blob);
    return blob.bytes;
  }

  it('reports files with digest and executable bit, spelled as the command did (R-CM-22, R-CM-27)', async () => {
    write('sub/a', 'A', 0o755);
    write('b', 'B');
    const { result } = await collect({ workingDirectory: 'sub', outputPaths: ['a', '../b', './a', 'absent'] });
    assert.deepEqual(
      result.outputFiles.map((file) => [file.path, file.digest?.hash, file.isExecutable]),
      [
        ['a', sha('A'), true],
        ['../b', sha('B'), false],
        ['./a', sha('A'), true],
      ],
    );
  });

  it('hashes the same whether the bytes are kept or read again', async () => {
    write('small', 'x'.repeat(100));
    write('large', 'x'.repeat(101));
    const { result, blobs } = await collect({ outputPaths: ['small', 'large'] });
    assert.deepEqual(
      result.outputFiles.map((file) => file.digest?.hash),
      [sha('x'.repeat(100)), sha('x'.repeat(101))],
    );
    assert.deepEqual(
      blobs.map((blob) => 'bytes' in blob),
      [true, false],
    );
  });

  it('keeps no more bytes in memory than it may', async () => {
    for (const name of ['a', 'b', 'c']) write(name, name.repeat(90));
    const { blobs } = await collect({ outputPaths: ['a', 'b', 'c'] }, { ...LIMITS, maxKeptBytes: 200 });
    assert.deepEqual(
      blobs.map((blob) => 'bytes' in blob),
      [true, true, false],
    );
  });

  it('encodes an empty directory as a Tree with an empty root, two bytes (R-CM-28)', async () => {
    mkdirSync(join(root, 'out'));
    const collected = await collect({ outputPaths: ['out'] });
    const [directory] = collected.result.outputDirectories;
    assert.equal(directory?.treeDigest?.hash, sha(Uint8Array.from([0x0a, 0])));
    assert.equal(directory?.rootDirectoryDigest, undefined);
  });

  it('encodes a Tree byte for byte as computed by hand (R-CM-28, R-CM-29)', async () => {
    write('out/b/f', 'F');
    write('out/a/f', 'F');
    symlinkSync('../b', join(root, 'out/l'));
    const digest = (hash: string, size: number): Buffer =>
      Buffer.concat([Buffer.from([0x0a, 0x40]), Buffer.from(hash), Buffer.from([0x10, size])]);
    const node = (tag: number, name: string, body: Buffer): Buffer => {
      const inner = Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name), body]);
      return Buffer.concat([Buffer.from([tag, inner.length]), inner]);
    };
    const field = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([0x12, bytes.length]), bytes]);
    const leaf = node(0x0a, 'f', field(digest(sha('F'), 1)));
    const child = (name: string): Buffer => node(0x12, name, field(digest(sha(leaf), leaf.length)));
    const link = node(0x1a, 'l', field(Buffer.from('../b')));
    const top = Buffer.concat([child('a'), child('b'), link]);
    const length = (bytes: Buffer): Buffer =>
      Buffer.from(bytes.length < 128 ? [bytes.length] : [(bytes.length % 128) | 128, bytes.length >> 7]);
    // `a` and `b` are equal, so there is one child.
    const tree = Buffer.concat([Buffer.from([0x0a]), length(top), top, Buffer.from([0x12]), length(leaf), leaf]);
    const { result } = await collect({ outputPaths: ['out'] });
    assert.equal(result.outputDirectories[0]?.treeDigest?.hash, sha(tree));
    assert.equal(result.outputDirectories[0]?.isTopologicallySorted, true);
    assert.deepEqual(result.outputSymlinks, [], 'a symlink inside a directory is not reported by itself (R-CM-26)');
  });

  it('law: every directory of a Tree occurs once, after all directories that refer to it (R-CM-29)', async () => {
    const path = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.array(path, { maxLength: 8 }), async (paths) => {
        rmSync(join(root, 'out'), { recursive: true, force: true });
        mkdirSync(join(root, 'out'));
        for (const segments of paths) mkdirSync(join(root, 'out', ...segments), { recursive: true });
        const collected = await collect({ outputPaths: ['out'] });
        const bytes = bytesOf(collected, collected.result.outputDirectories[0]?.treeDigest?.hash);
        const tree = Tree.decode(bytes);
        const nodes = [tree.root ?? Directory.create(), ...tree.children];
        const hashes = nodes.map((node) => sha(Directory.encode(node).finish()));
        assert.equal(new Set(hashes).size, hashes.length);
        const reached = new Set(hashes.slice(0, 1));
        for (const [index, node] of nodes.entries()) {
          assert.ok(reached.has(hashes[index] ?? ''), 'no orphans, parents first');
          for (const child of node.directories) {
            assert.ok(hashes.indexOf(child.digest?.hash ?? '') > index);
            reached.add(child.digest?.hash ?? '');
          }
        }
      }),
    );
  });

  it('stores Directory messages when the format asks for them, and the tree as well (R-CM-30, T-40)', async () => {
    write('out/d/f', 'F');
    for (const [format, has] of [
      [0, false],
      [1, true],
      [2, true],
      [9, false],
    ] as const) {
      const command = Command.create();
      command.outputPaths = ['out'];
      Object.assign(command, { outputDirectoryFormat: format });
      const collected = await new Outputs(command).collect(root, 'sha256', LIMITS, never);
      const [directory] = collected.result.outputDirectories;
      assert.ok(directory?.treeDigest);
      assert.equal(directory.rootDirectoryDigest !== undefined, has, String(format));
      if (has) {
        const message = Directory.decode(bytesOf(collected, directory.rootDirectoryDigest?.hash));
        Directory.decode(bytesOf(collected, message.directories[0]?.digest?.hash));
      }
    }
  });

  it('reports symlinks in both lists, dangling ones only in the new one, targets untouched (R-CM-25, T-18, T-20)', async () => {
    write('file', '');
    mkdirSync(join(root, 'dir'));
    const targets = { toFile: 'file', toDir: './dir/', dangling: '/absent/../x', loop: 'loop' };
    for (const [name, target] of Object.entries(targets)) symlinkSync(target, join(root, name));
    const { result } = await collect({ outputPaths: Object.keys(targets) });
    assert.deepEqual(Object.fromEntries(result.outputSymlinks.map((link) => [link.path, link.target])), targets);
    assert.deepEqual(result.outputFileSymlinks, [result.outputSymlinks[0]]);
    assert.deepEqual(result.outputDirectorySymlinks, [result.outputSymlinks[1]]);
  });

  it('fills only the older lists for a command of before 2.1 (R-CM-23)', async () => {
    write('f', 'F');
    mkdirSync(join(root, 'd'));
    symlinkSync('f', join(root, 'lf'));
    symlinkSync('d', join(root, 'ld'));
    symlinkSync('absent', join(root, 'dangling'));
    const { result } = await collect({ outputFiles: ['f', 'lf', 'dangling'], outputDirectories: ['d', 'ld', ''] });
    assert.deepEqual(
      result.outputFiles.map(({ path }) => path),
      ['f'],
    );
    assert.deepEqual(
      result.outputDirectories.map(({ path }) => path),
      ['d', ''],
    );
    assert.deepEqual(
      result.outputFileSymlinks.map(({ path }) => path),
      ['lf', 'dangling'],
    );
    assert.deepEqual(
      result.outputDirectorySymlinks.map(({ path }) => path),
      ['ld'],
    );
    assert.deepEqual(result.outputSymlinks, []);
  });

  it('ignores the older lists when output_paths is set (R-CM-05)', async () => {
    write('f', 'F');
    const { result } = await collect({ outputPaths: ['g'], outputFiles: ['f'], outputDirectories: ['f'] });
    assert.deepEqual(result.outputFiles, []);
  });

  it('refuses what is of another type than asked for (R-CM-24)', async () => {
    write('f', 'F');
    mkdirSync(join(root, 'd'));
    symlinkSync('f', join(root, 'lf'));
    symlinkSync('d', join(root, 'ld'));
    for (const command of [
      { outputFiles: ['d'] },
      { outputFiles: ['ld'] },
      { outputDirectories: ['f'] },
      { outputDirectories: ['lf'] },
    ]) {
      await assert.rejects(collect(command), (error) => isKind(error, 'precondition'), JSON.stringify(command));
    }
  });

  it('refuses pipes, sockets and devices, as outputs and inside them', async () => {
    mkdirSync(join(root, 'd'));
    execFileSync('/bin/sh', ['-c', 'mkfifo "$0"', join(root, 'd/pipe')]);
    for (const [path, message] of [
      ['d', 'output_paths: "d": "pipe" in an output directory is a socket, pipe or device'],
      ['d/pipe', 'output_paths: "d/pipe" is a socket, pipe or device'],
    ] as const) {
      // One of hundreds of outputs: the message says which.
      await assert.rejects(
        collect({ outputPaths: ['other', path] }),
        (error) => isKind(error, 'precondition') && error.message === message,
      );
    }
  });

  it('never reads through a symlink that leads out of the root', async () => {
    writeFileSync(join(base, 'secret'), 'S');
    symlinkSync(base, join(root, 'out'));
    await assert.rejects(collect({ outputPaths: ['out/secret'] }), (error) => isKind(error, 'invalid-argument'));
    symlinkSync('../secret', join(root, 'link'));
    const { result, blobs } = await collect({ outputPaths: ['link'] });
    assert.equal(result.outputSymlinks[0]?.target, '../secret');
    assert.deepEqual(blobs, []);
  });

  it('never reads through a symlink that the command put in the place of its root', async () => {
    writeFileSync(join(base, 'secret'), 'S');
    rmSync(root, { recursive: true });
    symlinkSync(base, root);
    for (const path of ['secret', '']) {
      await assert.rejects(collect({ outputPaths: [path] }), (error) => isKind(error, 'invalid-argument'), path);
    }
  });

  it('refuses a symlink whose target no message can say, wherever it is', async () => {
    execFileSync('/bin/sh', ['-c', 't=$(printf "\\377"); ln -s "$t" link; mkdir d; ln -s "$t" d/link'], { cwd: root });
    for (const path of ['link', 'd']) {
      await assert.rejects(collect({ outputPaths: [path] }), (error) => isKind(error, 'precondition'), path);
    }
  });

  it('refuses names and paths that no file system takes as the fault of the command', async () => {
    const long = 'n'.repeat(256);
    assert.throws(
      () => new Outputs(Command.fromPartial({ outputPaths: [`d/${long}`] })),
      (error) => isKind(error, 'invalid-argument'),
    );
    const deep = new Outputs(Command.fromPartial({ outputPaths: [`${`${'n'.repeat(200)}/`.repeat(30)}x`] }));
    await assert.rejects(deep.prepare(root, never), (error) => isKind(error, 'invalid-argument'));
  });

  it('gives others a turn between many outputs, and stops when cancelled', async () => {
    const paths = Array.from({ length: 500 }, (_, at) => `o${at}/x`);
    const outputs = new Outputs(Command.fromPartial({ outputPaths: paths }));
    const abort = new AbortController();
    const prepared = outputs.prepare(root, abort.signal);
    abort.abort();
    await assert.rejects(prepared, (error) => isKind(error, 'cancelled'));
    await assert.rejects(outputs.collect(root, 'sha256', LIMITS, abort.signal), (error) => isKind(error, 'cancelled'));
  });

  it('refuses paths that are absolute or leave the root (R-CM-03)', () => {
    for (const path of ['/etc', '../x', 'a/../../x', 'a\0b']) {
      assert.throws(
        () => new Outputs(Command.fromPartial({ outputPaths: [path] })),
        (error) => isKind(error, 'invalid-argument'),
        path,
      );
    }
  });

  it('bounds entries and depth', async () => {
    mkdirSync(join(root, 'd/e/f'), { recursive: true });
    await assert.rejects(collect({ outputPaths: ['d'] }, { ...LIMITS, maxDepth: 1 }), (error) =>
      isKind(error, 'precondition'),
    );
    await assert.rejects(collect({ outputPaths: ['d'] }, { ...LIMITS, maxEntries: 1 }), (error) =>
      isKind(error, 'precondition'),
    );
  });

  it('reports node properties only when asked (R-CM-31)', async () => {
    write('f', 'F');
    chmodSync(join(root, 'f'), 0o640);
    utimesSync(join(root, 'f'), 1000, 1000.5);
    const plain = await collect({ outputPaths: ['f'] });
    assert.equal(plain.result.outputFiles[0]?.nodeProperties, undefined);
    const asked = await collect({ outputPaths: ['f'], outputNodeProperties: ['mtime', 'unix_mode'] });
    const properties = asked.result.outputFiles[0]?.nodeProperties;
    assert.deepEqual(properties?.mtime, { seconds: 1000n, nanos: 500_000_000 });
    assert.equal(properties?.unixMode, 0o640);
  });

  it('makes the parents of outputs, not the outputs (R-CM-20)', async () => {
    const outputs = new Outputs(Command.fromPartial({ outputPaths: ['x/y/z', 'w'] }));
    await outputs.prepare(root, never);
    const collected = await collect({ outputPaths: ['x/y', 'x/y/z', 'w'] });
    assert.deepEqual(
      collected.result.outputDirectories.map(({ path }) => path),
      ['x/y'],
    );
  });

  it('makes no directories through a symlink that leads out, nor below a file', async () => {
    symlinkSync(base, join(root, 'out'));
    write('file', '');
    for (const path of ['out/made/x', 'file/x']) {
      const outputs = new Outputs(Command.fromPartial({ outputPaths: [path] }));
      await assert.rejects(outputs.prepare(root, never), (error) => isKind(error, 'invalid-argument'), path);
    }
    assert.throws(() => rmSync(join(base, 'made')));
  });
});

describe('encodeTree', () => {
  it('writes lengths above 127 as varints', () => {
    const bytes = new Uint8Array(300);
    const encoded = encodeTree([{ digest: digestOf('sha256', bytes), bytes }]);
    assert.deepEqual([...encoded.subarray(0, 3)], [0x0a, 0xac, 0x02]);
    assert.equal(digestKey(digestOf('sha256', encoded.subarray(3))), digestKey(digestOf('sha256', bytes)));
  });
});
