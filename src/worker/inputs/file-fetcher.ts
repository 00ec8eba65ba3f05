import { rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type Digest, digestKey } from '../../digest/digest.ts';
import { invariant, isKind, ReapiError, throwIfAborted } from '../../errors.ts';
import { Semaphore } from '../../system/semaphore.ts';
import { batchesOf } from '../batches.ts';
import { diskFailure } from '../exhaustion.ts';
import type { WorkerStore } from '../worker-store.ts';
import type { Demand } from './demand.ts';
import type { CachedFile, FileCache } from './file-cache.ts';

/** A file an action needs, and where. */
export interface WantedFile {
  readonly file: CachedFile;
  /** Absolute paths; their directories exist. None: it is only to be cached. */
  readonly targets: readonly string[];
}

/** Counts what came over the network. */
export interface FetchCounters {
  filesFetched: number;
  bytesFetched: number;
}

/** Bytes of small files fetched in one round of calls, held in memory meanwhile. */
const MAX_ROUND_BYTES = 8 * 1024 * 1024;

/** Brings files from the CAS into the cache, each once even when several slots want it at the same time. */
export class FileFetcher {
  readonly #cache: FileCache;
  readonly #transfers: Semaphore;
  readonly #demand: Demand | undefined;
  /** Fetches under way by key of digest; they never reject: whoever waits looks again. */
  readonly #inFlight = new Map<string, Promise<void>>();
  readonly counters: FetchCounters = { filesFetched: 0, bytesFetched: 0 };

  /**
   * @param options.maxTransfers calls at a time, over all slots.
   * @param options.demand knows of every fetch while it lasts. Absent: nobody waits for these files.
   */
  constructor(cache: FileCache, options: { readonly maxTransfers: number; readonly demand?: Demand }) {
    this.#cache = cache;
    this.#demand = options.demand;
    this.#transfers = new Semaphore(options.maxTransfers);
  }

  /**
   * Fetches and links all files.
   * @returns the digests that the CAS does not have, each once; the other files may be in place or not.
   * @throws whatever the store or the disk throws; cancelled.
   */
  async fetch(wanted: readonly WantedFile[], store: WorkerStore, signal: AbortSignal): Promise<readonly Digest[]> {
    if (wanted.length === 0) return [];
    const fetchAll = (): Promise<readonly Digest[]> => this.#fetchAll(wanted, store, signal);
    return this.#demand === undefined ? fetchAll() : this.#demand.during(fetchAll);
  }

