import { ReapiError } from '../../../errors.ts';
import type { Clock } from '../../../system/clock.ts';
import { writeError } from '../../../system/file-errors.ts';
import type { StoreEvents } from '../store-report.ts';
import { type NewRecord, RECORD_ALIGNMENT, RECORD_HEADER_BYTES, recordBytes, writeRecordStart } from './format.ts';
import { pinned, type SegmentFile } from './segment-file.ts';

/** Most bytes of one group; also what is written and synced at a time. */
const MAX_GROUP_BYTES = 4 * 1024 * 1024;

/** Data up to this size is copied next to its header, so that a group of small records is one buffer. */
const COPY_BYTES = 16 * 1024;

/** Room for headers, keys and small data of one group. */
const STAGING_BYTES = 1024 * 1024;

/** Groups up to this size are written at once: handing them to a thread costs more. */
const WRITE_AT_ONCE_BYTES = 256 * 1024;

/** Records waiting to be written; beyond it the device does not keep up, and more is refused. */
const MAX_QUEUED_BYTES = 256 * 1024 * 1024;
const RETRY_MS = 1000;

/** What a committed record becomes part of. */
export interface RecordPlace {
  readonly segment: number;
  readonly offset: number;
}

/** Whether both are the same record. */
export function isSamePlace(a: RecordPlace, b: RecordPlace): boolean {
  return a.segment === b.segment && a.offset === b.offset;
}

/** A record on its way into the log. `committed` and `skipped` must not throw. */
export type LogRecord = FreshRecord | CopiedRecord;

/** A new value. */
export interface FreshRecord {
  readonly record: NewRecord;
  /** Told in the order of the log, once the record is as durable as the log makes it. */
  committed(place: RecordPlace): void;
}

/**
 * A record that is copied forward as it is. Copies are written in groups of their own, and only if they are still wanted
 * then: everything written before is in the index by that time, so a copy never comes after a newer value of its key.
 */
export interface CopiedRecord {
  /** With padding. */
  readonly raw: Buffer;
  isWanted(): boolean;
  committed(place: RecordPlace): void;
  skipped(): void;
}

/** What the log asks of its store. */
export interface LogHost {
  /** A new segment, accounted for. Throws system errors. */
  createSegment(): SegmentFile;
  /** Waits until the names of segments are on the device. */
  syncNames(): Promise<void>;
  /** The segment that grows has become longer by bytes that are no records. */
  wasted(bytes: number): void;
}

/** How the log writes. */
export interface LogOptions {
  readonly clock: Clock;
  readonly events: StoreEvents;
  /** A segment is not continued beyond this size. */
  readonly segmentBytes: number;
  /** `group`: whoever appended waits for the device, together with all others of the group. */
  readonly sync: 'group' | 'none';
}

interface Group {
  readonly isCopies: boolean;
  readonly records: LogRecord[];
  bytes: number;
  stagedBytes: number;
  readonly done: PromiseWithResolvers<void>;
}

/**
 * Appends records to the newest segment, in groups: what arrives while one group is written and synced forms the next.
 * One group is written at a time and its records are announced before the next is put together, so the order of the log is
 * the order in which its users learn of it.
 *
 * A group that fails is rejected whole. Its bytes are cut off again; if syncing failed, the device may have lost them, and the
 * segment is not continued.
 */
export class SegmentLog {
  readonly #host: LogHost;
  readonly #options: LogOptions;
  readonly #staging = Buffer.allocUnsafeSlow(STAGING_BYTES);
  readonly #maxGroupBytes: number;
  #groups: Group[] = [];
  #active: SegmentFile;
  #running: Promise<void> | undefined;
  #queuedBytes = 0;
  #mustRoll = false;
  /** Segments that were begun, and how many of them had their names synced. Of the first one that is not known. */
  #namesMade = 1;
  #namesSynced = 0;
  #syncing: Promise<void> = Promise.resolve();
  readonly #unsynced = new Set<SegmentFile>();

