import { invariant } from '../../../errors.ts';

/** Into how many steps a lease time is divided: its end is exact to one of them. */
const STEPS_PER_LEASE = 64;

/** Room for two lease times, so that a `touched` may be ahead of the clock that asks by one. */
const STEPS = 2 * STEPS_PER_LEASE + 2;

/**
 * How many bytes may not be evicted yet. A record is held while the time is before `touched` + lease time; here it is
 * counted as held up to one step longer, never shorter, so that the sum needs no list of records:
 * bytes are added up by the step at whose start they become free, in a ring of steps.
 *
 * Times are store seconds. `touched` never lies more than a lease time in the future.
 */
export class LeaseLedger {
  readonly #leaseSeconds: number;
  readonly #stepSeconds: number;
  /** Bytes that become free at the start of a step, at its number modulo `STEPS`. */
  readonly #ring = new Float64Array(STEPS);
  /** Everything up to this step is free. */
  #freeStep = 0;
  #heldBytes = 0;

  /** @param options leaseSeconds: how long after it was touched a record is held; 0 = not at all. */
  constructor(options: { readonly leaseSeconds: number }) {
    this.#leaseSeconds = options.leaseSeconds;
    this.#stepSeconds = Math.max(1, Math.ceil(options.leaseSeconds / STEPS_PER_LEASE));
  }

  /** A record was touched. If it was held before, that hold is dropped by the caller. */
  hold(bytes: number, touched: number): void {
    if (this.#leaseSeconds === 0) return;
    const step = this.#stepOf(touched);
    this.#freeUpTo(step - STEPS);
    if (step > this.#freeStep) this.#add(step, bytes);
  }

  /** A record with this hold is gone, or was touched again. No matter if the hold has ended. */
  drop(bytes: number, touched: number): void {
    const step = this.#stepOf(touched);
    if (this.#leaseSeconds === 0 || step <= this.#freeStep) return;
    invariant((this.#ring[step % STEPS] ?? 0) >= bytes, 'what is dropped was held');
    this.#add(step, -bytes);
  }

  heldBytes(now: number): number {
    this.#freeUpTo(Math.floor(now / this.#stepSeconds));
    return this.#heldBytes;
  }

  /** When the next held bytes become free; 0 if none are held. */
  secondsUntilRelease(now: number): number {
    if (this.heldBytes(now) === 0) return 0;
    let step = this.#freeStep + 1;
    while (this.#ring[step % STEPS] === 0) step++;
    return step * this.#stepSeconds - now;
  }

  /** The first step that starts when the hold has ended. */
  #stepOf(touched: number): number {
    return Math.ceil((touched + this.#leaseSeconds) / this.#stepSeconds);
  }

  #add(step: number, bytes: number): void {
    this.#ring[step % STEPS] = (this.#ring[step % STEPS] ?? 0) + bytes;
    this.#heldBytes += bytes;
  }

  #freeUpTo(step: number): void {
    // After a long silence once round the ring is enough.
    const last = Math.min(step, this.#freeStep + STEPS);
    for (let each = this.#freeStep + 1; each <= last; each++) this.#add(each, -(this.#ring[each % STEPS] ?? 0));
    this.#freeStep = Math.max(this.#freeStep, step);
  }
}
