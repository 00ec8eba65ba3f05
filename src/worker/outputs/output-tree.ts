import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Digest, digestKey, digestToWire } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { digestOf } from '../../digest/hasher.ts';
import { ReapiError, systemCode, throwIfAborted } from '../../errors.ts';
import { Directory, type FileNode } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { nodePropertiesOf, type PropertyWishes } from './node-properties.ts';
import { digestFile, type OutputBlob } from './output-files.ts';

/** Entries collected before other slots get a turn. */
const ENTRIES_PER_TURN = 100;

/** Bounds for what one action may hand back. */
export interface OutputLimits {
  /** Entries of all output directories together. */
  readonly maxEntries: number;
  readonly maxDepth: number;
  /** Files up to this size stay in memory between hashing and upload … */
  readonly keepBelowBytes: number;
  /** … until they add up to this. */
  readonly maxKeptBytes: number;
}

/** One Directory message of the tree. */
export interface TreeNode {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** A directory as collected. */
export interface CollectedTree {
  /** The root first, every parent before its children, each directory once (R-CM-29). */
  readonly nodes: readonly TreeNode[];
  readonly root: Digest;
  /** The encoded Tree message. */
  readonly tree: TreeNode;
}

/** What a walk needs to know and what it gathers. */
export interface TreeCollection {
  readonly digestFunction: DigestFunction;
  readonly wishes: PropertyWishes;
  readonly limits: OutputLimits;
  /** Grows by the contents of files. */
  readonly blobs: OutputBlob[];
  /** Entries that may still be collected; shared by all directories of an action. */
  readonly budget: { entries: number; keptBytes: number };
  readonly signal: AbortSignal;
}

/** Hashes one file and adds it to what is to be uploaded. */
export async function collectFile(path: string, collection: TreeCollection): Promise<Omit<FileNode, 'name'>> {
  const { digestFunction, limits, budget, wishes, blobs, signal } = collection;
  const keepBelowBytes = Math.min(limits.keepBelowBytes, budget.keptBytes);
  const { blob, stat } = await digestFile(path, digestFunction, { keepBelowBytes }, signal);
  if ('bytes' in blob) budget.keptBytes -= blob.bytes.length;
  blobs.push(blob);
  return {
    digest: digestToWire(blob.digest),
    isExecutable: (stat.mode & 0o111) !== 0,
    nodeProperties: nodePropertiesOf(wishes, stat),
  };
}

/** Reads the directory at `path`. @throws precondition: too large, too deep, a socket, device or pipe, a name that is not UTF-8. */
export async function collectTree(path: string, collection: TreeCollection): Promise<CollectedTree> {
  // Directories are finished children first; the first finish of a digest has all its descendants before it, so the
  // reversed list has every parent before its children however often a directory occurs.
  const finished = new Map<string, TreeNode>();
  const root = await collectDirectory(path, 0, finished, collection);
  const nodes = [...finished.values()].reverse();
  const bytes = encodeTree(nodes);
  return { nodes, root: root.digest, tree: { digest: digestOf(collection.digestFunction, bytes), bytes } };
}

/** Tree {root 1, children 2} as the record stream of R-CM-29: the root is tag 0x0a, everything else 0x12. */
export function encodeTree(nodes: readonly TreeNode[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [at, node] of nodes.entries()) {
    parts.push(Uint8Array.from([at === 0 ? 0x0a : 0x12, ...varint(node.bytes.length)]), node.bytes);
  }
  return Buffer.concat(parts);
}

async function collectDirectory(
  path: string,
  depth: number,
  finished: Map<string, TreeNode>,
  collection: TreeCollection,
): Promise<TreeNode> {
  if (depth > collection.limits.maxDepth) {
    throw new ReapiError('precondition', `an output directory is deeper than ${collection.limits.maxDepth} levels`);
  }
  throwIfAborted(collection.signal);
  const message = Directory.create();
  let done = 0;
  for (const name of readNames(path, collection)) {
    if (++done % ENTRIES_PER_TURN === 0) await nextTurn();
    await collectEntry(message, { path: `${path}/${name}`, name, depth }, finished, collection);
  }
  message.nodeProperties = nodePropertiesOf(collection.wishes, lstatSync(path));
  const bytes = Directory.encode(message).finish();
  const node = { digest: digestOf(collection.digestFunction, bytes), bytes };
  const key = digestKey(node.digest);
  if (!finished.has(key)) finished.set(key, node);
  return node;
}

async function collectEntry(
  message: Directory,
  entry: { readonly path: string; readonly name: string; readonly depth: number },
  finished: Map<string, TreeNode>,
  collection: TreeCollection,
): Promise<void> {
  const { path, name } = entry;
  const stat = lstatSync(path);
  if (stat.isDirectory()) {
    const child = await collectDirectory(path, entry.depth + 1, finished, collection);
    message.directories.push({ name, digest: digestToWire(child.digest) });
  } else if (stat.isSymbolicLink()) {
    const nodeProperties = nodePropertiesOf(collection.wishes, stat);
    message.symlinks.push({ name, target: targetOf(path), nodeProperties });
  } else if (stat.isFile()) {
    message.files.push({ name, ...(await collectFile(path, collection)) });
  } else {
    throw new ReapiError('precondition', `"${name}" in an output directory is a socket, pipe or device`);
  }
}

/** What a symlink leads to. @throws precondition if no message can say it. */
export function targetOf(path: string): string {
  const bytes = readlinkSync(path, { encoding: 'buffer' });
  const target = bytes.toString('utf8');
  if (Buffer.compare(Buffer.from(target), bytes) === 0) return target;
  throw new ReapiError('precondition', `the target ${JSON.stringify(target)} of a symlink is not UTF-8`);
}

/** Names in the order of their UTF-8 bytes (R-CM-08). */
function readNames(path: string, collection: TreeCollection): string[] {
  const raw = readRaw(path);
  collection.budget.entries -= raw.length;
  if (collection.budget.entries < 0) {
    throw new ReapiError(
      'precondition',
      `the output directories have more than ${collection.limits.maxEntries} entries`,
    );
  }
  return raw.sort(Buffer.compare).map((bytes) => {
    const name = bytes.toString('utf8');
    if (Buffer.compare(Buffer.from(name), bytes) === 0) return name;
    throw new ReapiError('precondition', `the name ${JSON.stringify(name)} in an output directory is not UTF-8`);
  });
}

function readRaw(path: string): Buffer[] {
  try {
    return readdirSync(path, { encoding: 'buffer' });
  } catch (error) {
    const code = systemCode(error) ?? 'unknown';
    throw new ReapiError('precondition', `an output directory cannot be read (${code})`, { cause: error });
  }
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}
