import { join } from 'node:path';
import type { Clock } from '../../system/clock.ts';
import { writeError } from '../../system/file-errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import { claimFormat } from '../../system/format-marker.ts';
import type { Log } from '../../system/log.ts';
import { Quarantine } from '../../system/quarantine.ts';
import type { Random } from '../../system/random.ts';
import { FileBlobStore } from '../file-blob-store.ts';
import { type CheckpointParts, Checkpoints } from './checkpoints.ts';
import type { EvictionGuard } from './eviction-guard.ts';
import { FilesRoom } from './files-room.ts';
import { SEGMENT_FORMAT_VERSION } from './log/format.ts';
import { type Recovered, type Recovery, recover } from './log/recover.ts';
import type { SegmentFile } from './log/segment-file.ts';
import { SegmentLog } from './log/segment-log.ts';
import { Segments } from './log/segments.ts';
import { openMark } from './mark-file.ts';
import { DigestTable } from './record-index/digest-table.ts';
import { LeaseLedger } from './record-index/lease-ledger.ts';
import { leaseSecondsOf, RecordIndex } from './record-index/record-index.ts';
import { RowKey } from './record-index/row-key.ts';
import { Rotation } from './rotation.ts';
import { Space } from './space.ts';
import { StoreCore } from './store-core.ts';
import type { StoreEvents } from './store-report.ts';
import { reserveFor, SEGMENTS_PER_STORE, type SizeOptions, type StoreSizes, sizesOf } from './store-sizes.ts';
import { StoreTime } from './store-time.ts';

/** Folders of a local store, each its own. */
export interface StoreFolders {
  /** Segments, index, leases. */
  readonly segments: string;
  /** Blobs that have files of their own. */
  readonly files: string;
}

/** What a local store needs and how it is set. */
export interface LocalStoreOptions extends SizeOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
  readonly events: StoreEvents;
  /** `group`: what is acknowledged is on the device. `none`: the system has it. */
  readonly sync: 'group' | 'none';
  /** Free space left to others on the file system; 0: no floor. */
  readonly minFreeBytes: number;
  /** How long a blob stays after someone was told that it is there. */
  readonly minRetentionMs: number;
  /** Largest value of an entry. */
  readonly maxEntryBytes: number;
  /** The index is written down this often. */
  readonly checkpointMs: number;
  /** Default the machine's. */
  readonly files?: FileSystem;
  /** Holds blobs and entries back from eviction, in records and files. Default: none. */
  readonly guard?: EvictionGuard | undefined;
}

/** The parts of a store that is open. */
export interface OpenedStore {
  readonly core: StoreCore;
  readonly files: FileBlobStore;
  readonly segments: Segments;
  readonly space: Space;
  readonly rotation: Rotation;
  readonly checkpoints: Checkpoints;
  readonly sizes: StoreSizes;
  /** How long a lease lasts after its last renewal, in store seconds. */
  readonly leaseSeconds: number;
  readonly found: Pick<Recovered, 'replayedRecords' | 'damagedPlaces'>;
}

/** What the parts ask of the store they belong to. */
export interface StoreHooks {
  readonly free: () => Promise<number>;
  /** Whether the last `free` that gave nothing would have given something if the guard had let it go. */
  readonly isPinned: () => boolean;
  /** A group was committed; `checkpoints.noteRecords` has been told. */
  readonly committed: () => void;
}

const FORMAT = { file: 'format', format: 'gantry-segments', version: SEGMENT_FORMAT_VERSION };

/** Expected mean size of a record, for the first size of the index. */
const MEAN_RECORD_BYTES = 32 * 1024;
const MAX_EXPECTED_ROWS = 1_000_000;

/** Files of their own that there may be: small ones of an earlier version, or as many large ones as fit. */
const MIN_MAX_FILES = 1_000_000;

/** After the loss of the index this share of what may be leased counts as leased. */
const ASSUMED_LEASE_SHARE = 0.5;

