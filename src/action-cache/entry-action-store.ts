import { type ActionKey, actionKeyText } from '../digest/action-key.ts';
import type { EntryStore } from '../entries/entry-store.ts';
import { isKind } from '../errors.ts';
import type { Clock } from '../system/clock.ts';
import { type ActionStore, type OnMiss, resultFromBytes, type StoredResult } from './action-store.ts';

/** What results as entries take. */
export interface EntryActionStoreOptions {
  readonly clock: Clock;
  /**
   * A result is a miss once it is older than that since its put, in milliseconds; 0 keeps results for as long as the
   * store does. By wall clock, since ages outlive the process: a clock set forward ages every result, one set back
   * makes none older than it was, and a result of the future is new.
   */
  readonly maxAgeMs: number;
}

/** Results as entries under `ac/` and the text of their key. */
export class EntryActionStore implements ActionStore {
  readonly #entries: EntryStore;
  readonly #options: EntryActionStoreOptions;

  constructor(entries: EntryStore, options: EntryActionStoreOptions) {
    this.#entries = entries;
    this.#options = options;
  }

  /** A damaged entry is a miss: the next build puts a new one. */
  async get(key: ActionKey, signal: AbortSignal, onMiss?: OnMiss): Promise<StoredResult | undefined> {
    try {
      const entry = await this.#entries.get(resultEntryKey(key), signal);
      if (entry === undefined) {
        onMiss?.({ reason: 'absent' });
        return undefined;
      }
      const { clock, maxAgeMs } = this.#options;
      if (maxAgeMs === 0 || clock.nowMs() - entry.writtenMs <= maxAgeMs) return resultFromBytes(entry.value);
      onMiss?.({ reason: 'expired', writtenMs: entry.writtenMs, maxAgeMs });
      return undefined;
    } catch (error) {
      if (!isKind(error, 'data-loss') && !isKind(error, 'invalid-argument')) throw error;
      onMiss?.({ reason: 'damaged', what: 'the stored action result' });
      return undefined;
    }
  }

  async put(key: ActionKey, result: StoredResult, signal: AbortSignal): Promise<void> {
    await this.#entries.put(resultEntryKey(key), result.bytes, signal);
  }

  remove(key: ActionKey, signal: AbortSignal): Promise<boolean> {
    return this.#entries.delete(resultEntryKey(key), signal);
  }
}

/** The key of the entry that holds the result of an action. Stable, it is stored on disk. */
export function resultEntryKey(key: ActionKey): string {
  return `ac/${actionKeyText(key)}`;
}
