/** Whether the server and each of its services take work. Filled by whoever starts and stops them, read by probes. */
export class HealthState {
  readonly #isServing = new Map<string, boolean>();
  readonly #listeners = new Map<string, Set<() => void>>();
  #isDraining = false;

  /** @param service full name, or empty for the server as a whole. Ignored while draining. */
  set(service: string, isServing: boolean): void {
    if (this.#isDraining || this.#isServing.get(service) === isServing) return;
    this.#isServing.set(service, isServing);
    this.#notify(service);
  }

  /** From now on nothing serves, whatever `set` says: a service that comes up late does not end a shutdown. */
  drain(): void {
    for (const service of this.#isServing.keys()) this.set(service, false);
    this.#isDraining = true;
  }

  /** Undefined if the service is not known. */
  isServing(service: string): boolean | undefined {
    return this.#isServing.get(service);
  }

  /** All known services, the empty name among them. */
  all(): ReadonlyMap<string, boolean> {
    return this.#isServing;
  }

  /**
   * Calls `listener` after every change of one service, known or not.
   * @returns ends it; calling it again does nothing.
   */
  subscribe(service: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(service) ?? new Set();
    this.#listeners.set(service, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(service) === listeners) this.#listeners.delete(service);
    };
  }

  #notify(service: string): void {
    for (const listener of [...(this.#listeners.get(service) ?? [])]) listener();
  }
}
