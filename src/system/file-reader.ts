import { ReapiError } from '../errors.ts';
import { closeUnneeded, readError } from './file-errors.ts';
import type { FileSystem } from './file-system.ts';

/** Large enough that the thread pool's hand-over is small beside the copy, small enough for many readers at once. */
const CHUNK_BYTES = 256 * 1024;

/** What to read, and what to do with it on the way. */
export interface FileReading {
  /** First byte, as a position in the file. */
  readonly startBytes: number;
  /** Byte after the last; a file that ends before it is damaged. */
  readonly endBytes: number;
  /** Sees each chunk before the consumer; throwing ends the stream without handing that chunk out. */
  readonly inspect?: (chunk: Uint8Array, isLast: boolean) => void;
  /** Told once of the error that ended the stream, cancellation apart. */
  readonly onDamage?: (error: ReapiError) => void;
}

/** A descriptor on loan, for reading: of a file that only this reader uses, or of one that many share. */
export interface ReadHandle {
  readonly fd: number;
  /** Called once, when nothing reads through `fd` any more. Never throws. */
  release(): void;
}

/** The handle of a file that only its reader uses: releasing closes it. */
export function ownedHandle(files: FileSystem, fd: number): ReadHandle {
  return { fd, release: () => closeUnneeded(files, fd) };
}

/**
 * Streams a part of an open file and owns its handle: it is released at the end, on error, when the consumer stops, and
 * when `signal` aborts, also if nobody ever began to read.
 */
export class FileReader implements AsyncIterableIterator<Uint8Array> {
  readonly #files: FileSystem;
  readonly #reading: FileReading;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.#stop();
  #handle: ReadHandle | undefined;
  #position: number;
  #isReading = false;
  #isStopped = false;

  constructor(files: FileSystem, handle: ReadHandle, reading: FileReading, signal: AbortSignal) {
    this.#files = files;
    this.#handle = handle;
    this.#reading = reading;
    this.#position = reading.startBytes;
    this.#signal = signal;
    if (signal.aborted || reading.startBytes >= reading.endBytes) this.#stop();
    else signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#signal.aborted) throw this.#cancelled();
    const { endBytes } = this.#reading;
    if (this.#handle === undefined || this.#isStopped || this.#position >= endBytes) {
      this.#stop();
      return { done: true, value: undefined };
    }
    try {
      const chunk = await this.#read(this.#handle.fd, Math.min(CHUNK_BYTES, endBytes - this.#position));
      this.#position += chunk.length;
      this.#reading.inspect?.(chunk, this.#position === endBytes);
      if (this.#isStopped || this.#position === endBytes) this.#stop();
      return { done: false, value: chunk };
    } catch (error) {
      this.#stop();
      if (this.#signal.aborted) throw this.#cancelled();
      const ours = readError(error, 'reading a stored blob');
      this.#reading.onDamage?.(ours);
      throw ours;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#stop();
    return { done: true, value: undefined };
  }

  async #read(fd: number, sizeBytes: number): Promise<Uint8Array> {
    const chunk = Buffer.allocUnsafeSlow(sizeBytes);
    this.#isReading = true;
    let count: number;
    try {
      count = await this.#files.readAsync(fd, chunk, this.#position);
    } finally {
      this.#isReading = false;
    }
    if (this.#signal.aborted) throw this.#cancelled();
    if (count < sizeBytes) throw new ReapiError('data-loss', 'a stored blob is shorter than its digest says');
    return chunk;
  }

  /** While a read runs the handle must stay: its descriptor could be another file's by the time the read begins. */
  #stop(): void {
    this.#isStopped = true;
    if (this.#handle === undefined || this.#isReading) return;
    this.#signal.removeEventListener('abort', this.#onAbort);
    const handle = this.#handle;
    this.#handle = undefined;
    handle.release();
  }

  #cancelled(): ReapiError {
    return new ReapiError('cancelled', 'the call was cancelled', { cause: this.#signal.reason });
  }
}
