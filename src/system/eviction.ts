import { ReapiError } from '../errors.ts';
import type { Clock } from './clock.ts';
import type { FolderIndex, IndexedFile } from './folder-index.ts';
import type { Log } from './log.ts';

/** A file that the disk refused to remove is tried again after this time. */
const REFUSED_MS = 60_000;

/** So many refusals in a row are the disk's, not a file's: then removing pauses, so that not every write tries all files. */
const MAX_REFUSALS = 16;
const PAUSE_MS = 1000;

/** Of files that must not go so many are passed over in one search, a few milliseconds; more of them are in the way of what is younger. */
const MAX_PASSED_OVER = 4096;

/** Collaborators of an eviction. */
export interface EvictionOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Removes a file from disk and index. Throws `ReapiError`; then the file is still there. */
  readonly unlink: (name: string) => void;
  /** Whether a file may go, whatever its age. Default: any may. */
  readonly mayEvict?: ((name: string) => boolean) | undefined;
}

/** Which files may go. */
export interface EvictionBounds {
  /** `held`: files within the retention time stay. `none`: they go too, as when the limit was lowered. */
  readonly sparing: 'held' | 'none';
  /** Files that were used at or after this time stay, on the monotonic clock. Default: none does for that. */
  readonly usedBeforeMs?: number;
}

/** Removes the least recently used files of a folder. One that the disk does not let go blocks nothing but its own room. */
export class Eviction {
  readonly #index: FolderIndex;
  readonly #options: EvictionOptions;
  #passedOver = 0;
  #paused: { readonly untilMs: number; readonly refusal: ReapiError } | undefined;

  constructor(index: FolderIndex, options: EvictionOptions) {
    this.#index = index;
    this.#options = options;
  }

  /** How many files the last search passed over because they must not go. */
  get passedOver(): number {
    return this.#passedOver;
  }

  /**
   * Removes one file, the least recently used that may go; one that cannot be removed stays, counted and told of once, and the next
   * takes its place.
   * @param publishing names that stay.
   * @throws unavailable if some were tried and none could be removed, and for a second after 16 refusals in a row.
   */
  removeOldest(
    { sparing, usedBeforeMs = Number.POSITIVE_INFINITY }: EvictionBounds,
    publishing: ReadonlyMap<string, unknown>,
  ): IndexedFile | undefined {
    const { mayEvict } = this.#options;
    this.#passedOver = 0;
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#paused !== undefined && nowMs < this.#paused.untilMs) throw this.#paused.refusal;
    this.#paused = undefined;
    const heldSinceMs = sparing === 'held' ? nowMs : Number.POSITIVE_INFINITY;
    let refusal: ReapiError | undefined;
    let refusals = 0;
    for (const file of this.#index.victims(nowMs, heldSinceMs, publishing)) {
      if (file.touchedMs >= usedBeforeMs || this.#passedOver === MAX_PASSED_OVER) break;
      if (mayEvict?.(file.name) === false) {
        this.#passedOver++;
        continue;
      }
      refusal = this.#tryToRemove(file.name, nowMs);
      if (refusal === undefined) return file;
      if (++refusals < MAX_REFUSALS) continue;
      this.#paused = { untilMs: nowMs + PAUSE_MS, refusal };
      break;
    }
    if (refusal !== undefined) throw refusal;
    return undefined;
  }

  /** @returns why the file is still there. */
  #tryToRemove(name: string, nowMs: number): ReapiError | undefined {
    try {
      this.#options.unlink(name);
      return undefined;
    } catch (error) {
      if (!(error instanceof ReapiError)) throw error;
      const isNews = this.#index.refuse(name, nowMs + REFUSED_MS);
      if (isNews) this.#options.log.error({ file: name, err: error }, 'a file cannot be removed; it stays and counts');
      return error;
    }
  }
}
