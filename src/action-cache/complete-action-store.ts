import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlobStore } from '../cas/blob-store.ts';
import { treeFiles, walkDirectories } from '../cas/tree.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { type Digest, isEmptyBlob, sameDigest } from '../digest/digest.ts';
import { type ErrorKind, isKind, ReapiError } from '../errors.ts';
import { forEachBounded } from '../system/for-each-bounded.ts';
import type { Semaphore } from '../system/semaphore.ts';
import type { ActionStore, OnMiss, StoredResult } from './action-store.ts';
import { blobRole, pathForPeople } from './blob-role.ts';
import { type DirectoryNeeds, DirectoryNeedsCache, distinctBlobs } from './directory-needs.ts';
import type { StoreMiss } from './misses/miss.ts';
import { type OutputDigests, type OutputDirectoryDigest, outputDigests } from './outputs.ts';

/** Bounds on the check of one result. A result beyond them is a miss. */
export interface CompletenessLimits {
  /** Largest Tree message that is read. */
  readonly maxTreeBytes: number;
  /** Most directories below all root digests of one result. */
  readonly maxTreeDirectories: number;
  readonly maxTreeDepth: number;
  /** Largest Directory message. */
  readonly maxDirectoryBytes: number;
  /** Memory for what output directories are known to consist of; 0 remembers nothing. */
  readonly treeCacheBytes: number;
}

/** Output directories of one result that are read at the same time. */
const TREE_WIDTH = 4;

/** Blobs looked up before other calls get their turn: some milliseconds of work. */
const LOOKUP_SLICE = 5000;

/** What makes a result unusable rather than the server: the client rebuilds, and overwrites it. */
const MISS_KINDS: ReadonlySet<ErrorKind> = new Set(['blob-not-found', 'data-loss', 'invalid-argument', 'too-large']);

/**
 * Answers a result only if all it refers to is in the store now, and refreshes the age of that (R-AC-02): output files,
 * stdout, stderr, Trees with the files in them, and everything below root directories. Directories inside a Tree are part
 * of it and need not be blobs of their own: clients that upload Trees do not upload those.
 */
export class CompleteActionStore implements ActionStore {
  readonly #inner: ActionStore;
  readonly #store: BlobStore;
  readonly #checks: Semaphore;
  readonly #limits: CompletenessLimits;
  readonly #known: DirectoryNeedsCache;

  /** @param checks bounds how many results with output directories are read at once: their Trees are held in memory. */
  constructor(inner: ActionStore, store: BlobStore, checks: Semaphore, limits: CompletenessLimits) {
    this.#inner = inner;
    this.#store = store;
    this.#checks = checks;
    this.#limits = limits;
    this.#known = new DirectoryNeedsCache(limits.treeCacheBytes);
  }

  /** Memory that known output directories take. */
  get treeCacheBytes(): number {
    return this.#known.bytes;
  }

  async get(key: ActionKey, signal: AbortSignal, onMiss?: OnMiss): Promise<StoredResult | undefined> {
    const result = await this.#inner.get(key, signal, onMiss);
    if (result === undefined) return undefined;
    const miss = await this.#check(key, result, signal);
    if (miss === undefined) return result;
    onMiss?.(miss);
    return undefined;
  }

  put(key: ActionKey, result: StoredResult, signal: AbortSignal): Promise<void> {
    return this.#inner.put(key, result, signal);
  }

  remove(key: ActionKey, signal: AbortSignal): Promise<boolean> {
    return this.#inner.remove(key, signal);
  }

