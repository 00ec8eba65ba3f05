import type { Clock } from './clock.ts';
import { writeError } from './file-errors.ts';
import type { FileSystem } from './file-system.ts';

/** The system tells free space again after this time; in between it is computed. */
const FREE_SPACE_AGE_MS = 1000;

/** A floor of free space. */
export interface FreeSpaceOptions {
  readonly files: FileSystem;
  readonly clock: Clock;
  /** A folder on the file system in question. */
  readonly path: string;
  /** Free space left to others. 0: no floor. */
  readonly minFreeBytes: number;
  /** What writes under way have announced. */
  readonly reservedBytes: () => number;
}

/** How much a file system lacks above a floor of free space, without asking it before every write. */
export class FreeSpace {
  readonly #options: FreeSpaceOptions;
  #freeBytes = 0;
  #checkedMs = Number.NEGATIVE_INFINITY;

  constructor(options: FreeSpaceOptions) {
    this.#options = options;
  }

  /** Bytes that must go before `neededBytes` may be written; 0 or less if there is room. @throws unavailable. */
  lackingBytes(neededBytes: number): number {
    const { minFreeBytes, clock } = this.#options;
    if (minFreeBytes === 0) return 0;
    const isOld = clock.monotonicMs() - this.#checkedMs >= FREE_SPACE_AGE_MS;
    if (isOld || this.#freeBytes - neededBytes < minFreeBytes) this.#measure();
    return minFreeBytes + neededBytes - this.#freeBytes;
  }

  /** Space was taken, or came free if negative. */
  take(bytes: number): void {
    this.#freeBytes -= bytes;
  }

  /** What is being written counts twice, as far as it is on disk already: the floor errs on the side of more room. */
  #measure(): void {
    const { files, clock, path, reservedBytes } = this.#options;
    try {
      this.#freeBytes = files.freeBytes(path) - reservedBytes();
      this.#checkedMs = clock.monotonicMs();
    } catch (error) {
      throw writeError(error, 'asking for free disk space');
    }
  }
}
