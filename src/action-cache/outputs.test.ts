import assert from 'node:assert/strict';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { isEmptyMessage, outputDigests } from './outputs.ts';

describe('outputDigests', () => {
  it('lists every digest of a result by its role', () => {
    const [file, tree, root, stdout, stderr] = ['file', 'tree', 'root', 'stdout', 'stderr'].map((text) =>
      digestOf('sha256', Buffer.from(text)),
    );
    assert.ok(file && tree && root && stdout && stderr);
    const result = ActionResult.fromPartial({
      outputFiles: [{ path: 'a', digest: digestToWire(file) }, { path: 'empty' }],
      outputDirectories: [{ path: 'd', treeDigest: digestToWire(tree), rootDirectoryDigest: digestToWire(root) }],
      stdoutDigest: digestToWire(stdout),
      stderrDigest: digestToWire(stderr),
    });
    assert.deepEqual(outputDigests('sha256', result), {
      files: [file, stdout, stderr],
      directories: [
        { kind: 'tree', path: 'd', digest: tree },
        { kind: 'root-directory', path: 'd', digest: root },
      ],
    });
  });
});

describe('isEmptyMessage', () => {
  it('is true for an absent digest and for one without fields', () => {
    assert.equal(isEmptyMessage(undefined), true);
    assert.equal(isEmptyMessage({ hash: '', sizeBytes: 0n }), true);
    assert.equal(isEmptyMessage({ hash: '', sizeBytes: 1n }), false);
    assert.equal(isEmptyMessage({ hash: 'a', sizeBytes: 0n }), false);
  });
});
