import { type FileSystem, NODE_FILE_SYSTEM } from '../../src/system/file-system.ts';

/** Which call fails, and how. Calls are counted from 1, all kinds together. */
export interface PlannedFault {
  readonly atCall: number;
  /** `once`: that call only. `always`: that call and all later ones. */
  readonly lasts: 'once' | 'always';
  /** Node's name of the error: `ENOSPC`, `EIO`. */
  readonly code: string;
}

/**
 * The real disk with one planned fault. A failing call does nothing, except that `close` closes (as the system does) and a
 * `write` leaves half of its bytes behind (as a full disk does).
 *
 * Syncing waits for no device: what a test finds after a crash of the process is what the system has.
 *
 * Whoever uses it must survive: an error of ours instead of a result, no descriptor and no file left behind that later calls or a
 * restart would not clean up, correct accounting, and everything acknowledged before still there.
 */
export class FaultyFileSystem implements FileSystem {
  #fault: PlannedFault | undefined;
  #calls = 0;

  /** Starts counting anew. */
  plan(fault: PlannedFault | undefined): void {
    this.#fault = fault;
    this.#calls = 0;
  }

  /** Calls since `plan`. */
  get calls(): number {
    return this.#calls;
  }

  makeFolder(path: string): void {
    this.#count('mkdir');
    NODE_FILE_SYSTEM.makeFolder(path);
  }

  list(path: string): readonly string[] {
    this.#count('readdir');
    return NODE_FILE_SYSTEM.list(path);
  }

  stat(path: string): ReturnType<FileSystem['stat']> {
    this.#count('stat');
    return NODE_FILE_SYSTEM.stat(path);
  }

  open(path: string, purpose: Parameters<FileSystem['open']>[1]): number {
    this.#count('open');
    return NODE_FILE_SYSTEM.open(path, purpose);
  }

  close(fd: number): void {
    NODE_FILE_SYSTEM.close(fd);
    this.#count('close');
  }

  read(fd: number, into: Uint8Array, position: number): number {
    this.#count('read');
    return NODE_FILE_SYSTEM.read(fd, into, position);
  }

  async readAsync(fd: number, into: Uint8Array, position: number): Promise<number> {
    this.#count('read');
    return NODE_FILE_SYSTEM.readAsync(fd, into, position);
  }

  write(fd: number, chunk: Uint8Array): void {
    this.#count('write', () => NODE_FILE_SYSTEM.write(fd, chunk.subarray(0, chunk.length >> 1)));
    NODE_FILE_SYSTEM.write(fd, chunk);
  }

  async writeAsync(fd: number, chunks: readonly Uint8Array[]): Promise<void> {
    this.#count('write', () => NODE_FILE_SYSTEM.write(fd, Buffer.concat(chunks).subarray(0, 1)));
    await NODE_FILE_SYSTEM.writeAsync(fd, chunks);
  }

  writeAt(fd: number, chunks: readonly Uint8Array[], position: number): void {
    this.#count('write', () => NODE_FILE_SYSTEM.writeAt(fd, [firstHalf(chunks)], position));
    NODE_FILE_SYSTEM.writeAt(fd, chunks, position);
  }

  async writeAtAsync(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
    this.#count('write', () => NODE_FILE_SYSTEM.writeAt(fd, [firstHalf(chunks)], position));
    await NODE_FILE_SYSTEM.writeAtAsync(fd, chunks, position);
  }

  truncate(fd: number, sizeBytes: number): void {
    this.#count('ftruncate');
    NODE_FILE_SYSTEM.truncate(fd, sizeBytes);
  }

  async syncData(_fd: number): Promise<void> {
    this.#count('fdatasync');
  }

  async syncFolder(_path: string): Promise<void> {
    this.#count('fsync');
  }

  rename(from: string, to: string): void {
    this.#count('rename');
    NODE_FILE_SYSTEM.rename(from, to);
  }

  remove(path: string): void {
    this.#count('unlink');
    NODE_FILE_SYSTEM.remove(path);
  }

  freeBytes(path: string): number {
    this.#count('statfs');
    return NODE_FILE_SYSTEM.freeBytes(path);
  }

  #count(syscall: string, beforeFailing?: () => void): void {
    this.#calls++;
    const fault = this.#fault;
    if (fault === undefined) return;
    const fails = fault.lasts === 'once' ? this.#calls === fault.atCall : this.#calls >= fault.atCall;
    if (!fails) return;
    beforeFailing?.();
    throw Object.assign(new Error(`${fault.code}: planned, ${syscall}`), { code: fault.code, syscall });
  }
}

function firstHalf(chunks: readonly Uint8Array[]): Uint8Array {
  const all = Buffer.concat(chunks);
  return all.subarray(0, all.length >> 1);
}
