import { invariant } from '../../errors.ts';
import type { ContainerId } from './object-names.ts';

/**
 * Numbers for the containers of one writer. Those in use, whose objects may still appear, are remembered: below `floor` nothing appears any
 * more, so that is how far other servers need not look again.
 */
export class ContainerNumbers {
  readonly #writer: string;
  readonly #nonce: string;
  readonly #inUse = new Set<number>();
  #next: number;

  /** @param nonce of this start. */
  constructor(writer: string, nonce: string, next = 0) {
    this.#writer = writer;
    this.#nonce = nonce;
    this.#next = next;
  }

  /** A container of this writer was found: numbers go on above it. */
  saw({ writer, number }: ContainerId): void {
    if (writer === this.#writer) this.#next = Math.max(this.#next, number + 1);
  }

  get writer(): string {
    return this.#writer;
  }

  get nonce(): string {
    return this.#nonce;
  }

  /** All containers of the writer below it are there by now, or will never be. */
  get floor(): number {
    let floor = this.#next;
    for (const number of this.#inUse) floor = Math.min(floor, number);
    return floor;
  }

  /** An id that nobody has. Its number is in use until `settle`. */
  take(): ContainerId {
    const number = this.#next++;
    this.#inUse.add(number);
    return { writer: this.#writer, number, nonce: this.#nonce };
  }

  /** The object is there, or will not be. */
  settle({ number }: ContainerId): void {
    const wasInUse = this.#inUse.delete(number);
    invariant(wasInUse, 'a number is settled once');
  }
}