  constructor(host: LogHost, active: SegmentFile, options: LogOptions) {
    this.#host = host;
    this.#active = active;
    this.#options = options;
    this.#maxGroupBytes = Math.min(MAX_GROUP_BYTES, options.segmentBytes / 2);
  }

  /** The segment that grows. */
  get active(): SegmentFile {
    return this.#active;
  }

  /** The end of what is committed: everything before it has been announced. */
  get end(): RecordPlace {
    return { segment: this.#active.id, offset: this.#active.sizeBytes };
  }

  /** Resolves when the record is committed. @throws unavailable; quota-exceeded when the disk is full. */
  append(entry: LogRecord): Promise<void> {
    const isCopy = 'raw' in entry;
    const bytes = bytesOf(entry);
    if (!isCopy && this.#queuedBytes + bytes > MAX_QUEUED_BYTES) {
      const message = 'the disk does not keep up with what is being stored';
      return Promise.reject(new ReapiError('unavailable', message, { retryAfterMs: RETRY_MS }));
    }
    const stagedBytes = stagedBytesOf(entry);
    const group = this.#groupFor(isCopy, bytes, stagedBytes);
    group.records.push(entry);
    group.bytes += bytes;
    group.stagedBytes += stagedBytes;
    this.#queuedBytes += bytes;
    this.#running ??= this.#run();
    return group.done.promise;
  }

  /** Starts a new segment, so that the one before can be reclaimed. Throws system errors. */
  async roll(): Promise<void> {
    await this.settled();
    this.#startSegment();
  }

  /** Waits until everything committed so far is on the device. One call after the other. Throws system errors. */
  syncAll(): Promise<void> {
    const synced = this.#syncing.then(() => this.#syncAll());
    this.#syncing = synced.catch(() => undefined);
    return synced;
  }

  /** What a segment holds may not be on the device yet: it was found there after an unclean stop. */
  distrust(segment: SegmentFile): void {
    this.#unsynced.add(segment);
  }

  /** A segment was reclaimed: there is nothing to sync any more. */
  forget(segment: SegmentFile): void {
    this.#unsynced.delete(segment);
  }

  /** Waits for what was appended. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #syncAll(): Promise<void> {
    for (const segment of [...this.#unsynced]) {
      if (!this.#unsynced.has(segment) || segment.isRetired) continue;
      // What is written meanwhile has to be synced again.
      this.#unsynced.delete(segment);
      try {
        await pinned(segment, () => segment.sync());
      } catch (error) {
        if (!segment.isRetired) this.#unsynced.add(segment);
        throw error;
      }
    }
    await this.#syncNames();
  }

  /** A segment that is begun meanwhile is another one to sync. */
  async #syncNames(): Promise<void> {
    const made = this.#namesMade;
    if (this.#namesSynced === made) return;
    await this.#host.syncNames();
    this.#namesSynced = Math.max(this.#namesSynced, made);
  }

  #groupFor(isCopies: boolean, bytes: number, stagedBytes: number): Group {
    const last = this.#groups.at(-1);
    const fits =
      last !== undefined &&
      last.isCopies === isCopies &&
      last.bytes + bytes <= this.#maxGroupBytes &&
      last.stagedBytes + stagedBytes <= STAGING_BYTES;
    if (fits) return last;
    const group: Group = { isCopies, records: [], bytes: 0, stagedBytes: 0, done: Promise.withResolvers() };
    this.#groups.push(group);
    return group;
  }

