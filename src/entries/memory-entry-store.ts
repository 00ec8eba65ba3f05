import { LRUCache } from 'lru-cache';
import { ReapiError, throwIfAborted } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import { checkEntry } from './entry-limits.ts';
import type { Entry, EntryStore } from './entry-store.ts';

/** What an entry costs beside its bytes: list node, array. */
const OVERHEAD_BYTES = 256;

/** Clock and limits of a memory entry store. */
export interface MemoryEntryStoreOptions {
  readonly clock: Clock;
  /** Total of keys and values, each entry counted with 256 bytes for its bookkeeping. */
  readonly maxBytes: number;
  /** Largest value. */
  readonly maxEntryBytes: number;
}

/** Entries in memory, the least recently used going first; for tests and servers that keep nothing. */
export class MemoryEntryStore implements EntryStore {
  readonly #entries: LRUCache<string, Entry>;
  readonly #options: MemoryEntryStoreOptions;

  constructor(options: MemoryEntryStoreOptions) {
    this.#options = options;
    this.#entries = new LRUCache({
      maxSize: options.maxBytes,
      sizeCalculation: ({ value }, key) => value.length + 2 * key.length + OVERHEAD_BYTES,
    });
  }

  /** What the entries take, bookkeeping included. */
  get bytes(): number {
    return this.#entries.calculatedSize;
  }

  async get(key: string, signal: AbortSignal): Promise<Entry | undefined> {
    throwIfAborted(signal);
    return this.#entries.get(key);
  }

  async put(key: string, value: Uint8Array, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const { clock, maxBytes, maxEntryBytes } = this.#options;
    checkEntry(key, value, maxEntryBytes);
    if (value.length + 2 * key.length + OVERHEAD_BYTES > maxBytes) {
      throw new ReapiError('too-large', `an entry of ${value.length} bytes is more than the whole store may hold`);
    }
    // Not `slice`: a Buffer's would share the bytes.
    this.#entries.set(key, { value: new Uint8Array(value), writtenMs: clock.nowMs() });
  }

  async delete(key: string, signal: AbortSignal): Promise<boolean> {
    throwIfAborted(signal);
    return this.#entries.delete(key);
  }
}
