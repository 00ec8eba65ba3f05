import { invariant } from '../../errors.ts';
import type { ContainerId } from './object-names.ts';

/**
 * Numbers for the containers of one writer. They go on above all numbers that were seen in the bucket, of whichever writer: so a copy always has a
 * greater number than what it is a copy of, and all servers prefer the same one of two (`compareContainers`). Those in use, whose objects may still appear, are remembered: below `floor` nothing appears any
 * more, so that is how far other servers need not look again.
 */
export class ContainerNumbers {
  readonly #writer: string;
  readonly #nonce: string;
  readonly #inUse = new Set<number>();
  readonly #seen: { readonly maxNumber: number };
  #next = 0;

  /** @param nonce of this start. @param seen the greatest number that is known in the bucket. */
  constructor(writer: string, nonce: string, seen: { readonly maxNumber: number } = { maxNumber: -1 }) {
    this.#writer = writer;
    this.#nonce = nonce;
    this.#seen = seen;
  }

  /** An earlier start of this writer published that floor: others do not look below it any more. */
  sawFloor(floor: number): void {
    this.#next = Math.max(this.#next, floor);
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
    const number = Math.max(this.#next, this.#seen.maxNumber + 1);
    this.#next = number + 1;
    this.#inUse.add(number);
    return { writer: this.#writer, number, nonce: this.#nonce };
  }

  /** The object is there, or will not be. */
  settle({ number }: ContainerId): void {
    const wasInUse = this.#inUse.delete(number);
    invariant(wasInUse, 'a number is settled once');
  }
}
