import { digestPath } from '../../digest/digest.ts';
import { isKind, ReapiError } from '../../errors.ts';
import type { RemoteStore } from '../../worker/remote-store.ts';
import type { NamedDigest } from './digest-argument.ts';
import { directoryEntries, type TreeParts, treeParts } from './directory-entries.ts';
import { type DirectorySource, type ListedEntry, listDirectory } from './list-directory.ts';
import { MAX_DECODED_BYTES, readMessage, remoteBlobs } from './remote-blobs.ts';
import { withServer } from './server-connection.ts';
import { printable, type Terminal } from './terminal.ts';

/** What is to be listed, and how. */
export interface LsOptions {
  readonly name: NamedDigest;
  readonly isRecursive: boolean;
  /** Takes the blob for a Tree. Otherwise it is looked at: a Directory if it can be one, else a Tree. */
  readonly isTree: boolean;
  readonly signal: AbortSignal;
}

const LIMITS = { maxEntries: 1_000_000, maxDepth: 100, maxBatchBytes: 3 * 1024 * 1024 };

/** Characters of a hash that are shown: enough to tell blobs apart, as in other tools. */
const HASH_CHARACTERS = 12;

/** Columns of a size; larger ones shift their line. */
const SIZE_COLUMNS = 12;

/**
 * `gantry ls`: lists a Directory or a Tree, one entry a line: type and `x`, size, beginning of the hash, name.
 * @returns whether all directories were there. @throws blob-not-found, invalid-argument, too-large; as the calls do.
 */
export async function listBlob(target: string, terminal: Terminal, options: LsOptions): Promise<boolean> {
  const { name, isRecursive, signal } = options;
  return withServer(target, async (client) => {
    const store = remoteBlobs(client, name);
    const blob = await readMessage(store, name.digest, signal);
    const { bytes, source } = await rootOf(blob, store, options);
    const root = { digestFunction: name.digest.function, bytes };
    let isWhole = true;
    for await (const listed of listDirectory(root, isRecursive ? source : undefined, LIMITS)) {
      if (!(await terminal.writeOut(Buffer.from(lineOf(listed))))) return true;
      isWhole &&= !listed.isMissing;
    }
    return isWhole;
  });
}

async function rootOf(
  blob: Uint8Array,
  store: RemoteStore,
  { name, isTree, signal }: LsOptions,
): Promise<{ readonly bytes: Uint8Array; readonly source: DirectorySource }> {
  const fn = name.digest.function;
  if (!isTree && isDirectory(blob, name)) return { bytes: blob, source: remoteSource(store, signal) };
  const { root, children } = isTree ? treeParts(fn, blob) : treeOrNothing(blob, name);
  return { bytes: root, source: async () => children };
}

function treeOrNothing(blob: Uint8Array, { digest }: NamedDigest): TreeParts {
  try {
    const parts = treeParts(digest.function, blob);
    directoryEntries(digest.function, parts.root);
    return parts;
  } catch (error) {
    if (!isKind(error, 'invalid-argument')) throw error;
    throw new ReapiError('invalid-argument', 'the blob is neither a Directory nor a Tree', { cause: error });
  }
}

function isDirectory(blob: Uint8Array, { digest }: NamedDigest): boolean {
  try {
    directoryEntries(digest.function, blob);
    return true;
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return false;
    throw error;
  }
}

function remoteSource(store: RemoteStore, signal: AbortSignal): DirectorySource {
  return (digests) => {
    const tooLarge = digests.find(({ sizeBytes }) => sizeBytes > MAX_DECODED_BYTES);
    if (tooLarge === undefined) return store.readAll(digests, signal);
    throw new ReapiError('too-large', `the Directory ${digestPath(tooLarge)} is too large to be listed`);
  };
}

function lineOf({ path, entry, isMissing }: ListedEntry): string {
  const shown = printable(path);
  if (entry.type === 'symlink') return row('l-', '', '', `${shown} -> ${printable(entry.target)}`);
  const { hash, sizeBytes } = entry.digest;
  const columns = [String(sizeBytes), hash.slice(0, HASH_CHARACTERS)] as const;
  if (entry.type === 'file') return row(entry.isExecutable ? '-x' : '--', ...columns, shown);
  return row('d-', ...columns, `${shown}/${isMissing ? ' (missing)' : ''}`);
}

function row(mode: string, size: string, hash: string, name: string): string {
  return `${mode} ${size.padStart(SIZE_COLUMNS)} ${hash.padEnd(HASH_CHARACTERS)} ${name}\n`;
}
