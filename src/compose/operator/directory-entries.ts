import { directoriesInTree } from '../../cas/tree.ts';
import { type Digest, digestFromWire, digestKey } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { digestOf } from '../../digest/hasher.ts';
import { ReapiError } from '../../errors.ts';
import { Directory } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { asBuffer, WireReader } from '../../system/protobuf-wire.ts';

/** One name in a Directory. */
export type DirectoryEntry =
  | { readonly type: 'file'; readonly name: string; readonly digest: Digest; readonly isExecutable: boolean }
  | { readonly type: 'directory'; readonly name: string; readonly digest: Digest }
  | { readonly type: 'symlink'; readonly name: string; readonly target: string };

/** Numbers of `files`, `directories`, `symlinks` and `node_properties`. */
const DIRECTORY_FIELDS: readonly number[] = [1, 2, 3, 5];

/** A Tree taken apart: its root, and the other directories by the `digestKey` of their bytes. */
export interface TreeParts {
  readonly root: Uint8Array;
  readonly children: ReadonlyMap<string, Uint8Array>;
}

/**
 * What an encoded Directory holds, by name.
 * @throws invalid-argument: it is none. A Tree never passes for one: its root would be a file with a line feed for a name.
 */
export function directoryEntries(fn: DigestFunction, bytes: Uint8Array): readonly DirectoryEntry[] {
  const { files, directories, symlinks } = decodeDirectory(bytes);
  const entries: readonly DirectoryEntry[] = [
    ...files.map(
      ({ name, digest, isExecutable }): DirectoryEntry => ({
        type: 'file',
        name,
        digest: digestFromWire(fn, digest, 'FileNode.digest'),
        isExecutable,
      }),
    ),
    ...directories.map(
      ({ name, digest }): DirectoryEntry => ({
        type: 'directory',
        name,
        digest: digestFromWire(fn, digest, 'DirectoryNode.digest'),
      }),
    ),
    ...symlinks.map(({ name, target }): DirectoryEntry => ({ type: 'symlink', name, target })),
  ];
  for (const { name } of entries) {
    if (name === '' || name.startsWith('\n') || name.includes('/')) {
      throw new ReapiError('invalid-argument', 'a name in it is not the name of a file');
    }
  }
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
}

/**
 * An encoded Tree taken apart.
 * @throws invalid-argument: it is none, or has no root.
 */
export function treeParts(fn: DigestFunction, tree: Uint8Array): TreeParts {
  const children = new Map<string, Uint8Array>();
  let root: Uint8Array | undefined;
  for (const { isRoot, bytes } of directoriesInTree(tree)) {
    if (isRoot) root = bytes;
    else children.set(digestKey(digestOf(fn, bytes)), bytes);
  }
  if (root === undefined) throw new ReapiError('invalid-argument', 'the blob is not a Tree message: it has no root');
  return { root, children };
}

/** Text often parses as fields that no schema has; what has no other field is taken for text. */
function decodeDirectory(bytes: Uint8Array): Directory {
  try {
    const reader = new WireReader(asBuffer(bytes));
    let isKnown = bytes.length === 0;
    while (reader.next()) isKnown ||= DIRECTORY_FIELDS.includes(reader.field);
    if (isKnown) return Directory.decode(bytes);
  } catch (error) {
    throw new ReapiError('invalid-argument', 'the blob is not a Directory message', { cause: error });
  }
  throw new ReapiError('invalid-argument', 'the blob has no field of a Directory message');
}
