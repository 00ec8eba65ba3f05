import assert from 'node:assert/strict';
import { type Digest, digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { BugError } from '../errors.ts';
import { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobRole, type NeedsByDirectory } from './blob-role.ts';
import type { DirectoryNeeds } from './directory-needs.ts';
import type { OutputDirectoryDigest } from './outputs.ts';

const digest = (text: string): Digest => digestOf('sha256', Buffer.from(text));
const needs = (...digests: Digest[]): DirectoryNeeds => ({ digests, directories: 0 });

describe('blobRole', () => {
  const directory = { kind: 'tree', path: 'd', digest: digest('tree') } as const;
  const root = { kind: 'root-directory', path: 'r', digest: digest('root') } as const;
  const known: NeedsByDirectory = new Map<OutputDirectoryDigest, DirectoryNeeds>([
    [directory, needs(digest('inner'), digest('both'))],
    [root, needs(digest('below'))],
  ]);
  const result = ActionResult.fromPartial({
    outputFiles: [{ path: 'a' }, { path: 'b', digest: digestToWire(digest('both')) }],
    stdoutDigest: digestToWire(digest('stdout')),
    stderrDigest: digestToWire(digest('stdout')),
  });

  for (const [name, role] of [
    ['both', { kind: 'output-file', path: 'b' }],
    ['stdout', { kind: 'stdout' }],
    ['tree', { kind: 'tree', path: 'd' }],
    ['inner', { kind: 'tree-file', path: 'd', tree: directory.digest }],
    ['root', { kind: 'root-directory', path: 'r' }],
    ['below', { kind: 'root-directory', path: 'r' }],
  ] as const) {
    it(`finds the first role of the blob "${name}"`, () => {
      assert.deepEqual(blobRole(digest(name), result, known), role);
    });
  }

  it('tells sizes apart, and takes a blob that nothing needs for a bug', () => {
    assert.throws(() => blobRole({ ...digest('stdout'), sizeBytes: 1 }, result, known), BugError);
  });
});
