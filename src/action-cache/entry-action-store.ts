import { type ActionKey, actionKeyText } from '../digest/action-key.ts';
import type { EntryStore } from '../entries/entry-store.ts';
import { isKind } from '../errors.ts';
import { type ActionStore, resultFromBytes, type StoredResult } from './action-store.ts';

/** Results as entries under `ac/` and the text of their key. */
export class EntryActionStore implements ActionStore {
  readonly #entries: EntryStore;

  constructor(entries: EntryStore) {
    this.#entries = entries;
  }

  /** A damaged entry is a miss: the next build puts a new one. */
  async get(key: ActionKey, signal: AbortSignal): Promise<StoredResult | undefined> {
    try {
      const bytes = await this.#entries.get(entryKey(key), signal);
      return bytes === undefined ? undefined : resultFromBytes(bytes);
    } catch (error) {
      if (isKind(error, 'data-loss') || isKind(error, 'invalid-argument')) return undefined;
      throw error;
    }
  }

  async put(key: ActionKey, result: StoredResult, signal: AbortSignal): Promise<void> {
    await this.#entries.put(entryKey(key), result.bytes, signal);
  }
}

function entryKey(key: ActionKey): string {
  return `ac/${actionKeyText(key)}`;
}
