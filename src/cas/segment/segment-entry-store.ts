import { hash } from 'node:crypto';
import { checkEntry } from '../../entries/entry-limits.ts';
import type { Entry, EntryStore } from '../../entries/entry-store.ts';
import { ReapiError, throwIfAborted } from '../../errors.ts';
import { ENTRY_KIND, parseRecord } from './log/format.ts';
import type { RecordPlace } from './log/segment-log.ts';
import { RowKey } from './record-index/row-key.ts';
import type { StoreCore } from './store-core.ts';

const NO_DATA = new Uint8Array();

/**
 * Entries as records of the log, found by the SHA-256 of their key. A new value replaces the old one, a removal is a record
 * too; what comes later in the log counts. Entries are not leased: rotation drops those that were not used lately.
 *
 * A damaged entry is put aside with `data-loss`, once; from then on it is absent.
 */
export class SegmentEntryStore implements EntryStore {
  readonly #core: StoreCore;
  readonly #maxEntryBytes: number;
  readonly #key = new RowKey();

  /** @param options.maxEntryBytes largest value. */
  constructor(core: StoreCore, options: { readonly maxEntryBytes: number }) {
    this.#core = core;
    this.#maxEntryBytes = options.maxEntryBytes;
  }

  async get(key: string, signal: AbortSignal): Promise<Entry | undefined> {
    throwIfAborted(signal);
    this.#core.throwIfClosed();
    const { index } = this.#core;
    const row = index.table.find(this.#keyOf(key));
    if (row < 0) return undefined;
    index.touch(row, index.time.now());
    index.flushRenewals();
    const place = this.#core.placeOf(row);
    const read = this.#core.readRow(row);
    const record = read instanceof Promise ? await read : read;
    if (record === undefined) throw damaged('it cannot be read');
    const parsed = parseRecord(this.#core.mark, record);
    if ('damage' in parsed) throw this.#damaged(key, place, record, parsed.damage);
    if (parsed.key.toString() !== key) throw this.#damaged(key, place, record, 'it has another key');
    return { value: parsed.data, writtenMs: parsed.header.writtenMs };
  }

  put(key: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.putWritten(key, value, this.#core.clock.nowMs(), signal);
  }

  /** `put` of a value that was written at another time: for migration. @param writtenMs wall-clock milliseconds. */
  async putWritten(key: string, value: Uint8Array, writtenMs: number, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    this.#core.throwIfClosed();
    checkEntry(key, value, this.#maxEntryBytes);
    const { index } = this.#core;
    await this.#core.append(
      { kind: ENTRY_KIND, isRemoval: false, key: Buffer.from(key), data: value, writtenMs },
      (place) => index.put(this.#keyOf(key), { ...place, touched: index.time.now() }),
    );
  }

  /** Written down also if there is none now: it may just have been evicted, and a crash before its segment goes brings it back. */
  async delete(key: string, signal: AbortSignal): Promise<boolean> {
    throwIfAborted(signal);
    this.#core.throwIfClosed();
    const { index } = this.#core;
    let wasThere = false;
    const record = {
      kind: ENTRY_KIND,
      isRemoval: true,
      key: Buffer.from(key),
      data: NO_DATA,
      writtenMs: this.#core.clock.nowMs(),
    };
    await this.#core.append(record, () => {
      const row = index.table.find(this.#keyOf(key));
      wasThere = row >= 0;
      if (wasThere) index.remove(row);
    });
    return wasThere;
  }

  #damaged(key: string, place: RecordPlace, bytes: Buffer, reason: string): ReapiError {
    this.#core.putAside(this.#keyOf(key), place, { bytes, reason });
    return damaged(reason);
  }

  #keyOf(key: string): RowKey {
    return this.#key.setBytes(ENTRY_KIND, hash('sha256', key, 'buffer'));
  }
}

function damaged(reason: string): ReapiError {
  return new ReapiError('data-loss', `a stored entry was damaged (${reason}) and is gone`);
}
