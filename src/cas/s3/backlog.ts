import { ReapiError } from '../../errors.ts';

/** When to try again if the backlog is full: it shrinks as soon as S3 answers. */
const RETRY_MS = 5000;

/**
 * Bytes that are accepted but not in the bucket yet. While S3 is out of reach they pile up, in memory for those who wait and in
 * the local tier for the rest; above the limit writes are refused.
 */
export class Backlog {
  readonly #maxBytes: number;
  #bytes = 0;
  #refusals = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Writes that were refused. */
  get refusals(): number {
    return this.#refusals;
  }

  /** Takes room for bytes that are about to be accepted. Alone, anything fits. @throws unavailable. */
  take(bytes: number): void {
    this.throwIfFull(bytes);
    this.#bytes += bytes;
  }

  /** Whether there is room for bytes now, of which nobody knows when they will have come. @throws unavailable. */
  throwIfFull(bytes: number): void {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) {
      this.#refusals++;
      const message = `S3 does not keep up or is out of reach: ${this.#bytes} of at most ${this.#maxBytes} bytes wait to be stored there (s3.maxBacklogBytes)`;
      throw new ReapiError('unavailable', message, { retryAfterMs: RETRY_MS });
    }
  }

  /** Adds what is there already, whatever the limit. */
  add(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Bytes have reached the bucket, or were given up. */
  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}
