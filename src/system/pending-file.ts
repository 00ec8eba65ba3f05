import { invariant } from '../errors.ts';
import { closeUnneeded, writeError } from './file-errors.ts';
import type { FileSystem } from './file-system.ts';

/** What a pending file asks of the folder it is written for. */
export interface PendingHost {
  /** Moves the complete temporary file to its name and turns its reservation into an index entry. Throws system errors. */
  publish(target: PendingTarget): Promise<void>;
  /** Removes the temporary file, if it is there, and gives the reservation back. Never throws. */
  abandon(target: PendingTarget): void;
  /** @throws unavailable once no more files are taken. */
  throwIfClosed(): void;
}

/** Where a pending file is written and what for. */
export interface PendingTarget {
  readonly temporary: string;
  readonly name: string;
  /** The size that was reserved; publishing another one is a bug. */
  readonly sizeBytes: number;
  /** Whether publishing waits for the device. */
  readonly isSynced: boolean;
}

/**
 * A file that is being written and that no reader can see. States: open (bytes may come), then settled, by `publish`
 * (whole, visible) or `abandon` (no trace). Whoever began one settles it, on every path; a failed `publish` settles it too.
 * Once its folder is closed it takes nothing more and is not published; a `publish` that has begun ends well.
 */
export class PendingFile {
  readonly target: PendingTarget;
  readonly #files: FileSystem;
  readonly #host: PendingHost;
  #fd: number | undefined;
  #writtenBytes = 0;
  #isSettled = false;

  /** @throws system errors if the temporary file cannot be created; then there is nothing to settle. */
  constructor(files: FileSystem, host: PendingHost, target: PendingTarget) {
    this.#files = files;
    this.#host = host;
    this.target = target;
    this.#fd = files.open(target.temporary, 'create');
  }

  /** Appends at once: for small files. @throws quota-exceeded; unavailable. */
  write(chunk: Uint8Array): void {
    try {
      this.#files.write(this.#open(chunk.length), chunk);
    } catch (error) {
      throw writeError(error, 'writing to the store');
    }
  }

  /** Appends without holding up other work: for large files. One call at a time. @throws quota-exceeded; unavailable. */
  async writeAsync(chunks: readonly Uint8Array[]): Promise<void> {
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    try {
      await this.#files.writeAsync(this.#open(sizeBytes), chunks);
    } catch (error) {
      throw writeError(error, 'writing to the store');
    }
  }

  /** Makes the file visible under its name, all of it at once. @throws quota-exceeded; unavailable; then it left no trace. */
  async publish(): Promise<void> {
    const { sizeBytes, isSynced } = this.target;
    try {
      const fd = this.#open(0);
      invariant(this.#writtenBytes === sizeBytes, 'a file is published when all its bytes are written');
      if (isSynced) await this.#files.syncData(fd);
      this.#close();
      await this.#host.publish(this.target);
      this.#isSettled = true;
    } catch (error) {
      this.abandon();
      throw writeError(error, 'writing to the store');
    }
  }

  /** Removes the temporary file. Nothing if it is settled already. Never throws: a file it cannot remove goes at the next start. */
  abandon(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (this.#fd !== undefined) closeUnneeded(this.#files, this.#fd);
    this.#fd = undefined;
    this.#host.abandon(this.target);
  }

  #open(moreBytes: number): number {
    this.#host.throwIfClosed();
    invariant(this.#fd !== undefined, 'a settled file takes no more bytes');
    this.#writtenBytes += moreBytes;
    return this.#fd;
  }

  #close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    this.#files.close(fd);
  }
}
