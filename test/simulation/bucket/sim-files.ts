import type { FileSystem } from '../../../src/system/file-system.ts';

/** A disk that keeps what was written, whatever becomes of the process; only what the folder of an S3 tier needs. */
export class SimFiles implements FileSystem {
  readonly #files = new Map<string, Uint8Array>();
  readonly #open = new Map<number, string>();
  /** Told of files that got their name by renaming. */
  readonly #renamed: (path: string) => void;
  #nextFd = 1;

  constructor(renamed: (path: string) => void) {
    this.#renamed = renamed;
  }

  makeFolder(): void {
    // Folders are but beginnings of paths.
  }

  list(path: string): readonly string[] {
    return [...this.#files.keys()]
      .filter((file) => file.startsWith(`${path}/`))
      .map((file) => file.slice(path.length + 1));
  }

  stat(path: string): { sizeBytes: number; modifiedMs: number } {
    return { sizeBytes: this.bytes(path).length, modifiedMs: 0 };
  }

  open(path: string, purpose: 'read' | 'create' | 'update'): number {
    if (purpose === 'create') this.#files.set(path, new Uint8Array());
    this.bytes(path);
    this.#open.set(this.#nextFd, path);
    return this.#nextFd++;
  }

  close(fd: number): void {
    this.#open.delete(fd);
  }

  read(fd: number, into: Uint8Array, position: number): number {
    const part = this.bytes(this.#pathOf(fd)).subarray(position, position + into.length);
    into.set(part);
    return part.length;
  }

  async readAsync(fd: number, into: Uint8Array, position: number): Promise<number> {
    return this.read(fd, into, position);
  }

  write(fd: number, chunk: Uint8Array): void {
    this.writeAt(fd, [chunk], this.bytes(this.#pathOf(fd)).length);
  }

  async writeAsync(fd: number, chunks: readonly Uint8Array[]): Promise<void> {
    this.writeAt(fd, chunks, this.bytes(this.#pathOf(fd)).length);
  }

  writeAt(fd: number, chunks: readonly Uint8Array[], position: number): void {
    const path = this.#pathOf(fd);
    this.#files.set(path, Buffer.concat([this.bytes(path).subarray(0, position), ...chunks]));
  }

  async writeAtAsync(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
    this.writeAt(fd, chunks, position);
  }

  truncate(fd: number, sizeBytes: number): void {
    const path = this.#pathOf(fd);
    this.#files.set(path, this.bytes(path).slice(0, sizeBytes));
  }

  async syncData(): Promise<void> {
    // What is written is kept.
  }

  async syncFolder(): Promise<void> {
    // Names, too.
  }

  rename(from: string, to: string): void {
    this.#files.set(to, this.bytes(from));
    this.#files.delete(from);
    this.#renamed(to);
  }

  remove(path: string): void {
    this.bytes(path);
    this.#files.delete(path);
  }

  freeBytes(): number {
    return Number.MAX_SAFE_INTEGER;
  }

  /** What a file holds. */
  bytes(path: string): Uint8Array {
    const bytes = this.#files.get(path);
    if (bytes === undefined) throw Object.assign(new Error(`no file ${path}`), { code: 'ENOENT', syscall: 'open' });
    return bytes;
  }

  #pathOf(fd: number): string {
    return this.#open.get(fd) ?? '';
  }
}
