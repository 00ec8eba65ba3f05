import { mkdirSync, symlinkSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Digest, digestKey } from '../../digest/digest.ts';
import { ReapiError, systemCode, throwIfAborted } from '../../errors.ts';
import { diskFailure } from '../exhaustion.ts';
import type { Patience } from '../patience.ts';
import type { WorkerStore } from '../worker-store.ts';
import type { DirectoryCache } from './directory-cache.ts';
import type { CachedFile, FileCache } from './file-cache.ts';
import { type FileFetcher, linkAll, type WantedFile } from './file-fetcher.ts';
import { type InputTree, readInputTree, type TreeLimits } from './input-tree.ts';

/** Entries made before other slots get a turn: synchronous calls are five times cheaper, but must not hog the loop. */
const ENTRIES_PER_TURN = 200;

/** An input root in place. */
export interface MaterializedRoot {
  /** Every distinct input file, for `verify` after the run. */
  readonly files: readonly CachedFile[];
  readonly directories: number;
}

/** Where the blobs of an input root come from. */
export interface InputSource {
  readonly store: WorkerStore;
  /** Tries again what fails because the store's server is away. */
  readonly patiently: Patience;
}

/** Builds input roots out of hard links to cached files, fetching what is missing. */
export class InputRoots {
  readonly #directories: DirectoryCache;
  readonly #files: FileCache;
  readonly #fetcher: FileFetcher;
  readonly #limits: TreeLimits;

  constructor(directories: DirectoryCache, files: FileCache, fetcher: FileFetcher, limits: TreeLimits) {
    this.#directories = directories;
    this.#files = files;
    this.#fetcher = fetcher;
    this.#limits = limits;
  }

  /**
   * Makes the tree below `root`, an empty directory that exists. Directories are writable, files are not (R-CM-12),
   * empty directories exist (R-CM-21), symlinks are as given (R-CM-11).
   * @throws missing-inputs with every absent blob (R-EX-43); invalid-argument for a bad tree; unavailable; cancelled.
   */
  async materialize(digest: Digest, root: string, source: InputSource, signal: AbortSignal): Promise<MaterializedRoot> {
    const { store, patiently } = source;
    const known = { store, cache: this.#directories };
    const tree = await patiently(() => readInputTree(digest, known, this.#limits, signal));
    if (tree.missing.length > 0) {
      const files = distinct(filesOf(tree).map((file) => file.digest));
      throw missingInputs([...tree.missing, ...(await patiently(() => store.findMissing(files, signal)))]);
    }
    let wanted = await this.#place(tree, root, signal);
    const missing = await patiently(() => {
      // Another attempt needs only what the one before did not bring.
      wanted = wanted.filter((file) => !onDisk(() => linkAll(this.#files, file)));
      return this.#fetcher.fetch(wanted, store, signal);
    });
    if (missing.length > 0) throw missingInputs(missing);
    return { files: filesOf(tree), directories: tree.directories.length };
  }

  /** Drops cached files that an action wrote through (T-21). */
  async verify(root: MaterializedRoot): Promise<void> {
    let done = 0;
    for (const file of root.files) {
      this.#files.verify(file);
      if (++done % ENTRIES_PER_TURN === 0) await nextTurn();
    }
  }

  /** Makes directories, symlinks and the files that are cached; returns the files that are not. */
  async #place(tree: InputTree, root: string, signal: AbortSignal): Promise<WantedFile[]> {
    const wanted = new Map<string, { file: CachedFile; targets: string[] }>();
    let done = 0;
    const step = async (): Promise<void> => {
      if (++done % ENTRIES_PER_TURN !== 0) return;
      await nextTurn();
      throwIfAborted(signal);
    };
    for (const { path, directory } of tree.directories) {
      const folder = path === '' ? root : `${root}/${path}`;
      if (path !== '') onDisk(() => mkdirSync(folder, 0o755));
      await step();
      for (const link of directory.symlinks) {
        onDisk(() => symlinkSync(link.target, `${folder}/${link.name}`));
        await step();
      }
      for (const file of directory.files) {
        const target = `${folder}/${file.name}`;
        if (!onDisk(() => linkAll(this.#files, { file, targets: [target] }))) want(wanted, file, target);
        await step();
      }
    }
    this.#files.shrink();
    return [...wanted.values()];
  }
}

function want(wanted: Map<string, { file: CachedFile; targets: string[] }>, file: CachedFile, target: string): void {
  const key = keyOf(file);
  const known = wanted.get(key);
  if (known) known.targets.push(target);
  else wanted.set(key, { file, targets: [target] });
}

/** Distinct files of the tree. */
export function filesOf(tree: InputTree): CachedFile[] {
  const files = new Map<string, CachedFile>();
  for (const { directory } of tree.directories) {
    for (const file of directory.files) files.set(keyOf(file), file);
  }
  return [...files.values()];
}

function keyOf(file: CachedFile): string {
  return `${digestKey(file.digest)}${file.isExecutable ? 'x' : ''}`;
}

function distinct(digests: readonly Digest[]): Digest[] {
  return [...new Map(digests.map((digest) => [digestKey(digest), digest])).values()];
}

/** FAILED_PRECONDITION with one MISSING violation a blob (R-EX-40, R-EX-41). */
export function missingInputs(digests: readonly Digest[]): ReapiError {
  const [first] = digests;
  const example = first === undefined ? '' : `, among them ${digestKey(first)}`;
  return new ReapiError('missing-inputs', `${digests.length} blobs of the action are not in the CAS${example}`, {
    missing: distinct(digests),
  });
}

function onDisk<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof ReapiError) throw error;
    if (systemCode(error) !== 'ENAMETOOLONG') throw diskFailure('the input root cannot be made on this worker', error);
    throw new ReapiError('invalid-argument', 'a path in the input root is too long for this worker', { cause: error });
  }
}
