/** A number of bytes that many share without waiting for it: who gets none does with less. Pure accounting. */
export class PartBudget {
  #freeBytes: number;

  constructor(maxBytes: number) {
    this.#freeBytes = maxBytes;
  }

  /** What nobody has taken. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Takes all of `bytes`, or nothing if there are fewer. */
  tryTake(bytes: number): boolean {
    if (bytes > this.#freeBytes) return false;
    this.#freeBytes -= bytes;
    return true;
  }

  /** Gives back what was taken. */
  giveBack(bytes: number): void {
    this.#freeBytes += bytes;
  }
}
