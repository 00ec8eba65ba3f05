import { join } from 'node:path';
import { systemCode } from '../../errors.ts';
import { closeUnneeded } from '../../system/file-errors.ts';
import { removeIfThere, removeUnneeded } from '../../system/file-removal.ts';
import type { FileSystem } from '../../system/file-system.ts';
import type { Random } from '../../system/random.ts';

/*
 * What the S3 tier keeps in the data folder. All of it can be lost: the bucket is what counts.
 *
 *     writer     name of this data folder among the writers of the bucket, 16 hex digits
 *     index      the last snapshot of the bucket's index
 *     running    there while the tier is open: if it is found at a start, the last stop was none
 *     idle       nothing was pending at the last stop
 *     taken-over what the local tier had before there was a bucket is in the bucket
 */
const WRITER = 'writer';
const INDEX = 'index';
const RUNNING = 'running';
const IDLE = 'idle';
const TAKEN_OVER = 'taken-over';

const READ_BYTES = 1024 * 1024;

const MARK = Buffer.from('1');

/** How a tier was left by its last process. */
export interface LastStop {
  /** It ended without closing. */
  readonly wasRunning: boolean;
  /** All that the local tier had was in the bucket. */
  readonly wasIdle: boolean;
  readonly isTakenOver: boolean;
}

/**
 * To be called for a start without a bucket: what is put from then on, nobody looks for if the last stop counts as one that left nothing
 * pending. Throws system errors.
 */
export function forgetMarks(files: FileSystem, path: string): void {
  for (const name of [IDLE, TAKEN_OVER]) removeIfThere(files, join(path, name));
}

/** The folder of the S3 tier on this machine. Methods throw system errors. */
export class TierFolder {
  readonly #files: FileSystem;
  readonly #path: string;

  constructor(files: FileSystem, path: string) {
    this.#files = files;
    this.#path = path;
    files.makeFolder(path);
  }

  /** The name of this data folder among the writers; made at the first call. */
  async writer(random: Random): Promise<string> {
    const kept = await this.#readSmall(WRITER);
    if (kept !== undefined && /^[0-9a-f]{16}$/.test(kept)) return kept;
    const writer = random.token(8);
    await this.#write(WRITER, [Buffer.from(writer)]);
    return writer;
  }

  /** Marks the tier as open. @returns how it was left. */
  async markRunning(): Promise<LastStop> {
    const names = this.#files.list(this.#path);
    const wasRunning = names.includes(RUNNING);
    if (!wasRunning) await this.#write(RUNNING, [MARK]);
    removeIfThere(this.#files, join(this.#path, IDLE));
    return { wasRunning, wasIdle: !wasRunning && names.includes(IDLE), isTakenOver: names.includes(TAKEN_OVER) };
  }

  /** Marks the tier as closed in order. @param isIdle nothing is pending. */
  async markStopped(isIdle: boolean): Promise<void> {
    if (isIdle) await this.#write(IDLE, [MARK]);
    removeIfThere(this.#files, join(this.#path, RUNNING));
    await this.#files.syncFolder(this.#path);
  }

  /** What was there before the bucket is in the bucket: what is pending from now on has been acknowledged. */
  async markTakenOver(): Promise<void> {
    await this.#write(TAKEN_OVER, [MARK]);
  }

  /** The last snapshot in chunks, or undefined. */
  readIndex(): AsyncIterable<Uint8Array> | undefined {
    return this.#files.list(this.#path).includes(INDEX) ? this.#read(INDEX) : undefined;
  }

  /** Replaces the snapshot. @returns its bytes. */
  async writeIndex(chunks: AsyncIterable<Uint8Array>): Promise<number> {
    await this.#write(INDEX, chunks);
    return this.#files.stat(join(this.#path, INDEX)).sizeBytes;
  }

  async #readSmall(name: string): Promise<string | undefined> {
    try {
      let text = '';
      for await (const chunk of this.#read(name)) text += Buffer.from(chunk).toString();
      return text;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async *#read(name: string): AsyncGenerator<Uint8Array> {
    const fd = this.#files.open(join(this.#path, name), 'read');
    try {
      for (let at = 0; ; ) {
        const buffer = Buffer.allocUnsafe(READ_BYTES);
        const bytes = await this.#files.readAsync(fd, buffer, at);
        if (bytes === 0) return;
        at += bytes;
        yield buffer.subarray(0, bytes);
      }
    } finally {
      closeUnneeded(this.#files, fd);
    }
  }

  /** By temporary file and rename: the old content is there until the new one is whole. */
  async #write(name: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    const temporary = join(this.#path, `${name}.new`);
    removeIfThere(this.#files, temporary);
    try {
      await this.#writeNew(temporary, chunks);
      this.#files.rename(temporary, join(this.#path, name));
    } catch (error) {
      removeUnneeded(this.#files, temporary);
      throw error;
    }
    await this.#files.syncFolder(this.#path);
  }

  async #writeNew(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    const fd = this.#files.open(path, 'create');
    try {
      let at = 0;
      for await (const chunk of chunks) {
        await this.#files.writeAtAsync(fd, [chunk], at);
        at += chunk.length;
      }
      await this.#files.syncData(fd);
    } finally {
      closeUnneeded(this.#files, fd);
    }
  }
}
