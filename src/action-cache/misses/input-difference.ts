import { type Digest, digestFromWire, digestPath, sameDigest } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import {
  Directory,
  type NodeProperties,
  type Digest as WireDigest,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DifferenceList } from './difference-list.ts';
import type { MessageReader } from './message-reader.ts';

/** Two directories of the same path. */
interface Pair {
  /** Empty for the root, else ending in a slash. */
  readonly path: string;
  readonly before: Digest;
  readonly after: Digest;
}

/** An entry of a directory. */
interface Node {
  /** All that makes it what it is, for people. */
  readonly text: string;
  /** Set if it is a directory. */
  readonly directory?: Digest;
}

/**
 * Compares two input trees, level by level, reading only directories whose digests differ: equal digests are equal trees.
 * A directory that only one side has is one difference, its name ending in a slash. Stops after `maxDirectories` pairs;
 * what is left is counted as one more difference each.
 */
export async function compareInputs(
  reader: MessageReader,
  roots: { readonly before: Digest; readonly after: Digest },
  list: DifferenceList,
  maxDirectories: number,
): Promise<void> {
  let level: readonly Pair[] = [{ path: '', ...roots }];
  let read = 0;
  while (level.length > 0) {
    const below: Pair[] = [];
    for (const pair of level) {
      if (sameDigest(pair.before, pair.after)) continue;
      if (read++ < maxDirectories) {
        // One by one: a directory may have more of them than a call may have arguments.
        for (const both of await comparePair(reader, pair, list)) below.push(both);
      } else list.compare('inputs', pair.path, digestPath(pair.before), digestPath(pair.after));
    }
    level = below;
  }
}

/** @returns the directories that both have. */
async function comparePair(
  reader: MessageReader,
  { path, before, after }: Pair,
  list: DifferenceList,
): Promise<Pair[]> {
  const what = `Directory ${path === '' ? '/' : path}`;
  const [old, current] = await Promise.all([
    reader.read('before', what, directoryCodec(before.function), before),
    reader.read('after', what, directoryCodec(after.function), after),
  ]);
  if (old === undefined || current === undefined) return [];
  const both: Pair[] = [];
  for (const name of [...new Set([...old.nodes.keys(), ...current.nodes.keys()])].sort()) {
    const nodeBefore = old.nodes.get(name);
    const nodeAfter = current.nodes.get(name);
    if (nodeBefore?.directory !== undefined && nodeAfter?.directory !== undefined) {
      both.push({ path: `${path}${name}/`, before: nodeBefore.directory, after: nodeAfter.directory });
      continue;
    }
    const only = nodeBefore === undefined ? nodeAfter : nodeAfter === undefined ? nodeBefore : undefined;
    const slash = only?.directory === undefined ? '' : '/';
    list.compare('inputs', `${path}${name}${slash}`, nodeBefore?.text, nodeAfter?.text);
  }
  list.compare('inputs', path === '' ? '/' : path, old.properties, current.properties);
  return both;
}

interface LoadedDirectory {
  readonly nodes: ReadonlyMap<string, Node>;
  readonly properties: string | undefined;
}

/** Decodes Directories of a digest function. @throws invalid-argument for a malformed digest. */
function directoryCodec(fn: DigestFunction): { decode(bytes: Uint8Array): LoadedDirectory } {
  return {
    decode(bytes) {
      const directory = Directory.decode(bytes);
      return { nodes: nodesOf(fn, directory), properties: properties(directory.nodeProperties) };
    },
  };
}

function nodesOf(fn: DigestFunction, directory: Directory): Map<string, Node> {
  const nodes = new Map<string, Node>();
  for (const { name, digest, isExecutable, nodeProperties } of directory.files) {
    const parts = [nodeDigest(fn, digest), isExecutable ? 'executable' : '', properties(nodeProperties) ?? ''];
    nodes.set(name, { text: parts.filter((part) => part !== '').join(', ') });
  }
  for (const { name, target, nodeProperties } of directory.symlinks) {
    const parts = [`symbolic link to ${target}`, properties(nodeProperties) ?? ''];
    nodes.set(name, { text: parts.filter((part) => part !== '').join(', ') });
  }
  for (const { name, digest } of directory.directories) {
    const child = digestFromWire(fn, digest, 'DirectoryNode.digest');
    nodes.set(name, { text: `directory ${digestPath(child)}`, directory: child });
  }
  return nodes;
}

function nodeDigest(fn: DigestFunction, wire: WireDigest | undefined): string {
  return digestPath(digestFromWire(fn, wire, 'FileNode.digest'));
}

/** Node properties for people; undefined if there are none. */
function properties(given: NodeProperties | undefined): string | undefined {
  if (given === undefined) return undefined;
  const parts = given.properties.map(({ name, value }) => `${name}=${value}`).sort();
  const { mtime, unixMode } = given;
  if (mtime !== undefined) parts.push(`modified ${mtime.seconds}.${String(mtime.nanos).padStart(9, '0')}`);
  if (unixMode !== undefined) parts.push(`mode ${unixMode.toString(8)}`);
  return parts.join(', ');
}
