import type { DigestFunction } from '../digest/digest-function.ts';
import { ReapiError } from '../errors.ts';
import type { ActionResult } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { isEmptyMessage, outputDigests } from './outputs.ts';

/**
 * Checks a result before it is stored (R-AC-17): digests well-formed, paths relative, output directories with content.
 * `..` is allowed in paths: they are relative to the working directory (R-CM-27).
 * @throws invalid-argument.
 */
export function validateResult(fn: DigestFunction, result: ActionResult): void {
  outputDigests(fn, result);
  for (const { path } of result.outputFiles) checkFilePath(path, 'output_files.path');
  for (const symlink of [...result.outputSymlinks, ...result.outputFileSymlinks, ...result.outputDirectorySymlinks]) {
    checkFilePath(symlink.path, 'output_symlinks.path');
    if (symlink.target === '') throw wrong('an output symlink has no target', 'output_symlinks.target');
  }
  for (const directory of result.outputDirectories) {
    // The empty path is the working directory itself.
    checkPath(directory.path, 'output_directories.path');
    if (isEmptyMessage(directory.treeDigest) && isEmptyMessage(directory.rootDirectoryDigest)) {
      const message = `the output directory ${JSON.stringify(directory.path)} has neither a Tree nor a root Directory`;
      throw wrong(message, 'output_directories.tree_digest');
    }
  }
}

function checkFilePath(path: string, field: string): void {
  if (path === '') throw wrong('an output has an empty path', field);
  checkPath(path, field);
}

function checkPath(path: string, field: string): void {
  if (path.startsWith('/')) throw wrong(`the output path ${JSON.stringify(path)} is absolute`, field);
  if (path.includes('\0')) throw wrong('an output path has a NUL character', field);
}

function wrong(message: string, field: string): ReapiError {
  return new ReapiError('invalid-argument', message, { field });
}
