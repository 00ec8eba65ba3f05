import { type Digest, sameDigest } from '../digest/digest.ts';
import { BugError } from '../errors.ts';
import type { ActionResult, Digest as WireDigest } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DirectoryNeeds } from './directory-needs.ts';
import { cutText } from './misses/cut-text.ts';
import type { BlobRole } from './misses/miss.ts';
import type { OutputDirectoryDigest } from './outputs.ts';

/** Longest path in a role; it is kept in a history and shown to people. */
const MAX_PATH_LENGTH = 512;

/** What output directories are known to consist of. */
export type NeedsByDirectory = ReadonlyMap<OutputDirectoryDigest, DirectoryNeeds>;

/** What a blob that a result needs is to it: the first role that fits, since one blob may have several. */
export function blobRole(blob: Digest, result: ActionResult, needs: NeedsByDirectory): BlobRole {
  const isIt = (wire: WireDigest | undefined): boolean =>
    wire?.hash === blob.hash && wire.sizeBytes === BigInt(blob.sizeBytes);
  const file = result.outputFiles.find(({ digest }) => isIt(digest));
  if (file !== undefined) return { kind: 'output-file', path: pathForPeople(file.path) };
  if (isIt(result.stdoutDigest)) return { kind: 'stdout' };
  if (isIt(result.stderrDigest)) return { kind: 'stderr' };
  for (const { kind, path, digest } of needs.keys()) {
    if (sameDigest(digest, blob)) return { kind, path: pathForPeople(path) };
  }
  for (const [{ kind, path, digest }, { digests }] of needs) {
    if (!digests.some((needed) => sameDigest(needed, blob))) continue;
    const shown = pathForPeople(path);
    return kind === 'tree' ? { kind: 'tree-file', path: shown, tree: digest } : { kind, path: shown };
  }
  throw new BugError('a blob that no output needs was asked for');
}

/** A path of a result, cut to what a history keeps. */
export function pathForPeople(path: string): string {
  return cutText(path, MAX_PATH_LENGTH);
}
