import { isKind } from '../../errors.ts';
import type { Log } from '../../system/log.ts';
import { BucketIndex } from './bucket-index.ts';
import { decodeSnapshot, encodeSnapshot } from './bucket-snapshot.ts';
import { Containers } from './containers.ts';
import { parseSnapshotKey, SNAPSHOTS_PREFIX, snapshotKey } from './object-names.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';
import type { PartBudget } from './part-budget.ts';
import { partStream } from './part-stream.ts';
import type { TierFolder } from './tier-folder.ts';

/** So many packs that the last snapshot in the bucket does not know make another one worth its bytes: each costs a recovery a request. */
const MIN_NEW_PACKS = 256;

/** A snapshot in the bucket takes at most this part of what the bucket holds; of tiny blobs, footers alone are quick enough to read. */
const MAX_SNAPSHOT_SHARE = 1 / 80;

/** An index that was filled from a snapshot. */
export interface LoadedIndex {
  readonly index: BucketIndex;
  /** Which bucket it is of. */
  readonly bucket: string;
}

/** The index of the last snapshot on this machine, or undefined if there is none that is whole. Throws system errors. */
export async function loadFromFolder(folder: TierFolder, seed: number, log: Log): Promise<LoadedIndex | undefined> {
  const chunks = folder.readIndex();
  return chunks === undefined ? undefined : load(chunks, seed, log);
}

/** The index of the newest snapshot in the bucket that is whole, or undefined. @throws unavailable; cancelled. */
export async function loadFromBucket(
  objects: ObjectStore,
  options: { readonly seed: number; readonly budget: PartBudget; readonly log: Log },
  signal: AbortSignal,
): Promise<LoadedIndex | undefined> {
  const found: ObjectInfo[] = [];
  for await (const page of objects.list(SNAPSHOTS_PREFIX, undefined, signal)) {
    found.push(...page.filter(({ key }) => parseSnapshotKey(key) !== undefined));
  }
  for (const { key, sizeBytes } of found.toSorted((a, b) => b.modifiedMs - a.modifiedMs)) {
    const range = { objectKey: key, offset: 0, lengthBytes: sizeBytes };
    const loaded = await load(partStream(objects, range, options, signal), options.seed, options.log);
    if (loaded !== undefined) return loaded;
  }
  return undefined;
}

async function load(chunks: AsyncIterable<Uint8Array>, seed: number, log: Log): Promise<LoadedIndex | undefined> {
  const index = new BucketIndex(new Containers(), seed);
  try {
    const { bucket } = await decodeSnapshot(chunks, index);
    return { index, bucket };
  } catch (error) {
    if (!isKind(error, 'data-loss') && !isKind(error, 'not-found')) throw error;
    log.warn({ err: error }, 'a snapshot of the bucket index cannot be used');
    return undefined;
  }
}

/** Writes snapshots: to the data folder whenever asked, to the bucket when that is worth it. */
export class Snapshots {
  readonly #folder: TierFolder;
  readonly #objects: ObjectStore;
  readonly #index: BucketIndex;
  readonly #writer: string;
  #knownPacks = 0;

  constructor(folder: TierFolder, objects: ObjectStore, index: BucketIndex, writer: string) {
    this.#folder = folder;
    this.#objects = objects;
    this.#index = index;
    this.#writer = writer;
  }

  /** Writes the index down. Throws system errors. @returns bytes. */
  write(bucket: string): Promise<number> {
    return this.#folder.writeIndex(encodeSnapshot(this.#index, { bucket }));
  }

  /** Puts the last one that was written into the bucket, if that is worth it. @throws unavailable; cancelled. */
  async share(sizeBytes: number, signal: AbortSignal): Promise<void> {
    const packs = [...this.#index.containers].filter(({ digest }) => digest === undefined);
    const isWorthIt = packs.length - this.#knownPacks >= MIN_NEW_PACKS || packs.length < this.#knownPacks / 2;
    if (!isWorthIt || sizeBytes > this.#index.containers.bytes * MAX_SNAPSHOT_SHARE) return;
    const chunks = this.#folder.readIndex();
    if (chunks === undefined) return;
    const number = packs.reduce((most, { id }) => (id.writer === this.#writer ? Math.max(most, id.number) : most), 0);
    const key = snapshotKey(this.#writer, number);
    await this.#objects.putStream(key, chunks, sizeBytes, signal);
    this.#knownPacks = packs.length;
    await this.#dropOthers(key, signal);
  }

  async #dropOthers(key: string, signal: AbortSignal): Promise<void> {
    const others: string[] = [];
    for await (const page of this.#objects.list(`${SNAPSHOTS_PREFIX}${this.#writer}/`, undefined, signal)) {
      others.push(...page.map((info) => info.key).filter((other) => other !== key));
    }
    if (others.length > 0) await this.#objects.delete(others, signal);
  }
}
