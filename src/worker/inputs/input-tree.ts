import { type Digest, digestKey, isEmptyBlob } from '../../digest/digest.ts';
import { ReapiError, throwIfAborted } from '../../errors.ts';
import { batchesOf } from '../batches.ts';
import type { WorkerStore } from '../worker-store.ts';
import type { DirectoryCache, InputDirectory } from './directory-cache.ts';

/** Bounds for an input tree; an action above them is refused with `invalid-argument`. */
export interface TreeLimits {
  /** Directories below each other. */
  readonly maxDepth: number;
  /** Files, directories and symlinks after expansion: a directory that occurs twice counts twice. */
  readonly maxEntries: number;
  /** Largest single Directory message. */
  readonly maxDirectoryBytes: number;
}

/** One directory of the expanded tree; parents come before their children. */
export interface PlacedDirectory {
  /** Relative to the root, without leading slash; '' is the root. */
  readonly path: string;
  readonly directory: InputDirectory;
}

/** The whole tree, or as much of it as could be read. */
export interface InputTree {
  readonly directories: readonly PlacedDirectory[];
  /** Directory messages that the CAS does not have, each once (R-EX-45). */
  readonly missing: readonly Digest[];
}

/** Directory messages fetched at a time; bounds memory for very wide levels. */
const MAX_LEVEL_BATCH_BYTES = 16 * 1024 * 1024;

/**
 * Reads a tree level by level, one batched call for all unknown directories of a level, so that a warm worker makes
 * none and a cold one as many calls as the tree is deep.
 * @throws invalid-argument (R-CM-08, R-CM-10); whatever the store throws.
 */
export async function readInputTree(
  root: Digest,
  source: { readonly store: WorkerStore; readonly cache: DirectoryCache },
  limits: TreeLimits,
  signal: AbortSignal,
): Promise<InputTree> {
  const directories: PlacedDirectory[] = [];
  const missing = new Map<string, Digest>();
  let level: { path: string; digest: Digest }[] = [{ path: '', digest: root }];
  let entries = 0;
  for (let depth = 0; level.length > 0; depth++) {
    throwIfAborted(signal);
    if (depth > limits.maxDepth) throw tooBig(`is deeper than ${limits.maxDepth} directories`);
    const known = await readLevel(level, source, limits, signal);
    const next: typeof level = [];
    for (const { path, digest } of level) {
      const directory = known.get(digestKey(digest));
      if (directory === undefined) {
        missing.set(digestKey(digest), digest);
        continue;
      }
      directories.push({ path, directory });
      entries += directory.files.length + directory.directories.length + directory.symlinks.length;
      if (entries > limits.maxEntries) throw tooBig(`has more than ${limits.maxEntries} entries`);
      const prefix = path === '' ? '' : `${path}/`;
      for (const child of directory.directories) next.push({ path: prefix + child.name, digest: child.digest });
    }
    level = next;
  }
  return { directories, missing: [...missing.values()] };
}

async function readLevel(
  level: readonly { readonly digest: Digest }[],
  source: { readonly store: WorkerStore; readonly cache: DirectoryCache },
  limits: TreeLimits,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, InputDirectory>> {
  const known = new Map<string, InputDirectory>();
  const unknown = new Map<string, Digest>();
  for (const { digest } of level) {
    const key = digestKey(digest);
    const cached = source.cache.get(digest) ?? (isEmptyBlob(digest) ? EMPTY : undefined);
    if (cached !== undefined) known.set(key, cached);
    else if (digest.sizeBytes > limits.maxDirectoryBytes) {
      throw tooBig(`has a directory of more than ${limits.maxDirectoryBytes} bytes`);
    } else unknown.set(key, digest);
  }
  for (const batch of batchesOf(unknown.values(), (digest) => digest.sizeBytes, MAX_LEVEL_BATCH_BYTES)) {
    const found = await source.store.readAll(batch, signal);
    for (const digest of batch) {
      const bytes = found.get(digestKey(digest));
      if (bytes !== undefined) known.set(digestKey(digest), source.cache.add(digest, bytes));
    }
  }
  return known;
}

/** The blob of zero bytes is a Directory without entries (R-CAS-01). */
const EMPTY: InputDirectory = { files: [], directories: [], symlinks: [] };

function tooBig(what: string): ReapiError {
  return new ReapiError('invalid-argument', `the input root ${what}`, { field: 'input_root_digest' });
}