/** Opens the folders of a store and joins its parts. @throws precondition; unavailable. */
export async function openStore(
  folders: StoreFolders,
  options: LocalStoreOptions,
  hooks: StoreHooks,
): Promise<OpenedStore> {
  const opening = new Opening(folders, options, hooks);
  try {
    return await opening.run();
  } catch (error) {
    await opening.abandon();
    throw writeError(error, 'opening the store');
  }
}

class Opening {
  readonly #folders: StoreFolders;
  readonly #options: LocalStoreOptions;
  readonly #hooks: StoreHooks;
  readonly #fs: FileSystem;
  #segments: readonly SegmentFile[] = [];
  #files: FileBlobStore | undefined;
  #checkpoints: Checkpoints | undefined;

  constructor(folders: StoreFolders, options: LocalStoreOptions, hooks: StoreHooks) {
    this.#folders = folders;
    this.#options = options;
    this.#hooks = hooks;
    this.#fs = options.files ?? NODE_FILE_SYSTEM;
  }

  async run(): Promise<OpenedStore> {
    const { clock, log, random, events } = this.#options;
    const sizes = sizesOf(this.#options);
    const quarantine = await this.#prepareFolder();
    const mark = await openMark(this.#fs, this.#folders.segments, random);
    const table = new DigestTable({
      seed: Number.parseInt(random.token(4), 16),
      expectedRows: Math.min(MAX_EXPECTED_ROWS, this.#options.maxBytes / MEAN_RECORD_BYTES),
    });
    const recovered = this.#recover({ quarantine, table, mark }, sizes);
    const retentionSeconds = Math.ceil(this.#options.minRetentionMs / 1000);
    const leaseSeconds = leaseSecondsOf(retentionSeconds);
    const time = new StoreTime(clock, recovered.storeSeconds);
    const ledger = new LeaseLedger({ leaseSeconds });
    const index = new RecordIndex({ table, ledger, time, log, retentionSeconds });
    index.adopt();
    const space = this.#createSpace(sizes, recovered);
    const segments = new Segments(recovered.segments, {
      folder: this.#folders.segments,
      files: this.#fs,
      space,
      time,
      mark,
      firstNewId: recovered.firstNewId,
    });
    const { nextSequence } = recovered;
    const core = new StoreCore({ clock, log, files: this.#fs, index, segments, space, quarantine, nextSequence });
    const records = this.#createLog(segments, recovered, sizes);
    core.useLog(records);
    const files = await this.#openFiles(space, sizes, { leaseSeconds, slackSeconds: index.slackSeconds });
    restoreFileLeases(files, recovered.renewals, time);
    const parts = { core, records, space, quarantine, blobFiles: files };
    const checkpoints = await this.#startCheckpoints(parts, recovered);
    const rotation = new Rotation({
      ...{ index, segments, log: records, space, events, leaseSeconds, guard: this.#options.guard },
      onDamaged: (row, damage) => core.putAside(table.readKey(row, new RowKey()), core.placeOf(row), damage),
    });
    const { replayedRecords, damagedPlaces } = recovered;
    const found = { replayedRecords, damagedPlaces };
    return { core, files, segments, space, rotation, checkpoints, sizes, leaseSeconds, found };
  }

  #recover(parts: Pick<Recovery, 'quarantine' | 'table' | 'mark'>, { maxLeasedBytes }: StoreSizes): Recovered {
    return recover({
      ...parts,
      folder: this.#folders.segments,
      files: this.#fs,
      log: this.#options.log,
      assumedLeaseBytes: maxLeasedBytes * ASSUMED_LEASE_SHARE,
      onOpened: (segments) => {
        this.#segments = segments;
      },
    });
  }

  /** What a crash left in the system's memory is on the device afterwards: it will be acknowledged to whoever puts it again. */
  async #startCheckpoints(
    parts: Pick<CheckpointParts, 'core' | 'records' | 'space' | 'quarantine' | 'blobFiles'>,
    { leaseFiles, replayedSegments }: Recovered,
  ): Promise<Checkpoints> {
    const { log, sync } = this.#options;
    this.#checkpoints = new Checkpoints({
      ...parts,
      folder: this.#folders.segments,
      files: this.#fs,
      log,
      isUnsynced: sync === 'none',
      leaseFiles,
    });
    await this.#checkpoints.start();
    for (const segment of replayedSegments) parts.records.distrust(segment);
    await parts.records.syncAll();
    return this.#checkpoints;
  }

  /** Gives back what was opened before something failed. */
  async abandon(): Promise<void> {
    this.#checkpoints?.close();
    for (const segment of this.#segments) await segment.close();
    await this.#files?.close();
  }

  async #prepareFolder(): Promise<Quarantine> {
    const folder = this.#folders.segments;
    this.#fs.makeFolder(folder);
    await claimFormat(this.#fs, folder, FORMAT);
    for (const name of this.#fs.list(folder)) {
      if (/\.(?:new|damaged)$/.test(name)) this.#fs.remove(join(folder, name));
    }
    return new Quarantine(this.#fs, join(folder, 'quarantine'), this.#options.maxBytes / SEGMENTS_PER_STORE);
  }

  #createSpace(sizes: StoreSizes, { segments }: Recovered): Space {
    const { clock, events, maxBytes, minFreeBytes } = this.#options;
    const largestBytes = segments.reduce((most, { sizeBytes }) => Math.max(most, sizeBytes), 0);
    return new Space({
      ...{ files: this.#fs, clock, events, maxBytes, minFreeBytes },
      path: this.#folders.segments,
      reserveBytes: reserveFor(largestBytes, sizes, maxBytes),
      free: this.#hooks.free,
      isPinned: this.#hooks.isPinned,
    });
  }

  #createLog(segments: Segments, recovered: Recovered, { segmentBytes }: StoreSizes): SegmentLog {
    const { clock, events, sync } = this.#options;
    const last = recovered.segments.at(-1);
    const isContinued = last !== undefined && recovered.isLastWhole && last.sizeBytes < segmentBytes / 2;
    const active = isContinued ? last : segments.create();
    this.#segments = [...segments];
    const host = {
      createSegment: () => segments.create(),
      syncNames: () => this.#fs.syncFolder(this.#folders.segments),
      wasted: (bytes: number) => segments.grewBy(bytes),
    };
    const committed: StoreEvents['committed'] = (group) => {
      this.#checkpoints?.noteRecords(group.bytes);
      this.#hooks.committed();
      events.committed(group);
    };
    return new SegmentLog(host, active, { clock, segmentBytes, sync, events: { ...events, committed } });
  }

  async #openFiles(
    space: Space,
    sizes: StoreSizes,
    lease: { readonly leaseSeconds: number; readonly slackSeconds: number },
  ): Promise<FileBlobStore> {
    const { clock, log, sync, maxBytes, guard } = this.#options;
    this.#files = await FileBlobStore.open(this.#folders.files, {
      ...{ clock, log, maxBytes, guard, files: this.#fs },
      minRetentionMs: lease.leaseSeconds * 1000,
      touchIntervalMs: lease.slackSeconds * 1000,
      sync: sync === 'group' ? 'file' : 'none',
      smallBytes: sizes.maxRecordBlobBytes,
      maxFiles: Math.max(MIN_MAX_FILES, Math.ceil(maxBytes / sizes.maxRecordBlobBytes)),
      room: new FilesRoom(space),
    });
    return this.#files;
  }
}

/** Times of use of files come from the files after an unclean stop; the lease log knows better. */
function restoreFileLeases(files: FileBlobStore, renewals: ReadonlyMap<string, number>, time: StoreTime): void {
  if (renewals.size === 0) return;
  for (const [start, digest] of files.digestsByHashStart()) {
    const seconds = renewals.get(start);
    if (seconds !== undefined) files.touchAt(digest, time.toMonotonicMs(seconds));
  }
}