  async #run(): Promise<void> {
    // What is appended in the same turn belongs to the first group.
    await Promise.resolve();
    for (let group = this.#groups.shift(); group !== undefined; group = this.#groups.shift()) {
      try {
        await this.#commit(group);
        group.done.resolve();
      } catch (error) {
        group.done.reject(error);
      }
      this.#queuedBytes -= group.bytes;
    }
    this.#running = undefined;
  }

  async #commit(group: Group): Promise<void> {
    const records = group.isCopies ? wantedOf(group.records) : group.records;
    if (records.length === 0) return;
    const bytes = records.reduce((sum, entry) => sum + bytesOf(entry), 0);
    const startMs = this.#options.clock.monotonicMs();
    try {
      if (this.#mustRoll || this.#active.sizeBytes + bytes > this.#options.segmentBytes) this.#startSegment();
      await this.#write(records, bytes);
    } catch (error) {
      for (const entry of group.isCopies ? records : []) if ('raw' in entry) entry.skipped();
      throw writeError(error, 'writing to the store');
    }
    let { sizeBytes: offset } = this.#active;
    this.#active.extend(bytes);
    for (const entry of records) {
      entry.committed({ segment: this.#active.id, offset });
      offset += bytesOf(entry);
    }
    const seconds = (this.#options.clock.monotonicMs() - startMs) / 1000;
    this.#options.events.committed({ records: records.length, bytes, seconds });
  }

  #startSegment(): void {
    this.#active = this.#host.createSegment();
    this.#mustRoll = false;
    this.#namesMade++;
  }

  async #write(records: readonly LogRecord[], bytes: number): Promise<void> {
    const segment = this.#active;
    const chunks = this.#chunksOf(records);
    this.#unsynced.add(segment);
    try {
      if (bytes <= WRITE_AT_ONCE_BYTES) segment.write(chunks);
      else await segment.writeAsync(chunks);
    } catch (error) {
      this.#cutOff(segment, bytes);
      throw error;
    }
    if (this.#options.sync === 'none') return;
    try {
      await segment.sync();
      this.#unsynced.delete(segment);
      await this.#syncNames();
    } catch (error) {
      this.#mustRoll = true;
      this.#cutOff(segment, bytes);
      throw error;
    }
  }

  /**
   * If the file cannot be cut it ends here, with the bytes of the group counted as garbage: a shorter group in their place would
   * leave whole records of them behind it, which are older than it and look newer to whoever replays the segment.
   */
  #cutOff(segment: SegmentFile, bytes: number): void {
    try {
      segment.cutOff(segment.sizeBytes);
    } catch (error) {
      writeError(error, 'cutting off a segment');
      this.#mustRoll = true;
      segment.extend(bytes);
      this.#host.wasted(bytes);
    }
  }

  #chunksOf(records: readonly LogRecord[]): readonly Uint8Array[] {
    const chunks: Uint8Array[] = [];
    const staging = this.#staging;
    let from = 0;
    let at = 0;
    for (const entry of records) {
      const data = 'raw' in entry ? entry.raw : entry.record.data;
      if (!('raw' in entry)) at = writeRecordStart(this.#active.mark, entry.record, staging, at);
      if (data.length <= COPY_BYTES) {
        staging.set(data, at);
        at += data.length;
      } else {
        if (at > from) chunks.push(staging.subarray(from, at));
        chunks.push(data);
        from = at;
      }
      const padding = 'raw' in entry ? 0 : paddingOf(entry.record);
      staging.fill(0, at, at + padding);
      at += padding;
    }
    if (at > from) chunks.push(staging.subarray(from, at));
    return chunks;
  }
}

function wantedOf(records: readonly LogRecord[]): readonly LogRecord[] {
  return records.filter((entry) => {
    if (!('raw' in entry) || entry.isWanted()) return true;
    entry.skipped();
    return false;
  });
}

function bytesOf(entry: LogRecord): number {
  return 'raw' in entry ? entry.raw.length : recordBytes(entry.record.key.length + entry.record.data.length);
}

function stagedBytesOf(entry: LogRecord): number {
  if ('raw' in entry) return entry.raw.length <= COPY_BYTES ? entry.raw.length : 0;
  const { key, data } = entry.record;
  return RECORD_HEADER_BYTES + key.length + (data.length <= COPY_BYTES ? data.length : 0) + RECORD_ALIGNMENT;
}

function paddingOf({ key, data }: NewRecord): number {
  const payloadBytes = key.length + data.length;
  return recordBytes(payloadBytes) - RECORD_HEADER_BYTES - payloadBytes;
}
