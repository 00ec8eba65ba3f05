import { ReapiError, systemCode } from '../../../errors.ts';
import type { Log } from '../../../system/log.ts';
import { ENTRY_KIND, recordBytes } from '../log/format.ts';
import type { StoreTime } from '../store-time.ts';
import type { DigestTable, Place } from './digest-table.ts';
import type { LeaseFile } from './lease-file.ts';
import type { LeaseLedger } from './lease-ledger.ts';
import type { RowKey } from './row-key.ts';

/** Renewals are written to the lease log in blocks of at most this many. */
const MAX_RENEWALS = 4096;

/** A lease log does not grow beyond this, however long checkpoints fail: millions of renewals. */
const MAX_LEASE_LOG_BYTES = 64 * 1024 * 1024;

/** What a record index stands on. */
export interface RecordIndexParts {
  readonly table: DigestTable;
  readonly ledger: LeaseLedger;
  readonly time: StoreTime;
  readonly log: Log;
  /** How long presence is promised after a look. */
  readonly retentionSeconds: number;
}

/** How long a record is held after its last renewal; see `RecordIndex`. @param retentionSeconds what is promised. */
export function leaseSecondsOf(retentionSeconds: number): number {
  return retentionSeconds === 0 ? 0 : retentionSeconds + slackOf(retentionSeconds);
}

/**
 * Which records there are and how long they are promised to stay.
 *
 * A look at a blob promises it for the retention time. The promise is kept by a lease: the row's `touched` plus the lease time.
 * Leases are half again as long as the retention, so that a row needs renewing only when that half is used up: most looks
 * write nothing. Renewals go to the lease log, so that a start after a crash knows them.
 */
export class RecordIndex {
  readonly table: DigestTable;
  readonly ledger: LeaseLedger;
  readonly time: StoreTime;
  readonly #log: Log;
  readonly #slackSeconds: number;
  readonly #renewals = new Uint32Array(2 * MAX_RENEWALS);
  #renewalCount = 0;
  #leases: LeaseFile | undefined;
  #renewalsWritten: () => void = noAction;
  #liveBytes = 0;
  #blobs = 0;
  #isLeaseLogBroken = false;

  constructor(parts: RecordIndexParts) {
    this.table = parts.table;
    this.ledger = parts.ledger;
    this.time = parts.time;
    this.#log = parts.log;
    this.#slackSeconds = slackOf(parts.retentionSeconds);
  }

  get blobs(): number {
    return this.#blobs;
  }

  get entries(): number {
    return this.table.size - this.#blobs;
  }

  /** Bytes of the records that rows refer to. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** How old a promise may get before it is renewed. */
  get slackSeconds(): number {
    return this.#slackSeconds;
  }

  /** Renewals go to `leases` from now on; undefined while the store opens. @param written told when some were written. */
  useLeaseFile(leases: LeaseFile | undefined, written: () => void = noAction): void {
    this.flushRenewals();
    this.#leases = leases;
    this.#renewalsWritten = written;
  }

  /** Takes up the rows that are in the table already. */
  adopt(): void {
    const { table } = this;
    table.forEachRow((row) => {
      const bytes = recordBytes(table.payloadBytes(row));
      this.#liveBytes += bytes;
      if (table.kind(row) === ENTRY_KIND) return;
      this.#blobs++;
      this.ledger.hold(bytes, table.touched(row));
    });
  }

  /** Enters a record, in place of an older one of its key. */
  put(key: RowKey, place: Place): void {
    const row = this.table.find(key);
    if (row >= 0) this.remove(row);
    this.table.add(key, place);
    this.#liveBytes += recordBytes(place.payloadBytes);
    if (key.kind === ENTRY_KIND) return;
    this.#blobs++;
    this.ledger.hold(recordBytes(place.payloadBytes), place.touched);
  }

  /** Forgets a record. */
  remove(row: number): void {
    const bytes = recordBytes(this.table.payloadBytes(row));
    this.#liveBytes -= bytes;
    if (this.table.kind(row) !== ENTRY_KIND) {
      this.#blobs--;
      this.ledger.drop(bytes, this.table.touched(row));
    }
    this.table.remove(row);
  }

  /** A record stands elsewhere now. */
  move(row: number, segment: number, offset: number): void {
    const { table } = this;
    table.replace(row, { segment, offset, payloadBytes: table.payloadBytes(row), touched: table.touched(row) });
  }

  /** Notes that a record was looked at. Whoever renews calls `flushRenewals` before answering. */
  touch(row: number, now: number): void {
    const { table } = this;
    if (now - table.touched(row) < this.#slackSeconds) return;
    this.setTouched(row, now);
    if (this.#slackSeconds > 0) this.noteRenewal(table.word(row, 0), table.word(row, 1));
  }

  /** Sets when a record was last used. */
  setTouched(row: number, seconds: number): void {
    const { table } = this;
    if (table.kind(row) !== ENTRY_KIND) {
      const bytes = recordBytes(table.payloadBytes(row));
      this.ledger.drop(bytes, table.touched(row));
      this.ledger.hold(bytes, seconds);
    }
    table.setTouched(row, seconds);
  }

  /** Adds the first eight bytes of a hash to the lease log. */
  noteRenewal(word0: number, word1: number): void {
    this.#renewals[2 * this.#renewalCount] = word0;
    this.#renewals[2 * this.#renewalCount + 1] = word1;
    if (++this.#renewalCount === MAX_RENEWALS) this.flushRenewals();
  }

  /**
   * Writes renewals down. Looking at a blob must not fail because that does: then a crash forgets the renewals.
   * @returns whether they are written.
   */
  flushRenewals(): boolean {
    if (this.#renewalCount === 0) return true;
    const count = this.#renewalCount;
    this.#renewalCount = 0;
    try {
      if ((this.#leases?.sizeBytes ?? 0) > MAX_LEASE_LOG_BYTES)
        throw new ReapiError('unavailable', 'the lease log is full');
      this.#leases?.append(this.#renewals, count, this.time.now());
      this.#isLeaseLogBroken = false;
      this.#renewalsWritten();
      return true;
    } catch (error) {
      if (systemCode(error) === undefined && !(error instanceof ReapiError)) throw error;
      if (!this.#isLeaseLogBroken) this.#log.warn({ err: error }, 'renewed leases could not be written down');
      this.#isLeaseLogBroken = true;
      return false;
    }
  }
}

function noAction(): void {
  // Nobody needs to know.
}

function slackOf(retentionSeconds: number): number {
  return Math.ceil(retentionSeconds / 2);
}
