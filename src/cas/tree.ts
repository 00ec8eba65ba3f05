import { type Digest, digestKey, parseDigest } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { isKind, ReapiError } from '../errors.ts';
import { forEachBounded } from '../system/for-each-bounded.ts';
import { asBuffer, WireReader, WireType } from '../system/protobuf-wire.ts';
import type { BlobStore } from './blob-store.ts';
import { readDigest } from './cas-wire.ts';

/** Bounds on one walk over Directory messages. */
export interface TreeLimits {
  /** Most distinct directories. */
  readonly maxDirectories: number;
  /** Longest path from the root, in directories. */
  readonly maxDepth: number;
  /** Largest Directory message. */
  readonly maxDirectoryBytes: number;
}

/** One Directory of a walk. */
export interface WalkedDirectory {
  readonly digest: Digest;
  /** As stored; undefined if the blob is absent. */
  readonly bytes: Uint8Array | undefined;
  /** Files of this directory, repeats included; empty if it is absent. */
  readonly files: readonly Digest[];
}

/** What a Directory message refers to. */
export interface DirectoryLinks {
  readonly directories: readonly Digest[];
  readonly files: readonly Digest[];
}

/** Directories read at the same time, and no more than so many held in memory by a walk. */
const READ_WIDTH = 16;

/**
 * Every distinct Directory at and below `root`, level by level, the root first (R-CAS-17). Absent ones come without bytes.
 * Cycles cannot occur, since a digest contains those below it.
 * @throws too-large beyond a limit; invalid-argument for a blob that is no Directory; whatever the store throws.
 */
export async function* walkDirectories(
  store: BlobStore,
  root: Digest,
  limits: TreeLimits,
  signal: AbortSignal,
): AsyncGenerator<WalkedDirectory, void> {
  const seen = new Set([digestKey(root)]);
  let level: readonly Digest[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limits.maxDepth) {
      throw new ReapiError('too-large', `the tree is deeper than ${limits.maxDepth} directories`);
    }
    const below: Digest[] = [];
    for (let at = 0; at < level.length; at += READ_WIDTH) {
      const digests = level.slice(at, at + READ_WIDTH);
      for (const { directory, children } of await readAll(store, digests, limits, signal)) {
        for (const child of children) addNew(child, seen, below, limits);
        yield directory;
      }
    }
    level = below;
  }
}

interface ReadDirectory {
  readonly directory: WalkedDirectory;
  readonly children: readonly Digest[];
}

async function readAll(
  store: BlobStore,
  digests: readonly Digest[],
  limits: TreeLimits,
  signal: AbortSignal,
): Promise<readonly ReadDirectory[]> {
  const read = new Map<number, ReadDirectory>();
  await forEachBounded(digests.length, READ_WIDTH, async (index) => {
    const digest = digests[index];
    if (digest !== undefined) read.set(index, await readOne(store, digest, limits, signal));
  });
  return digests.flatMap((_, index) => read.get(index) ?? []);
}

async function readOne(
  store: BlobStore,
  digest: Digest,
  limits: TreeLimits,
  signal: AbortSignal,
): Promise<ReadDirectory> {
  if (digest.sizeBytes > limits.maxDirectoryBytes) {
    const message = `the Directory ${digest.hash} has ${digest.sizeBytes} bytes; at most ${limits.maxDirectoryBytes} are served`;
    throw new ReapiError('too-large', message);
  }
  let bytes: Uint8Array;
  try {
    bytes = await store.getBytes(digest, signal);
  } catch (error) {
    if (!isKind(error, 'blob-not-found')) throw error;
    return { directory: { digest, bytes: undefined, files: [] }, children: [] };
  }
  try {
    const { directories, files } = directoryLinks(digest.function, bytes);
    return { directory: { digest, bytes, files }, children: directories };
  } catch (error) {
    throw ReapiError.wrap(error, `the Directory ${digest.hash}`);
  }
}

function addNew(child: Digest, seen: Set<string>, below: Digest[], limits: TreeLimits): void {
  const key = digestKey(child);
  if (seen.has(key)) return;
  if (seen.size >= limits.maxDirectories) {
    throw new ReapiError('too-large', `the tree has more than ${limits.maxDirectories} directories`);
  }
  seen.add(key);
  below.push(child);
}

/**
 * The digests in an encoded Directory, in its order, repeats included. Files are in field 1, directories in field 2, and
 * both nodes have their digest in field 2.
 * @throws invalid-argument for bytes that are no Directory, and for malformed digests.
 */
export function directoryLinks(fn: DigestFunction, directory: Uint8Array): DirectoryLinks {
  const bytes = asBuffer(directory);
  const files: Digest[] = [];
  const directories: Digest[] = [];
  try {
    const reader = new WireReader(bytes);
    while (reader.next()) {
      if (reader.is(1, WireType.delimited)) files.push(nodeDigest(fn, bytes, reader));
      else if (reader.is(2, WireType.delimited)) directories.push(nodeDigest(fn, bytes, reader));
    }
  } catch (error) {
    if (!isKind(error, 'undecodable')) throw error;
    throw new ReapiError('invalid-argument', 'the blob is not a Directory message', { cause: error });
  }
  return { directories, files };
}

/**
 * The digests of all files in an encoded Tree.
 * @throws invalid-argument for bytes that are no Tree, and for malformed digests.
 */
export function treeFiles(fn: DigestFunction, tree: Uint8Array): readonly Digest[] {
  const files: Digest[] = [];
  for (const { bytes } of directoriesInTree(tree)) {
    for (const file of directoryLinks(fn, bytes).files) files.push(file);
  }
  return files;
}

/**
 * The directories of an encoded Tree as they stand in it, so that their digests are right: its root is field 1, the others are field 2.
 * @throws invalid-argument for bytes that are no Tree.
 */
export function* directoriesInTree(tree: Uint8Array): Generator<{ readonly isRoot: boolean; readonly bytes: Buffer }> {
  try {
    const reader = new WireReader(asBuffer(tree));
    while (reader.next()) {
      const isRoot = reader.is(1, WireType.delimited);
      if (isRoot || reader.is(2, WireType.delimited)) yield { isRoot, bytes: reader.bytes() };
    }
  } catch (error) {
    if (!isKind(error, 'undecodable')) throw error;
    throw new ReapiError('invalid-argument', 'the blob is not a Tree message', { cause: error });
  }
}

function nodeDigest(fn: DigestFunction, bytes: Buffer, parent: WireReader): Digest {
  const start = parent.delimited();
  const reader = new WireReader(bytes, start, parent.at);
  let digest: Digest | undefined;
  while (reader.next()) {
    if (reader.is(2, WireType.delimited)) {
      const from = reader.delimited();
      const { hash, sizeBytes } = readDigest(bytes, from, reader.at);
      digest = parseDigest(fn, hash, sizeBytes);
    }
  }
  if (digest === undefined) throw new ReapiError('invalid-argument', 'a node has no digest');
  return digest;
}
