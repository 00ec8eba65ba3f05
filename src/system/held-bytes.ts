/** Steps into which the retention time is divided: the answer errs by what was used within one of them. */
const STEPS = 32;

/**
 * How many bytes were used within the retention time, without looking at each file: a sum per step of time in which files
 * were last used. Never too low; too high by at most what was last used within the step in which the retention begins.
 * Pure accounting.
 */
export class HeldBytes {
  readonly #minRetentionMs: number;
  readonly #stepMs: number;
  /** Bytes by step. Steps before the retention time are dropped, so there are never more than `STEPS` and a few. */
  readonly #steps = new Map<number, number>();

  /** @param minRetentionMs 0: nothing is ever held. */
  constructor(minRetentionMs: number) {
    this.#minRetentionMs = minRetentionMs;
    this.#stepMs = Math.max(1, minRetentionMs / STEPS);
  }

  /** Bytes that were last used at a time. */
  add(bytes: number, touchedMs: number): void {
    if (this.#minRetentionMs === 0) return;
    const step = this.#stepOf(touchedMs);
    const known = this.#steps.get(step);
    if (known === undefined) this.#dropBefore(touchedMs);
    this.#steps.set(step, (known ?? 0) + bytes);
  }

  /** The same bytes are gone, or used at another time. */
  remove(bytes: number, touchedMs: number): void {
    const step = this.#stepOf(touchedMs);
    const known = this.#steps.get(step);
    if (known !== undefined) this.#steps.set(step, known - bytes);
  }

  /** Bytes that were last used less than the retention time before `nowMs`, which never decreases. */
  at(nowMs: number): number {
    this.#dropBefore(nowMs);
    let bytes = 0;
    for (const each of this.#steps.values()) bytes += each;
    return bytes;
  }

  #stepOf(timeMs: number): number {
    return Math.floor(timeMs / this.#stepMs);
  }

  /** A step that was dropped is never asked for again; bytes that leave it are unknown to `remove`, which is as it should be. */
  #dropBefore(nowMs: number): void {
    const first = this.#stepOf(nowMs - this.#minRetentionMs);
    for (const step of this.#steps.keys()) if (step < first) this.#steps.delete(step);
  }
}
