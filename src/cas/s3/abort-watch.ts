interface Watched<T> {
  readonly items: Set<T>;
  readonly onAbort: () => void;
}

/**
 * Many who wait under few signals, with one listener per signal: adding a listener takes longer the more there are, and a batch of
 * 10,000 reads has one signal.
 */
export class AbortWatch<T> {
  readonly #abort: (item: T, signal: AbortSignal) => void;
  readonly #watched = new Map<AbortSignal, Watched<T>>();

  /** @param abort called once for each item that is there when its signal aborts, in order, and not any more by then. */
  constructor(abort: (item: T, signal: AbortSignal) => void) {
    this.#abort = abort;
  }

  /** Watches `signal`, which is not aborted yet, on behalf of `item`. */
  add(item: T, signal: AbortSignal): void {
    const known = this.#watched.get(signal);
    if (known !== undefined) {
      known.items.add(item);
      return;
    }
    const items = new Set([item]);
    const onAbort = (): void => {
      this.#watched.delete(signal);
      for (const each of items) {
        items.delete(each);
        this.#abort(each, signal);
      }
    };
    this.#watched.set(signal, { items, onAbort });
    signal.addEventListener('abort', onAbort, { once: true });
  }

  /** The item waits no more. */
  delete(item: T, signal: AbortSignal): void {
    const watched = this.#watched.get(signal);
    if (watched === undefined) return;
    watched.items.delete(item);
    if (watched.items.size > 0) return;
    this.#watched.delete(signal);
    signal.removeEventListener('abort', watched.onAbort);
  }
}
