import { hash as hashOf } from 'node:crypto';
import { checkEntry } from '../../entries/entry-limits.ts';
import type { Entry, EntryStore } from '../../entries/entry-store.ts';
import { isKind, ReapiError, throwIfAborted } from '../../errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { Backlog } from './backlog.ts';
import type { BucketIndex, IndexedEntry } from './bucket-index.ts';
import type { BucketTime } from './bucket-time.ts';
import type { BucketWriter, VersionedEntry } from './bucket-writer.ts';
import { decodeEntryBody } from './entry-body.ts';
import { compareVersions } from './entry-version.ts';
import { readPlace } from './fetch-blob.ts';
import { decodeLocalEntry, encodeLocalEntry, type LocalEntry, localEntryKey } from './local-entry.ts';
import type { LocalTier } from './local-tier.ts';
import type { ObjectStore } from './object-store.ts';
import type { PendingUploads } from './pending-uploads.ts';
import type { RangeReader } from './range-reader.ts';
import type { S3Health } from './s3-health.ts';
import { waitAtMost } from './wait-at-most.ts';

/** A value that somebody waits for goes out after that. */
const PATIENCE_MS = 10;

const NO_VALUE = new Uint8Array();

/** What the store of entries stands on. */
export interface DurableEntryStoreParts {
  readonly local: LocalTier;
  readonly index: BucketIndex;
  readonly reader: RangeReader;
  readonly objects: Pick<ObjectStore, 'getRange'>;
  readonly writer: BucketWriter;
  readonly pending: PendingUploads;
  readonly backlog: Backlog;
  readonly health: S3Health;
  readonly time: BucketTime;
  readonly clock: Clock;
  readonly log: Log;
}

/** How entries are stored. */
export interface DurableEntryStoreOptions {
  /** This server. */
  readonly writer: string;
  readonly durability: 's3' | 'local';
  readonly uploadWaitMs: number;
  readonly maxEntryBytes: number;
}

/**
 * Entries in the bucket, with the local tier before it. The newest value by (sequence, writer) counts, whoever wrote it. While S3 is out
 * of reach a value that only the bucket has is a miss: entries are things that can be made again.
 */
export class DurableEntryStore implements EntryStore {
  readonly #parts: DurableEntryStoreParts;
  readonly #options: DurableEntryStoreOptions;

