import { type Digest, digestFromWire } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { ActionResult, Digest as WireDigest } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** The blobs an action result refers to by itself, each with its role. Repeats are possible. */
export interface OutputDigests {
  /** Output files, stdout and stderr. */
  readonly files: readonly Digest[];
  /** Tree messages of output directories. */
  readonly trees: readonly Digest[];
  /** Root Directory messages of output directories. */
  readonly roots: readonly Digest[];
}

/**
 * Every digest in a result. An absent or empty digest message stands for the empty blob, which is always there (R-AC-03).
 * @throws invalid-argument for a malformed digest; `field` names it.
 */
export function outputDigests(fn: DigestFunction, result: ActionResult): OutputDigests {
  const files: Digest[] = [];
  const trees: Digest[] = [];
  const roots: Digest[] = [];
  const add = (into: Digest[], wire: WireDigest | undefined, field: string): void => {
    if (!isEmptyMessage(wire)) into.push(digestFromWire(fn, wire, field));
  };
  for (const file of result.outputFiles) add(files, file.digest, 'output_files.digest');
  for (const directory of result.outputDirectories) {
    add(trees, directory.treeDigest, 'output_directories.tree_digest');
    add(roots, directory.rootDirectoryDigest, 'output_directories.root_directory_digest');
  }
  add(files, result.stdoutDigest, 'stdout_digest');
  add(files, result.stderrDigest, 'stderr_digest');
  return { files, trees, roots };
}

/** Whether a digest is absent, or a message without any field set. */
export function isEmptyMessage(wire: WireDigest | undefined): boolean {
  return wire === undefined || (wire.hash === '' && wire.sizeBytes === 0n);
}
