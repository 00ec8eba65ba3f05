import { throwIfAborted } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { FileSystem } from '../../system/file-system.ts';
import type { Log } from '../../system/log.ts';
import type { Random } from '../../system/random.ts';
import type { RowKey } from '../segment/record-index/row-key.ts';
import type { IndexedRow } from './bucket-index.ts';
import { BucketMaintenance } from './bucket-maintenance.ts';
import type { BucketStats } from './bucket-stats.ts';
import type { DurableBlobStore } from './durable-blob-store.ts';
import type { DurableEntryStore } from './durable-entry-store.ts';
import type { LocalTier } from './local-tier.ts';
import type { ObjectStore } from './object-store.ts';
import type { RecoveryProgress } from './refresh.ts';
import { createTierParts, type TierParts } from './tier-parts.ts';

/** What an S3 tier stands on. */
export interface BucketTierHost {
  readonly objects: ObjectStore;
  readonly local: LocalTier;
  readonly files: FileSystem;
  /** Where the tier keeps what it knows, on this machine. */
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Told how far the index is, while the tier opens. */
  readonly onProgress: (progress: RecoveryProgress) => void;
  /** Told of what is forgotten because it was not used, and the seconds since its last use. */
  readonly onForgotten: (row: IndexedRow, ageSeconds: number) => void;
}

/** How a bucket is used. */
export interface BucketTierOptions {
  readonly durability: 's3' | 'local';
  /** What may wait to be stored in the bucket. */
  readonly maxBacklogBytes: number;
  readonly uploadWaitMs: number;
  /** News of other servers is at most that old. */
  readonly refreshMs: number;
  /** How long presence is promised after a look. */
  readonly promiseSeconds: number;
  /** What was not used for so long goes; 0: it stays. */
  readonly retentionSeconds: number;
  /** Limit of the bucket; 0: none. */
  readonly maxBytes: number;
  readonly packBytes: number;
  readonly maxSmallPacksPerSecond: number;
  /** Larger blobs have objects of their own. */
  readonly maxPackedBlobBytes: number;
  readonly maxEntryBytes: number;
  readonly maxConcurrentRequests: number;
}

/** The bucket as store: what is stored through it is durable, what is in it is found, and what nobody needs goes (docs/s3.md, ADR 8). */
export class BucketTier {
  readonly blobs: DurableBlobStore;
  readonly entries: DurableEntryStore;
  readonly #parts: TierParts;
  readonly #maintenance: BucketMaintenance;
  #closing: Promise<void> | undefined;

  private constructor(parts: TierParts, maintenance: BucketMaintenance) {
    this.#parts = parts;
    this.#maintenance = maintenance;
    this.blobs = parts.blobs;
    this.entries = parts.entries;
  }

  /**
   * Opens the tier; resolves when its index is complete. Without S3 it waits, unless this machine has an index of before: then what it says
   * counts until S3 answers.
   * @throws precondition: the bucket holds something else, or was written by a newer program; unavailable if the folder cannot be
   * used; cancelled.
   */
  static async open(host: BucketTierHost, options: BucketTierOptions, signal: AbortSignal): Promise<BucketTier> {
    const parts = await createTierParts(host, options, signal);
    const maintenance = new BucketMaintenance(parts, host, options);
    const tier = new BucketTier(parts, maintenance);
    try {
      await maintenance.start(signal);
      throwIfAborted(signal);
    } catch (error) {
      await tier.close(0);
      throw error;
    }
    return tier;
  }

  /** Whether the local tier may forget what the key names. Runs on its hot path. */
  mayEvict(key: RowKey): boolean {
    return this.#parts.pending.mayEvict(key);
  }

  stats(): BucketStats {
    const { index, backlog, pending, promises, health, packs, copies, collector, peers, loader } = this.#parts;
    let condemned = 0;
    let liveBytes = 0;
    let largeBlobs = 0;
    for (const container of index.containers) {
      if (container.condemned !== undefined) condemned++;
      if (container.digest !== undefined) largeBlobs++;
      liveBytes += container.liveBytes;
    }
    return {
      isReachable: !health.isDown,
      staleSeconds: promises.staleMs === undefined ? undefined : promises.staleMs / 1000,
      blobs: index.blobTable.size,
      entries: index.entryTable.size,
      packs: index.containers.count - largeBlobs,
      largeBlobs,
      condemned,
      bytes: index.containers.bytes,
      liveBytes,
      damagedPacks: loader.damaged,
      backlogBytes: backlog.bytes,
      maxBacklogBytes: backlog.maxBytes,
      pendingUploads: pending.count,
      refusedWrites: backlog.refusals,
      storedPacks: packs.packs,
      copiedBytes: copies.bytes,
      deletedObjects: collector.counts.deleted,
      otherServers: peers.live.length,
      indexMemoryBytes: index.memoryBytes,
    };
  }

  /** Stores what can be stored within `graceMs`, then stops. What is left is found by the next start. */
  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    await this.#maintenance.stop(graceMs);
    await this.#parts.close();
    await this.#maintenance.writeDown();
  }
}