  constructor(parts: DurableEntryStoreParts, options: DurableEntryStoreOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async get(key: string, signal: AbortSignal): Promise<Entry | undefined> {
    throwIfAborted(signal);
    const { index, time } = this.#parts;
    const hash = hashOf('sha256', key);
    const stored = index.findEntry(hash);
    if (stored !== undefined) index.touchEntry(hash, time.now());
    const here = await this.#here(key, signal);
    if (here !== undefined && this.#counts(key, here, stored)) {
      return here.isRemoval ? undefined : { value: here.value, writtenMs: here.writtenMs };
    }
    if (stored === undefined || stored.isRemoval) return undefined;
    return this.#fetch(key, stored, signal);
  }

  async put(key: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.putWritten(key, value, this.#parts.clock.nowMs(), signal);
  }

  /** `put` of a value that was written at another time. @param writtenMs wall-clock milliseconds. */
  async putWritten(key: string, value: Uint8Array, writtenMs: number, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    checkEntry(key, value, this.#options.maxEntryBytes);
    // A copy: it may be on its way to the bucket when the caller has its array back.
    await this.#write(this.#next(key, new Uint8Array(value), writtenMs, false), signal);
  }

  /**
   * Takes up a value that this machine had before the bucket was configured, unless there is one by now.
   * @returns what the bucket is to be given. @throws cancelled; unavailable if the local tier fails.
   */
  async adopt(
    key: string,
    value: Uint8Array,
    writtenMs: number,
    signal: AbortSignal,
  ): Promise<VersionedEntry | undefined> {
    const { local, index, log } = this.#parts;
    let adopted: VersionedEntry | undefined;
    if (index.findEntry(hashOf('sha256', key)) === undefined && (await this.#here(key, signal)) === undefined) {
      adopted = this.#next(key, value, writtenMs, false);
      try {
        await this.#putHere(adopted, signal);
      } catch (error) {
        if (!isKind(error, 'quota-exceeded')) throw error;
        log.warn({ err: error }, 'the local tier has no room to take up an entry; the next start tries again');
        return undefined;
      }
    }
    await local.entries.delete(key, signal);
    return adopted;
  }

  async delete(key: string, signal: AbortSignal): Promise<boolean> {
    const { index, clock } = this.#parts;
    const here = await this.#here(key, signal);
    const stored = index.findEntry(hashOf('sha256', key));
    const newest = here !== undefined && this.#counts(key, here, stored) ? here : stored;
    if (newest === undefined || newest.isRemoval) return false;
    await this.#write(this.#next(key, NO_VALUE, clock.nowMs(), true), signal);
    return true;
  }

  /**
   * Whether the value of the local tier is the newest. One that the bucket does not know of and is not given counts no more: it was forgotten
   * there, or removed, and the removal forgotten.
   */
  #counts(key: string, here: LocalEntry, stored: IndexedEntry | undefined): boolean {
    if (stored === undefined) return this.#parts.pending.isEntryOnItsWay(key);
    return compareVersions(here.version, stored.version) >= 0;
  }

  #next(key: string, value: Uint8Array, writtenMs: number, isRemoval: boolean): VersionedEntry {
    const { index, clock } = this.#parts;
    // Not below the time: a server that starts while S3 is out of reach does not know the newest number that it used itself.
    const sequence = Math.max(index.maxSequence + 1, Math.floor(clock.nowMs()));
    const version = { sequence, writer: this.#options.writer };
    index.sawSequence(version.sequence);
    return { key, value, writtenMs: Math.max(0, Math.floor(writtenMs)), version, isRemoval };
  }

  async #write(entry: VersionedEntry, signal: AbortSignal): Promise<void> {
    const { backlog, pending, writer, clock, health } = this.#parts;
    const { durability, uploadWaitMs } = this.#options;
    writer.throwIfFull();
    const takenBytes = entry.value.length;
    backlog.take(takenBytes);
    let isHandedOn = false;
    try {
      await this.#putHere(entry, signal);
      isHandedOn = true;
    } finally {
      if (!isHandedOn) backlog.give(takenBytes);
    }
    if (durability === 'local') {
      pending.addEntry(entry, takenBytes);
      return;
    }
    const stored = writer.writeEntry(entry, PATIENCE_MS);
    stored.then(
      () => backlog.give(takenBytes),
      () => backlog.give(takenBytes),
    );
    await waitAtMost(stored, uploadWaitMs, { clock, health, signal });
  }

  #putHere(entry: VersionedEntry, signal: AbortSignal): Promise<void> {
    const { entries } = this.#parts.local;
    return entries.putWritten(localEntryKey(entry.key), encodeLocalEntry(entry), entry.writtenMs, signal);
  }

  /** What the local tier has. One that is damaged is absent: the bucket may have it. */
  async #here(key: string, signal: AbortSignal): Promise<(LocalEntry & { readonly writtenMs: number }) | undefined> {
    const { local, log } = this.#parts;
    try {
      const entry = await local.entries.get(localEntryKey(key), signal);
      const decoded = entry === undefined ? undefined : decodeLocalEntry(entry.value);
      return entry === undefined || decoded === undefined ? undefined : { ...decoded, writtenMs: entry.writtenMs };
    } catch (error) {
      if (!isKind(error, 'data-loss')) throw error;
      log.warn({ err: error }, 'an entry of the local tier is damaged');
      return undefined;
    }
  }

  async #fetch(key: string, stored: IndexedEntry, signal: AbortSignal): Promise<Entry | undefined> {
    const { health, log } = this.#parts;
    const { container } = stored;
    try {
      health.throwIfDown();
      const body = await readPlace(this.#parts, stored, signal);
      const decoded = decodeEntryBody(body);
      if ('damage' in decoded)
        throw new ReapiError('data-loss', `an entry in the bucket is damaged: ${decoded.damage}`);
      if (decoded.key !== key) throw new ReapiError('data-loss', 'an entry in the bucket has another key');
      const { value, writtenMs } = decoded;
      await this.#keep(key, stored, { value, writtenMs }, signal);
      return { value, writtenMs };
    } catch (error) {
      if (!isKind(error, 'unavailable') && !isKind(error, 'not-found') && !isKind(error, 'data-loss')) throw error;
      log.warn({ err: error, key: container.key }, 'a value could not be read from the bucket; it counts as absent');
      return undefined;
    }
  }

  /** Keeps a copy in the local tier, if that takes it. */
  async #keep(key: string, { version }: IndexedEntry, { value, writtenMs }: Entry, signal: AbortSignal): Promise<void> {
    const { local, log } = this.#parts;
    try {
      const stored = encodeLocalEntry({ version, isRemoval: false, value });
      await local.entries.putWritten(localEntryKey(key), stored, writtenMs, signal);
    } catch (error) {
      if (!isKind(error, 'quota-exceeded') && !isKind(error, 'unavailable')) throw error;
      log.debug({ err: error }, 'the local tier does not keep a copy of an entry');
    }
  }
}
