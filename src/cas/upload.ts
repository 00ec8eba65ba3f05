import type { Digest } from '../digest/digest.ts';
import { ReapiError } from '../errors.ts';
import type { BlobStore } from './blob-store.ts';
import { BytePipe } from './byte-pipe.ts';

/**
 * One blob on its way into the store. It outlives the call that feeds it: while nobody does, the store's `put` waits for
 * more bytes, so a resumed upload goes on where the last one broke off, and no byte is written twice.
 *
 * Feeders take turns: `attach` makes a newcomer the only one, whose number every later step has to show.
 */
export class Upload {
  readonly digest: Digest;
  readonly #pipe = new BytePipe();
  readonly #abort = new AbortController();
  readonly #put: Promise<void>;
  #receivedBytes = 0;
  #feeder = 0;
  #isSettled = false;

  constructor(store: BlobStore, digest: Digest) {
    this.digest = digest;
    this.#put = store.put(digest, this.#pipe.read(), this.#abort.signal).finally(() => {
      this.#isSettled = true;
      this.#pipe.stop();
    });
    // Its outcome is asked for by `outcome`; until then nobody may be waiting.
    this.#put.catch(() => undefined);
  }

  /** Bytes taken so far; never decreases (R-BS-51). */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Whether the store has finished, in one way or the other: it takes no more bytes. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Makes the caller the one who feeds; returns its number. */
  attach(): number {
    return ++this.#feeder;
  }

  /** Whether that number still feeds. */
  isAttached(feeder: number): boolean {
    return this.#feeder === feeder;
  }

  /**
   * Hands a chunk on as soon as the store takes it; at most one waits.
   * @throws digest-mismatch if it is more than the blob's size (R-BS-36); unavailable if another call feeds by now; cancelled.
   */
  async push(feeder: number, chunk: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#checkFeeder(feeder);
    if (this.#receivedBytes + chunk.length > this.digest.sizeBytes) {
      const error = new ReapiError('digest-mismatch', `more than the ${this.digest.sizeBytes} bytes of the blob`, {
        expected: this.digest,
      });
      this.abort(error);
      throw error;
    }
    while (!this.#pipe.hasRoom) {
      await this.#pipe.room(signal);
      this.#checkFeeder(feeder);
    }
    this.#pipe.put(chunk);
    this.#receivedBytes += chunk.length;
  }

  /** No bytes follow: the store checks what it has. @throws as `outcome`. */
  async finish(feeder: number): Promise<void> {
    this.#checkFeeder(feeder);
    this.#pipe.end();
    await this.#put;
  }

  /** Resolves when the store has the blob. @throws what the store's `put` throws. */
  outcome(): Promise<void> {
    return this.#put;
  }

  /** Gives up: the store forgets the bytes. */
  abort(reason: ReapiError): void {
    this.#abort.abort(reason);
    this.#pipe.fail(reason);
  }

  #checkFeeder(feeder: number): void {
    if (this.isAttached(feeder)) return;
    throw new ReapiError('unavailable', 'another call continues this upload');
  }
}
