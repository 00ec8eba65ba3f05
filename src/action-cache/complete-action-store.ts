import type { BlobStore } from '../cas/blob-store.ts';
import { treeFiles, walkDirectories } from '../cas/tree.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { type Digest, isEmptyBlob } from '../digest/digest.ts';
import { type ErrorKind, ReapiError } from '../errors.ts';
import { forEachBounded } from '../system/for-each-bounded.ts';
import type { Semaphore } from '../system/semaphore.ts';
import type { ActionStore, StoredResult } from './action-store.ts';
import { outputDigests } from './outputs.ts';

/** Bounds on the check of one result. A result beyond them is a miss. */
export interface CompletenessLimits {
  /** Largest Tree message that is read. */
  readonly maxTreeBytes: number;
  /** Most directories below all root digests of one result. */
  readonly maxTreeDirectories: number;
  readonly maxTreeDepth: number;
  /** Largest Directory message. */
  readonly maxDirectoryBytes: number;
}

/** Output directories of one result that are read at the same time. */
const TREE_WIDTH = 4;

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

  /** @param checks bounds how many results with output directories are checked at once: their Trees are held in memory. */
  constructor(inner: ActionStore, store: BlobStore, checks: Semaphore, limits: CompletenessLimits) {
    this.#inner = inner;
    this.#store = store;
    this.#checks = checks;
    this.#limits = limits;
  }

  async get(key: ActionKey, signal: AbortSignal): Promise<StoredResult | undefined> {
    const result = await this.#inner.get(key, signal);
    if (result === undefined) return undefined;
    return (await this.#isComplete(key, result, signal)) ? result : undefined;
  }

  put(key: ActionKey, result: StoredResult, signal: AbortSignal): Promise<void> {
    return this.#inner.put(key, result, signal);
  }

  async #isComplete(key: ActionKey, result: StoredResult, signal: AbortSignal): Promise<boolean> {
    try {
      const { files, trees, roots } = outputDigests(key.action.function, result.message);
      const hasDirectories = trees.length + roots.length > 0;
      const all = hasDirectories
        ? await this.#checks.run(signal, () => this.#withContents({ files, trees, roots }, signal))
        : files;
      const asked = all.filter((digest) => !isEmptyBlob(digest));
      return asked.length === 0 || (await this.#store.findMissing(asked, signal)).length === 0;
    } catch (error) {
      if (error instanceof ReapiError && MISS_KINDS.has(error.kind)) return false;
      throw error;
    }
  }

  async #withContents(outputs: ReturnType<typeof outputDigests>, signal: AbortSignal): Promise<readonly Digest[]> {
    const all: Digest[] = [...outputs.files, ...outputs.trees];
    await forEachBounded(outputs.trees.length, TREE_WIDTH, async (index) => {
      const tree = outputs.trees[index];
      if (tree === undefined) return;
      for (const file of await this.#treeFiles(tree, signal)) all.push(file);
    });
    let maxDirectories = this.#limits.maxTreeDirectories;
    for (const root of outputs.roots) {
      const limits = { ...this.#limits, maxDirectories, maxDepth: this.#limits.maxTreeDepth };
      for await (const { digest, bytes, files } of walkDirectories(this.#store, root, limits, signal)) {
        if (bytes === undefined) throw new ReapiError('blob-not-found', 'a directory of the result is absent');
        all.push(digest);
        for (const file of files) all.push(file);
        maxDirectories--;
      }
    }
    return all;
  }

  async #treeFiles(tree: Digest, signal: AbortSignal): Promise<readonly Digest[]> {
    if (tree.sizeBytes > this.#limits.maxTreeBytes) {
      throw new ReapiError('too-large', `a Tree of ${tree.sizeBytes} bytes`);
    }
    return treeFiles(tree.function, await this.#store.getBytes(tree, signal));
  }
}
