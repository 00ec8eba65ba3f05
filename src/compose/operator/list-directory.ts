import { type Digest, digestKey } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { ReapiError } from '../../errors.ts';
import { batchesOf } from '../../worker/batches.ts';
import { type DirectoryEntry, directoryEntries } from './directory-entries.ts';

/** Encoded Directories by `digestKey`; absent ones are left out. */
export type DirectorySource = (digests: readonly Digest[]) => Promise<ReadonlyMap<string, Uint8Array>>;

/** One line of a listing. */
export interface ListedEntry {
  /** Below the root, with slashes. */
  readonly path: string;
  readonly entry: DirectoryEntry;
  /** A directory that should be listed and is not there. */
  readonly isMissing: boolean;
}

/** Bounds of one listing. A digest contains what is below it, so there are no cycles, but few blobs can make many paths. */
export interface ListingLimits {
  readonly maxEntries: number;
  /** Longest path, in directories. */
  readonly maxDepth: number;
  /** Directories of one parent that are held in memory together. */
  readonly maxBatchBytes: number;
}

/** Where a listing starts: an encoded Directory, and the function of the digests in it. */
export interface ListingRoot {
  readonly digestFunction: DigestFunction;
  readonly bytes: Uint8Array;
}

/**
 * What is in a directory, in the order of names; with `source` also what is below it, each directory before its contents.
 * @throws too-large beyond a limit; invalid-argument for a blob that is no Directory; what `source` throws.
 */
export async function* listDirectory(
  root: ListingRoot,
  source: DirectorySource | undefined,
  limits: ListingLimits,
): AsyncGenerator<ListedEntry, void> {
  let left = limits.maxEntries;
  const list = async function* (bytes: Uint8Array, prefix: string, depth: number): AsyncGenerator<ListedEntry, void> {
    if (depth > limits.maxDepth) throw new ReapiError('too-large', `it is deeper than ${limits.maxDepth} directories`);
    const entries = directoryEntries(root.digestFunction, bytes);
    const below = source === undefined ? undefined : new Children(source, entries, limits.maxBatchBytes);
    for (const entry of entries) {
      if (left-- <= 0) throw new ReapiError('too-large', `it has more than ${limits.maxEntries} entries`);
      const path = `${prefix}${entry.name}`;
      const child = entry.type === 'directory' ? await below?.read(entry.digest) : undefined;
      const isMissing = entry.type === 'directory' && below !== undefined && child === undefined;
      yield { path, entry, isMissing };
      if (child !== undefined) yield* list(child, `${path}/`, depth + 1);
    }
  };
  yield* list(root.bytes, '', 0);
}

/** The directories of one parent, read in batches as the listing comes to them. */
class Children {
  readonly #source: DirectorySource;
  readonly #batches: Iterator<Digest[], void>;
  #held: ReadonlyMap<string, Uint8Array> = new Map();
  #unread = 0;

  constructor(source: DirectorySource, entries: readonly DirectoryEntry[], maxBatchBytes: number) {
    this.#source = source;
    const digests = entries.flatMap((entry) => (entry.type === 'directory' ? [entry.digest] : []));
    this.#batches = batchesOf(digests, ({ sizeBytes }) => sizeBytes, maxBatchBytes)[Symbol.iterator]();
  }

  /** The next one, in the order of the entries. */
  async read(digest: Digest): Promise<Uint8Array | undefined> {
    if (this.#unread === 0) {
      const digests = this.#batches.next().value ?? [];
      this.#held = await this.#source(digests);
      this.#unread = digests.length;
    }
    this.#unread--;
    return this.#held.get(digestKey(digest));
  }
}
