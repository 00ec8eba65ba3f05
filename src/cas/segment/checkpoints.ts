import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ReapiError, systemCode } from '../../errors.ts';
import { removeIfThere } from '../../system/file-removal.ts';
import type { FileSystem } from '../../system/file-system.ts';
import type { Log } from '../../system/log.ts';
import type { Quarantine } from '../../system/quarantine.ts';
import type { FileBlobStore } from '../file-blob-store.ts';
import { leaseFileName, leaseFileNumber } from './log/recover.ts';
import type { SegmentLog } from './log/segment-log.ts';
import { INDEX_ROW_BYTES } from './record-index/digest-table.ts';
import { writeIndexFile } from './record-index/index-file.ts';
import { LeaseFile } from './record-index/lease-file.ts';
import { RowKey } from './record-index/row-key.ts';
import type { Space } from './space.ts';
import type { StoreCore } from './store-core.ts';

/** A checkpoint follows after this many bytes of records: replaying them takes about half a second. */
const MIN_BYTES_BETWEEN = 256 * 1024 * 1024;

/** With many rows the index is large; it is written no more often than after this many times its size. */
const INDEX_SIZES_BETWEEN = 4;

/** A lease log is not continued beyond this size. */
const MAX_LEASE_BYTES = 16 * 1024 * 1024;

/** A new lease log is begun for each attempt, up to this many; then the last one is continued. */
const MAX_LEASE_FILES = 8;

/** Header, block headers and end of the index file; see index-file.ts. */
const INDEX_FIXED_BYTES = 64 * 1024;

/** File systems hand out space in blocks of this size. */
const BLOCK_BYTES = 4096;

/** After a checkpoint that failed the next one waits this long, in store seconds, unless the store closes. */
const PAUSE_SECONDS = 60;

/** Leases that are written down before other work gets its turn: a few milliseconds. */
const LEASES_PER_TURN = 2048;

/** A lease log on disk. */
interface LeaseLog {
  readonly name: string;
  /** Of the one that grows: at its last look. */
  sizeBytes: number;
}

/** What checkpoints are made of. */
export interface CheckpointParts {
  readonly folder: string;
  readonly files: FileSystem;
  readonly log: Log;
  readonly core: StoreCore;
  readonly records: SegmentLog;
  readonly space: Space;
  readonly quarantine: Quarantine;
  readonly blobFiles: FileBlobStore;
  /** Whether syncing is only done here. */
  readonly isUnsynced: boolean;
  /** Names of the lease logs that were read when the store was opened. */
  readonly leaseFiles: readonly string[];
}

/**
 * Writes the index down, so that a start has little to replay: regularly, and when the store closes. Leases that are renewed
 * meanwhile go to a new lease log, which is begun first; the old ones go when the index is written. A checkpoint that fails
 * costs nothing but time at the next start.
 */
