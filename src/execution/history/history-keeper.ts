import type { EntryStore } from '../../entries/entry-store.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import type { Log } from '../../system/log.ts';
import type { DurationHistory } from './duration-history.ts';
import { encodeHistory, restoreHistory } from './history-snapshot.ts';

/** What keeping a history takes. */
export interface HistoryKeeperParts {
  readonly history: DurationHistory;
  readonly entries: EntryStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often, and how much. */
export interface HistoryKeeperOptions {
  /** Between two snapshots, unless nothing was learned. */
  readonly everyMs: number;
  /** Largest snapshot, not above what an entry may have; what was used least recently is left out. */
  readonly maxBytes: number;
}

/** The key of the entry. Stable, it is stored on disk. */
const ENTRY = 'history/durations';

/**
 * Brings the history of durations over a restart: one entry, written now and then and at the stop, never one an action. A crash loses what was
 * learned since the last snapshot. Servers that share a bucket share the entry too: a start takes up what another one wrote last.
 */
export class HistoryKeeper {
  readonly #parts: HistoryKeeperParts;
  readonly #options: HistoryKeeperOptions;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #writing: Promise<void> = Promise.resolve();
  #writtenChanges: number;
  #isFailing = false;
  #isStopped = false;

  constructor(parts: HistoryKeeperParts, options: HistoryKeeperOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#writtenChanges = parts.history.changes;
  }

  /** Takes up what a former server knew, and begins to write. A history that cannot be read is begun anew. */
  async start(signal: AbortSignal): Promise<void> {
    const { history, entries, log } = this.#parts;
    try {
      const entry = await entries.get(ENTRY, signal);
      if (entry !== undefined) restoreHistory(history, entry.value);
    } catch (error) {
      log.warn({ err: error }, 'how long actions took before is not known: the stored history cannot be read');
    }
    this.#arm();
  }

  /** Writes the last snapshot. @param graceMs how long that may take. */
  async stop(graceMs: number): Promise<void> {
    const { clock } = this.#parts;
    this.#isStopped = true;
    this.#timer?.cancel();
    const timeUp = clock.wakeAt(clock.monotonicMs() + graceMs, () => this.#abort.abort());
    await this.#writing;
    await this.#write();
    timeUp.cancel();
  }

  #arm(): void {
    const { clock } = this.#parts;
    if (this.#isStopped) return;
    this.#timer = clock.wakeAt(clock.monotonicMs() + this.#options.everyMs, () => {
      this.#writing = this.#write().then(() => this.#arm());
    });
  }

  async #write(): Promise<void> {
    const { history, entries, log } = this.#parts;
    const { changes } = history;
    if (changes === this.#writtenChanges) return;
    try {
      await entries.put(ENTRY, encodeHistory(history, this.#options.maxBytes), this.#abort.signal);
      this.#writtenChanges = changes;
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) log.warn({ err: error }, 'the history of durations cannot be stored');
      this.#isFailing = true;
    }
  }
}