  async #fetchAll(wanted: readonly WantedFile[], store: WorkerStore, signal: AbortSignal): Promise<readonly Digest[]> {
    const missing = new Map<string, Digest>();
    let rest = wanted;
    while (rest.length > 0 && missing.size === 0) {
      throwIfAborted(signal);
      const mine: WantedFile[] = [];
      const others: WantedFile[] = [];
      for (const want of rest) (this.#inFlight.has(digestKey(want.file.digest)) ? others : mine).push(want);
      await this.#fetchOwn(groupByDigest(mine), store, missing, signal);
      await waitForAll(
        others.flatMap((want) => this.#inFlight.get(digestKey(want.file.digest)) ?? []),
        signal,
      );
      // Another slot's fetch may have failed, or its file been dropped again: then it is ours.
      rest = others.filter((want) => !linkAll(this.#cache, want));
    }
    if (missing.size === 0) return [];
    // The caller wants to name all of them (R-EX-43).
    for (const digest of await store.findMissing(distinctDigests(wanted), signal))
      missing.set(digestKey(digest), digest);
    return [...missing.values()];
  }

  async #fetchOwn(
    wanted: readonly (readonly WantedFile[])[],
    store: WorkerStore,
    missing: Map<string, Digest>,
    signal: AbortSignal,
  ): Promise<void> {
    const stop = new AbortController();
    const joint = AbortSignal.any([signal, stop.signal]);
    const small = wanted.filter((group) => sizeOf(group) <= store.maxSmallBytes);
    const large = wanted.filter((group) => sizeOf(group) > store.maxSmallBytes);
    const jobs: Promise<void>[] = [];
    const start = (groups: readonly (readonly WantedFile[])[], job: () => Promise<void>): void => {
      const run = this.#transfers.run(joint, job);
      jobs.push(run);
      const settled = Promise.allSettled([run]).then(() => undefined);
      for (const key of groups.map(keyOf)) this.#inFlight.set(key, settled);
      jobs.push(
        settled.then(() => {
          for (const key of groups.map(keyOf)) this.#inFlight.delete(key);
        }),
      );
    };
    for (const batch of batchesOf(small, sizeOf, MAX_ROUND_BYTES)) {
      start(batch, () => this.#fetchSmall(batch, store, missing, joint));
    }
    for (const group of large) start([group], () => this.#fetchLarge(group, store, missing, joint));
    try {
      await Promise.all(jobs);
    } finally {
      stop.abort();
      await Promise.allSettled(jobs);
      this.#cache.shrink();
    }
  }

  async #fetchSmall(
    groups: readonly (readonly WantedFile[])[],
    store: WorkerStore,
    missing: Map<string, Digest>,
    signal: AbortSignal,
  ): Promise<void> {
    const digests = groups.map(digestOfGroup);
    const found = await store.readAll(digests, signal);
    for (const group of groups) {
      const digest = digestOfGroup(group);
      const bytes = found.get(digestKey(digest));
      if (bytes === undefined) {
        missing.set(digestKey(digest), digest);
        continue;
      }
      const temporary = this.#cache.temporaryPath();
      discardOnError(temporary, () => writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o600 }));
      this.#place(group, temporary);
    }
  }

  async #fetchLarge(
    group: readonly WantedFile[],
    store: WorkerStore,
    missing: Map<string, Digest>,
    signal: AbortSignal,
  ): Promise<void> {
    const digest = digestOfGroup(group);
    const temporary = this.#cache.temporaryPath();
    const handle = await open(temporary, 'wx', 0o600).catch((error: unknown) => {
      throw diskError(error);
    });
    try {
      for await (const chunk of store.open(digest, signal)) await handle.appendFile(chunk);
    } catch (error) {
      rmSync(temporary, { force: true });
      if (isKind(error, 'blob-not-found') || isKind(error, 'not-found')) {
        missing.set(digestKey(digest), digest);
        return;
      }
      throw diskError(error);
    } finally {
      await handle.close();
    }
    this.#place(group, temporary);
  }

  #place(group: readonly WantedFile[], temporary: string): void {
    const [first] = group;
    if (first === undefined) return;
    this.counters.filesFetched++;
    this.counters.bytesFetched += first.file.digest.sizeBytes;
    onDisk(() => {
      this.#cache.add(first.file, temporary);
      for (const want of group) {
        if (!linkAll(this.#cache, want)) throw new ReapiError('unavailable', 'the file cache lost a file just added');
      }
    });
  }
}

/** Links a file to all places where it is wanted. False if it is not cached. */
export function linkAll(cache: FileCache, want: WantedFile): boolean {
  return want.targets.every((target) => cache.link(want.file, target));
}

async function waitForAll(waits: readonly Promise<void>[], signal: AbortSignal): Promise<void> {
  throwIfAborted(signal);
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(new ReapiError('cancelled', 'the lease was cancelled'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([Promise.all(waits), aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Both variants of one content are fetched once. */
function groupByDigest(wanted: readonly WantedFile[]): WantedFile[][] {
  const groups = new Map<string, WantedFile[]>();
  for (const want of wanted) {
    const key = digestKey(want.file.digest);
    const group = groups.get(key);
    if (group) group.push(want);
    else groups.set(key, [want]);
  }
  return [...groups.values()];
}

function distinctDigests(wanted: readonly WantedFile[]): Digest[] {
  return groupByDigest(wanted).map(digestOfGroup);
}

function digestOfGroup(group: readonly WantedFile[]): Digest {
  const [first] = group;
  invariant(first !== undefined, 'a group of wanted files is never empty');
  return first.file.digest;
}

function keyOf(group: readonly WantedFile[]): string {
  return digestKey(digestOfGroup(group));
}

function sizeOf(group: readonly WantedFile[]): number {
  return digestOfGroup(group).sizeBytes;
}

function discardOnError(temporary: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    rmSync(temporary, { force: true });
    throw diskError(error);
  }
}

function onDisk(write: () => void): void {
  try {
    write();
  } catch (error) {
    throw diskError(error);
  }
}

function diskError(error: unknown): ReapiError {
  return diskFailure('the worker cannot write its file cache', error);
}
