import { type Digest, digestFromWire } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { ActionResult, Digest as WireDigest } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** An output directory of a result, in one of its two forms; a result may give both. */
export interface OutputDirectoryDigest {
  /** A Tree message that holds all directories, or the root of separate Directory messages. */
  readonly kind: 'tree' | 'root-directory';
  /** As in the result. */
  readonly path: string;
  readonly digest: Digest;
}

/** The blobs an action result refers to by itself. Repeats are possible. */
export interface OutputDigests {
  /** Output files in order, then stdout and stderr. */
  readonly files: readonly Digest[];
  readonly directories: readonly OutputDirectoryDigest[];
}

/**
 * Every digest in a result. An absent or empty digest message stands for the empty blob, which is always there (R-AC-03).
 * @throws invalid-argument for a malformed digest; `field` names it.
 */
export function outputDigests(fn: DigestFunction, result: ActionResult): OutputDigests {
  const files: Digest[] = [];
  const directories: OutputDirectoryDigest[] = [];
  const addFile = (wire: WireDigest | undefined, field: string): void => {
    if (!isEmptyMessage(wire)) files.push(digestFromWire(fn, wire, field));
  };
  for (const file of result.outputFiles) addFile(file.digest, 'output_files.digest');
  addFile(result.stdoutDigest, 'stdout_digest');
  addFile(result.stderrDigest, 'stderr_digest');
  for (const { path, treeDigest, rootDirectoryDigest } of result.outputDirectories) {
    if (!isEmptyMessage(treeDigest)) {
      const digest = digestFromWire(fn, treeDigest, 'output_directories.tree_digest');
      directories.push({ kind: 'tree', path, digest });
    }
    if (!isEmptyMessage(rootDirectoryDigest)) {
      const digest = digestFromWire(fn, rootDirectoryDigest, 'output_directories.root_directory_digest');
      directories.push({ kind: 'root-directory', path, digest });
    }
  }
  return { files, directories };
}

/** Whether a digest is absent, or a message without any field set. */
export function isEmptyMessage(wire: WireDigest | undefined): boolean {
  return wire === undefined || (wire.hash === '' && wire.sizeBytes === 0n);
}