  /** What is wrong with the result, or undefined. */
  async #check(key: ActionKey, result: StoredResult, signal: AbortSignal): Promise<StoreMiss | undefined> {
    let outputs: OutputDigests;
    try {
      outputs = outputDigests(key.action.function, result.message);
    } catch (error) {
      if (!isKind(error, 'invalid-argument')) throw error;
      return { reason: 'damaged', what: 'a digest in the stored action result' };
    }
    const needs = await this.#needsOf(outputs.directories, signal);
    if (!(needs instanceof Map)) return needs;
    const absent = await this.#absentOf(blobsOf(outputs, needs), signal);
    const [blob] = absent;
    if (blob === undefined) return undefined;
    return { reason: 'incomplete', blob, role: blobRole(blob, result.message, needs), absent: absent.length };
  }

  /** Those that are not in the store, in their order. An output directory may have hundreds of thousands. */
  async #absentOf(blobs: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    if (blobs.length === 0) return [];
    if (blobs.length <= LOOKUP_SLICE) return this.#store.findMissing(blobs, signal);
    const absent: Digest[] = [];
    for (let start = 0; start < blobs.length; start += LOOKUP_SLICE) {
      if (start > 0) await nextTurn();
      const slice = blobs.slice(start, start + LOOKUP_SLICE);
      for (const blob of await this.#store.findMissing(slice, signal)) absent.push(blob);
    }
    return absent;
  }

  /** What each output directory consists of, or what is wrong with one of them. */
  async #needsOf(directories: readonly OutputDirectoryDigest[], signal: AbortSignal): Promise<NeedsMap | StoreMiss> {
    const needs: NeedsMap = new Map();
    const unknown: OutputDirectoryDigest[] = [];
    let directoriesLeft = this.#limits.maxTreeDirectories;
    for (const directory of directories) {
      const known = this.#known.get(directory.kind, directory.digest);
      if (known === undefined) unknown.push(directory);
      else needs.set(directory, known);
      directoriesLeft -= known?.directories ?? 0;
    }
    if (directoriesLeft < 0) return { reason: 'too-large', what: 'the directories below its output directories' };
    if (unknown.length === 0) return needs;
    const miss = await this.#checks.run(signal, () => this.#read(unknown, directoriesLeft, needs, signal));
    return miss ?? needs;
  }

  async #read(
    unknown: readonly OutputDirectoryDigest[],
    maxDirectories: number,
    needs: NeedsMap,
    signal: AbortSignal,
  ): Promise<StoreMiss | undefined> {
    const trees = unknown.filter(({ kind }) => kind === 'tree');
    const roots = unknown.filter(({ kind }) => kind === 'root-directory');
    let miss: StoreMiss | undefined;
    const read = async (directory: OutputDirectoryDigest, load: () => Promise<DirectoryNeeds>): Promise<void> => {
      if (miss !== undefined) return;
      try {
        const loaded = await load();
        needs.set(directory, loaded);
        this.#known.set(directory.kind, directory.digest, loaded);
      } catch (error) {
        miss ??= missOf(error, directory);
      }
    };
    await forEachBounded(trees.length, TREE_WIDTH, async (index) => {
      const tree = trees[index];
      if (tree !== undefined) await read(tree, () => this.#readTree(tree.digest, signal));
    });
    let directoriesLeft = maxDirectories;
    for (const root of roots) {
      await read(root, () => this.#walk(root.digest, directoriesLeft, signal));
      directoriesLeft -= needs.get(root)?.directories ?? 0;
    }
    return miss;
  }

  async #readTree(tree: Digest, signal: AbortSignal): Promise<DirectoryNeeds> {
    if (tree.sizeBytes > this.#limits.maxTreeBytes) {
      throw new ReapiError('too-large', `a Tree of ${tree.sizeBytes} bytes`);
    }
    const files = treeFiles(tree.function, await this.#store.getBytes(tree, signal));
    return { digests: distinctBlobs(files), directories: 0 };
  }

  async #walk(root: Digest, maxDirectories: number, signal: AbortSignal): Promise<DirectoryNeeds> {
    const { maxTreeDepth, maxDirectoryBytes } = this.#limits;
    if (maxDirectories < 1) throw new ReapiError('too-large', 'too many directories in one result');
    const limits = { maxDirectories, maxDepth: maxTreeDepth, maxDirectoryBytes };
    const all: Digest[] = [];
    let directories = 0;
    for await (const { digest, bytes, files } of walkDirectories(this.#store, root, limits, signal)) {
      if (bytes === undefined) {
        throw new ReapiError('blob-not-found', 'a directory of the result is absent', { missing: [digest] });
      }
      if (!sameDigest(digest, root)) all.push(digest);
      for (const file of files) all.push(file);
      directories++;
    }
    return { digests: distinctBlobs(all), directories };
  }
}

type NeedsMap = Map<OutputDirectoryDigest, DirectoryNeeds>;

/** Everything the result refers to; repeats are possible. All of it is asked for, and thereby kept, on every hit. */
function blobsOf({ files }: OutputDigests, needs: NeedsMap): Digest[] {
  const all = files.filter((digest) => !isEmptyBlob(digest));
  for (const [{ digest }, { digests }] of needs) {
    if (!isEmptyBlob(digest)) all.push(digest);
    for (const needed of digests) all.push(needed);
  }
  return all;
}

/** @throws the error itself unless it makes the result unusable. */
function missOf(error: unknown, { kind, path, digest }: OutputDirectoryDigest): StoreMiss {
  if (!(error instanceof ReapiError) || !MISS_KINDS.has(error.kind)) throw error;
  const shown = pathForPeople(path);
  const what = `the output directory ${JSON.stringify(shown)}`;
  switch (error.kind) {
    case 'blob-not-found':
      return { reason: 'incomplete', blob: error.facts.missing?.[0] ?? digest, role: { kind, path: shown }, absent: 1 };
    case 'too-large':
      return { reason: 'too-large', what };
    default:
      return { reason: 'damaged', what };
  }
}
