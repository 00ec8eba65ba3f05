import { systemCode } from '../../errors.ts';
import type { TraceRecord } from '../../gen/gantry/v1/trace.ts';
import { closeUnneeded, writeError } from '../../system/file-errors.ts';
import type { FileSystem } from '../../system/file-system.ts';
import { encodeFrame } from './trace-frame.ts';

/** Frames that may wait to be written: with more, the disk does not keep up. Some 40 MB of records. */
const MAX_BACKLOG_FRAMES = 256;

/** How a trace file is written. */
export interface TraceFileOptions {
  readonly path: string;
  /** Above it a file ends. */
  readonly maxFileBytes: number;
  /** Is told once why nothing more can be written. */
  readonly onFailed: (error: unknown) => void;
}

/**
 * Writes frames in order into a file; the one before it becomes `path.1`. Nothing here holds up the caller or throws. A frame that
 * cannot be written is the last: what was written stays, and is not pushed out by files that would be empty.
 */
export class TraceFile {
  readonly #fs: FileSystem;
  readonly #options: TraceFileOptions;
  #fd: number | undefined;
  #sizeBytes = 0;
  #backlog = 0;
  /** Files that were begun: those that are not the last may be full without consequence. */
  #files = 0;
  #isFull = false;
  #hasFailed = false;
  #tail: Promise<void> = Promise.resolve();

  constructor(fs: FileSystem, options: TraceFileOptions) {
    this.#fs = fs;
    this.#options = options;
  }

  /** Whether it is time to `begin` the next file. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Whether nothing can be written any more. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Frames that wait to be written; from `MAX_BACKLOG_FRAMES` on the disk does not keep up. */
  get backlog(): 'none' | 'some' | 'too much' {
    if (this.#backlog === 0) return 'none';
    return this.#backlog >= MAX_BACKLOG_FRAMES ? 'too much' : 'some';
  }

  /** The frames that follow go to a file of their own. */
  begin(): void {
    this.#isFull = false;
    this.#files++;
    this.#enqueue(async () => {
      this.#close();
      this.#keepOld();
      this.#fd = this.#fs.open(this.#options.path, 'create');
      this.#sizeBytes = 0;
    });
  }

  /** Writes a frame soon. */
  write(records: readonly TraceRecord[]): void {
    const file = this.#files;
    this.#enqueue(async () => {
      const frame = await encodeFrame(records);
      if (this.#fd === undefined) return;
      await this.#fs.writeAsync(this.#fd, [frame]);
      this.#sizeBytes += frame.length;
      if (file === this.#files && this.#sizeBytes >= this.#options.maxFileBytes) this.#isFull = true;
    });
  }

  /** Resolves when what was to be written is, or has failed. */
  idle(): Promise<void> {
    return this.#tail;
  }

  /** Waits for what is to be written, and closes the file. */
  async close(): Promise<void> {
    await this.#tail;
    this.#close();
  }

  #enqueue(job: () => Promise<void>): void {
    this.#backlog++;
    this.#tail = this.#tail.then(async () => {
      try {
        if (!this.#hasFailed) await job();
      } catch (error) {
        this.#hasFailed = true;
        this.#close();
        this.#options.onFailed(writeError(error, 'writing the trace'));
      } finally {
        this.#backlog--;
      }
    });
  }

  #keepOld(): void {
    const { path } = this.#options;
    try {
      this.#fs.rename(path, `${path}.1`);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }

  #close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeUnneeded(this.#fs, fd);
  }
}
