import { type CacheSketch, MAX_SKETCH_BYTES, sketchOf } from '../../platform/locality.ts';
import type { Clock } from '../../system/clock.ts';
import type { FileCache } from './file-cache.ts';

/** Changes worth a new sketch at once, as a share of the files. */
const CHANGED_SHARE = 0.1;

/** Fewer changes wait for so long. */
const CHANGED_INTERVAL_MS = 60_000;

/** The same is said again so often: a scheduler that was started again between two calls has not heard it. */
const REPEAT_INTERVAL_MS = 300_000;

/** Decides when the scheduler has to be told what is cached: once for all slots, since they share the cache. */
export class CacheReporter {
  readonly #cache: FileCache;
  readonly #clock: Clock;
  #sketch: CacheSketch | undefined;
  #sketchedChanges = 0;
  #sketchedMs = 0;
  /** Undefined while the scheduler may not know the sketch. */
  #toldMs: number | undefined;

  constructor(cache: FileCache, clock: Clock) {
    this.#cache = cache;
    this.#clock = clock;
  }

  /** What the next call has to carry, if anything; from then on it counts as told. */
  take(): CacheSketch | undefined {
    const nowMs = this.#clock.monotonicMs();
    const isChanged = this.#isChanged(nowMs);
    if (!isChanged && this.#toldMs !== undefined && nowMs < this.#toldMs + REPEAT_INTERVAL_MS) return undefined;
    if (isChanged || this.#sketch === undefined) {
      this.#sketch = sketchOf(this.#cache.largeHashes(), { maxBytes: MAX_SKETCH_BYTES });
      this.#sketchedChanges = this.#cache.largeChanges;
      this.#sketchedMs = nowMs;
    }
    this.#toldMs = nowMs;
    return this.#sketch;
  }

  /** A call failed: the scheduler may be another one, or has not heard what the call carried. */
  lost(): void {
    this.#toldMs = undefined;
  }

  #isChanged(nowMs: number): boolean {
    const changes = this.#cache.largeChanges - this.#sketchedChanges;
    if (changes === 0) return false;
    return changes >= CHANGED_SHARE * this.#cache.largeFiles || nowMs >= this.#sketchedMs + CHANGED_INTERVAL_MS;
  }
}
