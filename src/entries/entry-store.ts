/** A value as it is stored. */
export interface Entry {
  readonly value: Uint8Array;
  /** Wall-clock milliseconds of its `put`. */
  readonly writtenMs: number;
}

/**
 * Small mutable values under string keys, last writer wins. Knows nothing of REAPI.
 *
 * Laws (test/support/entry-store-contract.ts):
 * - after `put` resolves, `get` gives exactly these bytes until another `put` or `delete` of that key;
 * - a reader sees the old or the new value, never a mix (R-AC-16);
 * - the store is bounded and may forget the least recently used entries, never others.
 */
export interface EntryStore {
  /** The value, or undefined. Refreshes its age. @throws unavailable; data-loss after quarantining a damaged entry. */
  get(key: string, signal: AbortSignal): Promise<Entry | undefined>;
  /** @param value at most the store's `maxEntryBytes`. @throws too-large; quota-exceeded; unavailable. */
  put(key: string, value: Uint8Array, signal: AbortSignal): Promise<void>;
  /** Whether there was one. @throws unavailable. */
  delete(key: string, signal: AbortSignal): Promise<boolean>;
}
