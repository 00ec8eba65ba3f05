import { join } from 'node:path';
import { ReapiError } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import { writeError } from '../../system/file-errors.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import { claimFormat } from '../../system/format-marker.ts';
import type { Log } from '../../system/log.ts';
import { Quarantine } from '../../system/quarantine.ts';
import type { Random } from '../../system/random.ts';
import { FileBlobStore } from '../file-blob-store.ts';
import { Checkpoints } from './checkpoints.ts';
import { FilesRoom } from './files-room.ts';
import { SEGMENT_FORMAT_VERSION, SEGMENT_HEADER_BYTES } from './log/format.ts';
import { type Recovered, recover } from './log/recover.ts';
import { FILE_OVERHEAD_BYTES, type SegmentFile } from './log/segment-file.ts';
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
import { StoreTime } from './store-time.ts';

/** Folders of a local store, each its own. */
export interface StoreFolders {
  /** Segments, index, leases. */
  readonly segments: string;
  /** Blobs that have files of their own. */
  readonly files: string;
}

/** What a local store needs and how it is set. */
export interface LocalStoreOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
  readonly events: StoreEvents;
  /** `group`: what is acknowledged is on the device. `none`: the system has it. */
  readonly sync: 'group' | 'none';
  /** Everything on disk stays under it. */
  readonly maxBytes: number;
  /** Free space left to others on the file system; 0: no floor. */
  readonly minFreeBytes: number;
  /** How long a blob stays after someone was told that it is there. */
  readonly minRetentionMs: number;
  /** Of `maxBytes`, what may be leased before writes are refused. */
  readonly maxLeasedShare: number;
  /** Largest value of an entry. */
  readonly maxEntryBytes: number;
  /** The index is written down this often. */
  readonly checkpointMs: number;
  /** Default: by `maxBytes`. */
  readonly segmentBytes?: number;
  /** Default the machine's. */
  readonly files?: FileSystem;
}

/** Sizes that follow from the limit. */
export interface StoreSizes {
  readonly segmentBytes: number;
  /** Blobs up to this size are records of segments. */
  readonly maxRecordBlobBytes: number;
  readonly maxLeasedBytes: number;
  /** What a segment takes beside its records. */
  readonly overheadBytes: number;
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
  /** A group was committed; `checkpoints.noteRecords` has been told. */
  readonly committed: () => void;
}

const FORMAT = { file: 'format', format: 'gantry-segments', version: SEGMENT_FORMAT_VERSION };

const MIB = 1024 * 1024;

/** A store has about this many segments: one of them is the reserve. */
const SEGMENTS_PER_STORE = 64;

/** No store has smaller ones, unless it is told to. */
export const MIN_SEGMENT_BYTES = 256 * 1024;
const MAX_SEGMENT_BYTES = 128 * MIB;

/** From here on a file of its own costs no more than a record (bench/README.md). */
const MAX_RECORD_BLOB_BYTES = MIB;

/** Room beyond the reserve of one segment: its header, and the index growing between two looks at it. */
export const RESERVE_SLACK_BYTES = 256 * 1024;

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
    const recovered = recover({
      folder: this.#folders.segments,
      files: this.#fs,
      log,
      quarantine,
      table,
      mark,
      assumedLeaseBytes: sizes.maxLeasedBytes * ASSUMED_LEASE_SHARE,
      onOpened: (segments) => {
        this.#segments = segments;
      },
    });
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
    const checkpoints = new Checkpoints({
      folder: this.#folders.segments,
      files: this.#fs,
      log,
      core,
      records,
      space,
      quarantine,
      blobFiles: files,
      isUnsynced: this.#options.sync === 'none',
      leaseFiles: recovered.leaseFiles,
    });
    this.#checkpoints = checkpoints;
    await checkpoints.start();
    // What a crash left in the system's memory is not acknowledged again before it is on the device.
    for (const segment of recovered.replayedSegments) records.distrust(segment);
    await records.syncAll();
    const rotation = new Rotation({
      ...{ index, segments, log: records, space, events, leaseSeconds },
      onDamaged: (row, damage) => core.putAside(table.readKey(row, new RowKey()), core.placeOf(row), damage),
    });
    const { replayedRecords, damagedPlaces } = recovered;
    const found = { replayedRecords, damagedPlaces };
    return { core, files, segments, space, rotation, checkpoints, sizes, leaseSeconds, found };
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
    const { clock, log, sync, maxBytes } = this.#options;
    this.#files = await FileBlobStore.open(this.#folders.files, {
      ...{ clock, log, maxBytes, files: this.#fs },
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

function sizesOf(options: LocalStoreOptions): StoreSizes {
  const { maxBytes, maxLeasedShare } = options;
  const segmentBytes =
    options.segmentBytes ??
    Math.min(MAX_SEGMENT_BYTES, Math.max(MIN_SEGMENT_BYTES, Math.floor(maxBytes / SEGMENTS_PER_STORE)));
  if (segmentBytes * 8 > maxBytes) {
    throw new ReapiError(
      'precondition',
      `a store of ${maxBytes} bytes is too small; it needs 8 segments of ${segmentBytes} bytes`,
    );
  }
  return {
    segmentBytes,
    maxRecordBlobBytes: Math.min(MAX_RECORD_BLOB_BYTES, Math.floor(segmentBytes / 4)),
    maxLeasedBytes: Math.floor(maxBytes * maxLeasedShare),
    overheadBytes: FILE_OVERHEAD_BYTES + SEGMENT_HEADER_BYTES,
  };
}

/**
 * What is kept free for rotation: as much as one segment may take, and a little more. Segments of a run with a larger limit are
 * larger. @param largestBytes of the segments there are.
 */
export function reserveFor(largestBytes: number, sizes: StoreSizes, maxBytes: number): number {
  return Math.min(Math.max(largestBytes, sizes.segmentBytes) + RESERVE_SLACK_BYTES, maxBytes / 2);
}

/** Times of use of files come from the files after an unclean stop; the lease log knows better. */
function restoreFileLeases(files: FileBlobStore, renewals: ReadonlyMap<string, number>, time: StoreTime): void {
  if (renewals.size === 0) return;
  for (const [start, digest] of files.digestsByHashStart()) {
    const seconds = renewals.get(start);
    if (seconds !== undefined) files.touchAt(digest, time.toMonotonicMs(seconds));
  }
}
