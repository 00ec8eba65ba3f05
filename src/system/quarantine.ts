import { join } from 'node:path';
import type { FileSystem } from './file-system.ts';

/** Enough to see what went wrong, little enough not to matter beside the store. */
const MAX_FILES = 32;
const MAX_BYTES = 64 * 1024 * 1024;

/** Where damaged files are put aside for people to look at: bounded, the oldest go first. Nothing here is ever served. */
export class Quarantine {
  readonly #files: FileSystem;
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #kept: { readonly path: string; readonly sizeBytes: number }[] = [];
  #bytes = 0;
  #count = 0;

  /** Takes over what an earlier run left. @param maxBytes most bytes of all kept files. */
  constructor(files: FileSystem, folder: string, maxBytes = MAX_BYTES) {
    this.#files = files;
    this.#folder = folder;
    this.#maxBytes = Math.min(maxBytes, MAX_BYTES);
    files.makeFolder(folder);
    for (const name of files.list(folder)) {
      const path = join(folder, name);
      this.#keep(path, files.stat(path).sizeBytes);
    }
  }

  /** How many files were put aside since the start. */
  get count(): number {
    return this.#count;
  }

  /** What the kept files take on disk. */
  diskBytes(blockBytes: number): number {
    return this.#kept.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / blockBytes) * blockBytes, 0);
  }

  /** Moves a file here, or deletes it if it is too large to keep. Throws system errors; then the file stays where it is. */
  take(path: string, name: string): void {
    this.#count++;
    const { sizeBytes } = this.#files.stat(path);
    if (sizeBytes > this.#maxBytes) {
      this.#files.remove(path);
      return;
    }
    const target = join(this.#folder, name);
    this.#files.rename(path, target);
    const before = this.#kept.findIndex((file) => file.path === target);
    if (before >= 0) this.#bytes -= this.#kept.splice(before, 1)[0]?.sizeBytes ?? 0;
    this.#keep(target, sizeBytes);
  }

  #keep(path: string, sizeBytes: number): void {
    this.#kept.push({ path, sizeBytes });
    this.#bytes += sizeBytes;
    while (this.#kept.length > MAX_FILES || this.#bytes > this.#maxBytes) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) return;
      this.#bytes -= oldest.sizeBytes;
      this.#files.remove(oldest.path);
    }
  }
}
