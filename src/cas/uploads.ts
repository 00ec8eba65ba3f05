import { type Digest, sameDigest } from '../digest/digest.ts';
import { ReapiError } from '../errors.ts';
import type { Clock, Timer } from '../system/clock.ts';
import type { BlobStore } from './blob-store.ts';
import { Upload } from './upload.ts';

/** Bounds on uploads that nobody feeds. */
export interface UploadsOptions {
  /** How long one waits to be resumed (R-BS-45). */
  readonly suspendedTtlMs: number;
  /** How many may wait; above it the one that waited longest is given up. Each holds one unfinished `put`. */
  readonly maxSuspended: number;
}

/** An upload and the right to feed it. */
export interface Feed {
  readonly upload: Upload;
  readonly feeder: number;
}

/**
 * Unfinished uploads by resource name, so that a broken one can be resumed. A name stands for its newest upload; an older
 * one that is still being fed goes on by itself, and both succeed (R-CAS-20).
 */
export class Uploads {
  readonly #store: BlobStore;
  readonly #clock: Clock;
  readonly #options: UploadsOptions;
  readonly #byName = new Map<string, Upload>();
  /** In the order in which they were suspended. */
  readonly #suspended = new Map<Upload, { readonly name: string; readonly timer: Timer }>();

  constructor(store: BlobStore, clock: Clock, options: UploadsOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#options = options;
  }

  /** Bytes received of an unfinished upload; 0 if there is none (R-BS-51, R-BS-52). */
  receivedBytes(name: string): number {
    const upload = this.#byName.get(name);
    return upload === undefined || upload.isSettled ? 0 : upload.receivedBytes;
  }

  /** How many wait to be resumed. */
  get suspendedCount(): number {
    return this.#suspended.size;
  }

  /**
   * Begins an upload (offset 0), or continues the one of that name (R-BS-31).
   * @throws out-of-range if `offset` is not where it stands.
   */
  open(name: string, digest: Digest, offset: number): Feed {
    const known = this.#byName.get(name);
    if (offset === 0) {
      this.#giveUpAll(digest);
      const upload = new Upload(this.#store, digest);
      this.#byName.set(name, upload);
      return { upload, feeder: upload.attach() };
    }
    const receivedBytes = this.receivedBytes(name);
    if (known === undefined || offset !== receivedBytes) {
      const message = `the upload stands at ${receivedBytes}, not at ${offset}`;
      throw new ReapiError('out-of-range', message, { field: 'write_offset' });
    }
    this.#wake(known);
    return { upload: known, feeder: known.attach() };
  }

  /** The call that fed it has ended before the blob did: keeps what has come for a while. */
  suspend(name: string, { upload, feeder }: Feed): void {
    if (!upload.isAttached(feeder)) return;
    if (upload.isSettled || this.#byName.get(name) !== upload || this.#options.maxSuspended === 0) {
      this.drop(name, upload);
      return;
    }
    const atMs = this.#clock.monotonicMs() + this.#options.suspendedTtlMs;
    const timer = this.#clock.wakeAt(atMs, () => this.#giveUp(upload, 'the upload was not resumed in time'));
    this.#suspended.set(upload, { name, timer });
    for (const oldest of this.#suspended.keys()) {
      if (this.#suspended.size <= this.#options.maxSuspended) break;
      this.#giveUp(oldest, 'too many uploads wait to be resumed');
    }
  }

  /** It is finished, or has failed for good: nothing of it can be resumed. Aborts what the store still does. */
  drop(name: string, upload: Upload): void {
    if (this.#byName.get(name) === upload) this.#byName.delete(name);
    if (!upload.isSettled) upload.abort(new ReapiError('cancelled', 'the upload ended early'));
  }

  /** Gives up everything that waits; for the end of the process. */
  stop(): void {
    for (const upload of [...this.#suspended.keys()]) this.#giveUp(upload, 'the server is shutting down');
  }

  /** A store that is short of room lets one upload of a blob wait for another: none may wait for one that nobody feeds. */
  #giveUpAll(digest: Digest): void {
    for (const upload of [...this.#suspended.keys()]) {
      if (sameDigest(upload.digest, digest)) this.#giveUp(upload, 'the blob is being uploaded again');
    }
  }

  #wake(upload: Upload): void {
    this.#suspended.get(upload)?.timer.cancel();
    this.#suspended.delete(upload);
  }

  #giveUp(upload: Upload, why: string): void {
    const entry = this.#suspended.get(upload);
    this.#wake(upload);
    if (entry !== undefined && this.#byName.get(entry.name) === upload) this.#byName.delete(entry.name);
    upload.abort(new ReapiError('cancelled', why));
  }
}
