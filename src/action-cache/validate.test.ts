import assert from 'node:assert/strict';
import { ofKind } from '../../test/support/expectations.ts';
import { digestToWire } from '../digest/digest.ts';
import { digestOf } from '../digest/hasher.ts';
import { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { validateResult } from './validate.ts';

type Partial = Parameters<typeof ActionResult.fromPartial>[0];

const GOOD = digestToWire(digestOf('sha256', Buffer.from('x')));
const BAD = { hash: 'X', sizeBytes: 1n };

const accepted: readonly (readonly [string, Partial])[] = [
  ['nothing at all', {}],
  ['a file without a digest, which is empty (R-AC-03)', { outputFiles: [{ path: 'a' }] }],
  ['an empty digest message (T-19)', { outputFiles: [{ path: 'a', digest: { hash: '', sizeBytes: 0n } }] }],
  ['a path that leaves the working directory (R-CM-27)', { outputFiles: [{ path: '../a', digest: GOOD }] }],
  ['the working directory as output', { outputDirectories: [{ path: '', treeDigest: GOOD }] }],
  ['a root directory alone', { outputDirectories: [{ path: 'd', rootDirectoryDigest: GOOD }] }],
  ['an absolute symlink target (R-CAP-11)', { outputSymlinks: [{ path: 'l', target: '/usr' }] }],
];

const refused: readonly (readonly [string, Partial])[] = [
  ['a malformed file digest', { outputFiles: [{ path: 'a', digest: BAD }] }],
  ['a malformed tree digest', { outputDirectories: [{ path: 'd', treeDigest: BAD }] }],
  ['a malformed root digest', { outputDirectories: [{ path: 'd', rootDirectoryDigest: BAD }] }],
  ['a malformed stdout digest', { stdoutDigest: BAD }],
  ['a malformed stderr digest', { stderrDigest: BAD }],
  ['a digest with a size alone', { stdoutDigest: { hash: '', sizeBytes: 1n } }],
  ['an absolute file path', { outputFiles: [{ path: '/a', digest: GOOD }] }],
  ['an empty file path', { outputFiles: [{ path: '', digest: GOOD }] }],
  ['a NUL in a path', { outputFiles: [{ path: 'a\0b', digest: GOOD }] }],
  ['an absolute directory path', { outputDirectories: [{ path: '/d', treeDigest: GOOD }] }],
  ['a directory without content', { outputDirectories: [{ path: 'd' }] }],
  ['an absolute symlink path', { outputSymlinks: [{ path: '/l', target: 'x' }] }],
  ['a symlink without target', { outputFileSymlinks: [{ path: 'l' }] }],
  ['an empty path of a directory symlink', { outputDirectorySymlinks: [{ target: 'x' }] }],
];

describe('validateResult', () => {
  for (const [what, result] of accepted) {
    it(`accepts ${what}`, () => validateResult('sha256', ActionResult.fromPartial(result)));
  }
  for (const [what, result] of refused) {
    it(`refuses ${what} (R-AC-17)`, () => {
      assert.throws(() => validateResult('sha256', ActionResult.fromPartial(result)), ofKind('invalid-argument'));
    });
  }
});
