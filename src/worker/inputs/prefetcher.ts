import type { ActionKey } from '../../digest/action-key.ts';
import { type Digest, digestKey } from '../../digest/digest.ts';
import { ReapiError } from '../../errors.ts';
import type { WorkerStore } from '../worker-store.ts';
import type { Demand } from './demand.ts';
import type { DirectoryCache } from './directory-cache.ts';
import type { FileCache } from './file-cache.ts';
import { FileFetcher, type WantedFile } from './file-fetcher.ts';
import { filesOf } from './input-root.ts';
import { readInputTree, type TreeLimits } from './input-tree.ts';

/** An action that will probably run here soon. */
export interface ExpectedAction {
  readonly key: ActionKey;
  readonly inputRoot: Digest;
}

/** Bounds for what is fetched before anybody needs it. */
export interface PrefetcherOptions {
  /** Calls at a time. */
  readonly maxTransfers: number;
  /** Bytes of files for one action; further files are left for its lease. */
  readonly maxBytes: number;
  readonly inputs: TreeLimits;
}

/** Numbers for operators. */
export interface PrefetchCounters {
  /** Actions whose inputs were fetched, or tried to. */
  prefetches: number;
  /** Those that failed: the server was away, or did not have everything. The lease will tell. */
  prefetchFailures: number;
  filesPrefetched: number;
  bytesPrefetched: number;
}

/**
 * Brings the inputs of the action that is expected next into the cache, while no lease waits for a download; when one
 * does, transfers end at once and begin again afterwards. Only a guess is served, so failures are counted and that is all.
 */
export class Prefetcher {
  readonly #caches: { readonly directories: DirectoryCache; readonly files: FileCache };
  readonly #demand: Demand;
  readonly #storeFor: (key: ActionKey) => WorkerStore;
  readonly #options: PrefetcherOptions;
  readonly #fetcher: FileFetcher;
  #prefetches = 0;
  #failures = 0;
  #expected: ExpectedAction | undefined;
  #replaced = new AbortController();
  /** Settles, without failing, when what was begun is over. */
  #running: Promise<void> = Promise.resolve();

  constructor(
    caches: { readonly directories: DirectoryCache; readonly files: FileCache },
    demand: Demand,
    storeFor: (key: ActionKey) => WorkerStore,
    options: PrefetcherOptions,
  ) {
    this.#caches = caches;
    this.#demand = demand;
    this.#storeFor = storeFor;
    this.#options = options;
    this.#fetcher = new FileFetcher(caches.files, { maxTransfers: options.maxTransfers });
  }

  get counters(): PrefetchCounters {
    const { filesFetched, bytesFetched } = this.#fetcher.counters;
    return {
      prefetches: this.#prefetches,
      prefetchFailures: this.#failures,
      filesPrefetched: filesFetched,
      bytesPrefetched: bytesFetched,
    };
  }

  /** What is expected from now on; undefined for nothing. Whatever else was being fetched is given up. */
  expect(action: ExpectedAction | undefined): void {
    if (sameAction(this.#expected, action)) return;
    this.#expected = action;
    this.#replaced.abort(new ReapiError('cancelled', 'another action is expected'));
    const replaced = new AbortController();
    this.#replaced = replaced;
    if (action === undefined) return;
    this.#prefetches++;
    const before = this.#running;
    this.#running = before.then(() => this.#run(action, replaced.signal));
  }

  /** Gives up whatever is being fetched; resolves when nothing of it is under way. */
  stop(): Promise<void> {
    this.expect(undefined);
    return this.#running;
  }

  async #run(action: ExpectedAction, replaced: AbortSignal): Promise<void> {
    for (;;) {
      let demanded: AbortSignal | undefined;
      try {
        await this.#demand.quiet(replaced);
        demanded = this.#demand.begins;
        await this.#fetch(action, AbortSignal.any([replaced, demanded]));
        return;
      } catch {
        if (replaced.aborted) return;
        if (demanded?.aborted) continue;
        this.#failures++;
        return;
      }
    }
  }

  async #fetch({ key, inputRoot }: ExpectedAction, signal: AbortSignal): Promise<void> {
    const store = this.#storeFor(key);
    const { directories, files } = this.#caches;
    const tree = await readInputTree(inputRoot, { store, cache: directories }, this.#options.inputs, signal);
    let bytes = 0;
    const wanted: WantedFile[] = [];
    for (const file of filesOf(tree)) {
      if (files.has(file) || bytes + file.digest.sizeBytes > this.#options.maxBytes) continue;
      bytes += file.digest.sizeBytes;
      wanted.push({ file, targets: [] });
    }
    const missing = await this.#fetcher.fetch(wanted, store, signal);
    if (tree.missing.length + missing.length > 0) throw new ReapiError('missing-inputs', 'inputs are not in the CAS');
  }
}

function sameAction(a: ExpectedAction | undefined, b: ExpectedAction | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.key.instance === b.key.instance &&
    digestKey(a.key.action) === digestKey(b.key.action) &&
    digestKey(a.inputRoot) === digestKey(b.inputRoot)
  );
}