export class Checkpoints {
  readonly #parts: CheckpointParts;
  /** Oldest first; the last one grows. */
  readonly #leaseLogs: LeaseLog[];
  #leases: LeaseFile | undefined;
  #running: Promise<void> | undefined;
  #recordBytes = 0;
  #lastEnd = '';
  #accountedBytes = 0;
  #nextSeconds = 0;

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
    const { files, folder } = parts;
    this.#leaseLogs = parts.leaseFiles.map((name) => ({ name, sizeBytes: files.stat(join(folder, name)).sizeBytes }));
  }

  /** Whether enough has happened since the last one that the next should not wait for its time. */
  get isDue(): boolean {
    const { core } = this.#parts;
    if (this.#running !== undefined || core.index.time.now() < this.#nextSeconds) return false;
    const indexBytes = core.index.table.size * INDEX_ROW_BYTES;
    const recordBytes = Math.max(MIN_BYTES_BETWEEN, INDEX_SIZES_BETWEEN * indexBytes);
    return this.#recordBytes >= recordBytes || (this.#leases?.sizeBytes ?? 0) >= MAX_LEASE_BYTES;
  }

  /** Begins a lease log behind those that were read. Throws system errors. */
  async start(): Promise<void> {
    this.#beginLeaseFile();
    await this.#keepFileLeases();
    this.account();
  }

  /** Records were written. */
  noteRecords(bytes: number): void {
    this.#recordBytes += bytes;
  }

  /**
   * Brings the space that is taken beside segments and files up to date: the index, twice, as a new one is written before the
   * old one goes; lease logs; quarantine.
   */
  account(): void {
    const { core, space, quarantine } = this.#parts;
    const indexBytes = INDEX_FIXED_BYTES + core.index.table.size * INDEX_ROW_BYTES;
    this.#noteLeaseBytes();
    const leaseBytes = this.#leaseLogs.reduce((sum, { sizeBytes }) => sum + sizeBytes + BLOCK_BYTES, 0);
    const bytes = 2 * indexBytes + leaseBytes + quarantine.diskBytes(BLOCK_BYTES);
    space.add('other', bytes - this.#accountedBytes);
    this.#accountedBytes = bytes;
  }

  /** Writes the index unless nothing happened since the last time. Never fails: what goes wrong is logged. */
  async writeIfChanged(): Promise<void> {
    const { end } = this.#parts.records;
    const hasRenewals = (this.#leases?.sizeBytes ?? 0) > BLOCK_BYTES;
    if (hasRenewals || this.#lastEnd !== `${end.segment}/${end.offset}`) await this.write(false);
  }

  /** Writes the index. Never fails: what goes wrong is logged. @param isClean whether nothing follows. */
  async write(isClean: boolean): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    this.#running = this.#writeLogged(isClean);
    await this.#running;
  }

  close(): void {
    this.#parts.core.index.useLeaseFile(undefined);
    this.#leases?.close();
    this.#leases = undefined;
  }

  async #writeLogged(isClean: boolean): Promise<void> {
    try {
      await this.#write(isClean);
    } catch (error) {
      if (systemCode(error) === undefined && !(error instanceof ReapiError)) throw error;
      this.#nextSeconds = this.#parts.core.index.time.now() + PAUSE_SECONDS;
      this.#parts.log.warn({ err: error }, 'the index could not be written; the next start replays more of the log');
    } finally {
      this.#running = undefined;
      this.account();
    }
  }

  async #write(isClean: boolean): Promise<void> {
    const { core, records, files, folder, isUnsynced } = this.#parts;
    if (this.#leaseLogs.length < MAX_LEASE_FILES) this.#beginLeaseFile();
    const older = this.#leaseLogs.slice(0, -1);
    const areKept = await this.#keepFileLeases();
    const { segment, offset } = records.end;
    const facts = {
      segment,
      offset,
      storeSeconds: core.index.time.now(),
      nextSequence: core.nextSequence,
      isClean,
    };
    this.#recordBytes = 0;
    // A row may be moved to a copy while pages are written: the copy has to be on the device before the index is in place.
    const sync = isUnsynced ? () => records.syncAll() : () => Promise.resolve();
    await sync();
    await writeIndexFile({ files, folder, beforeRename: sync }, core.index.table, facts);
    this.#lastEnd = `${segment}/${offset}`;
    // What is promised of files is in these logs alone, unless it is in the newest one, too.
    if (areKept) this.#removeLeaseLogs(older);
  }

  #removeLeaseLogs(older: readonly LeaseLog[]): void {
    const { files, folder } = this.#parts;
    for (const { name } of older) {
      removeIfThere(files, join(folder, name));
      this.#leaseLogs.shift();
    }
  }

  #beginLeaseFile(): void {
    const { files, folder, core } = this.#parts;
    const name = leaseFileName(leaseFileNumber(this.#leaseLogs.at(-1)?.name ?? '') + 1);
    const next = LeaseFile.create(files, join(folder, name));
    core.index.useLeaseFile(next, () => this.#onRenewals(next));
    this.#noteLeaseBytes();
    this.#leases?.close();
    this.#leases = next;
    this.#leaseLogs.push({ name, sizeBytes: next.sizeBytes });
  }

  /** How long the lease log that grows is by now. */
  #noteLeaseBytes(): void {
    const newest = this.#leaseLogs.at(-1);
    if (newest !== undefined && this.#leases !== undefined) newest.sizeBytes = this.#leases.sizeBytes;
  }

  #onRenewals(leases: LeaseFile): void {
    if (leases.sizeBytes >= MAX_LEASE_BYTES && this.isDue) this.#parts.core.inBackground(this.write(false));
  }

  /** Files have no rows in the index: what is promised of them is kept in the lease log alone. @returns whether all of it is. */
  async #keepFileLeases(): Promise<boolean> {
    const { blobFiles, core } = this.#parts;
    const key = new RowKey();
    let kept = 0;
    let areKept = true;
    for (const { digest } of blobFiles.heldNewestFirst()) {
      const { words } = key.setHex(0, digest.hash);
      core.index.noteRenewal(words[0] ?? 0, words[1] ?? 0);
      if (++kept % LEASES_PER_TURN !== 0) continue;
      areKept = core.index.flushRenewals() && areKept;
      await nextTurn();
    }
    return core.index.flushRenewals() && areKept;
  }
}
