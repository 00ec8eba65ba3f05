import type { BlobStore } from '../../cas/blob-store.ts';
import { directoriesInTree } from '../../cas/tree.ts';
import { parseDigest } from '../../digest/digest.ts';
import { type DigestFunction, digestFunctionNamed } from '../../digest/digest-function.ts';
import { digestOf } from '../../digest/hasher.ts';
import { type DigestFact, isKind } from '../../errors.ts';
import { Directory } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/**
 * The path of a file inside an output directory, by its digest: the first of several. Undefined if the Tree is gone,
 * damaged, larger than the limit, or has no such file: it is a favour to the reader of a report.
 * @throws unavailable; cancelled.
 */
export async function pathInTree(
  store: BlobStore,
  tree: DigestFact,
  file: DigestFact,
  options: { readonly maxTreeBytes: number; readonly signal: AbortSignal },
): Promise<string | undefined> {
  const fn = digestFunctionNamed(tree.function);
  if (fn === undefined || tree.sizeBytes > options.maxTreeBytes) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = await store.getBytes(parseDigest(fn, tree.hash, tree.sizeBytes), options.signal);
  } catch (error) {
    if (isKind(error, 'blob-not-found') || isKind(error, 'data-loss') || isKind(error, 'invalid-argument'))
      return undefined;
    throw error;
  }
  try {
    return search(fn, bytes, file);
  } catch {
    // No Tree: there is no path to be found.
    return undefined;
  }
}

function search(fn: DigestFunction, tree: Uint8Array, file: DigestFact): string | undefined {
  const children = new Map<string, Uint8Array>();
  let root: Uint8Array | undefined;
  for (const { isRoot, bytes } of directoriesInTree(tree)) {
    if (isRoot) root = bytes;
    else children.set(digestOf(fn, bytes).hash, bytes);
  }
  const open = [{ path: '', bytes: root }];
  for (const { path, bytes } of open) {
    if (bytes === undefined) continue;
    const { files, directories } = Directory.decode(bytes);
    const found = files.find(({ digest }) => digest?.hash === file.hash && digest.sizeBytes === BigInt(file.sizeBytes));
    if (found !== undefined) return `${path}${found.name}`;
    for (const { name, digest } of directories) {
      const hash = digest?.hash ?? '';
      open.push({ path: `${path}${name}/`, bytes: children.get(hash) });
      // Once is enough: what is below it is the same wherever it is.
      children.delete(hash);
    }
  }
  return undefined;
}
