import {
  closeSync,
  fdatasync,
  fsync,
  ftruncateSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readSync,
  renameSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
  writev,
  writevSync,
} from 'node:fs';
import { promisify } from 'node:util';

const readInto = promisify(read);
const writeChunks = promisify(writev);
const syncFileData = promisify(fdatasync);
const syncEverything = promisify(fsync);

/** What is known of a file without opening it. */
export interface FileFacts {
  readonly sizeBytes: number;
  /** Milliseconds since the Unix epoch. */
  readonly modifiedMs: number;
}

/**
 * The calls through which stores reach the disk: a seam for injecting faults (test/support/faulty-file-system.ts).
 * Small I/O is synchronous because the page cache answers in 2 µs where the thread pool takes 9 µs;
 * what may wait for a device (large transfers, syncing) is asynchronous. Everything throws Node's system errors.
 */
export interface FileSystem {
  /** Creates the folder, mode 0700, and its parents; a success if it exists. */
  makeFolder(path: string): void;
  /** Names in a folder, in no particular order. */
  list(path: string): readonly string[];
  stat(path: string): FileFacts;
  /**
   * A descriptor; `create` fails with EEXIST if there is one already, and makes it with mode 0600, for reading and writing.
   * `update` is for reading and writing a file that exists.
   */
  open(path: string, purpose: 'read' | 'create' | 'update'): number;
  close(fd: number): void;
  /** How many bytes came; fewer than asked only at the end of the file. */
  read(fd: number, into: Uint8Array, position: number): number;
  readAsync(fd: number, into: Uint8Array, position: number): Promise<number>;
  /** Appends all of `chunk`. */
  write(fd: number, chunk: Uint8Array): void;
  /** Appends all of `chunks`, in order. */
  writeAsync(fd: number, chunks: readonly Uint8Array[]): Promise<void>;
  /** Writes all of `chunks` at `position`, in order, in one go: for small amounts. */
  writeAt(fd: number, chunks: readonly Uint8Array[], position: number): void;
  /** The same without holding up other work: for large amounts. */
  writeAtAsync(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void>;
  /** Cuts the file off, or fills it up with zeros. */
  truncate(fd: number, sizeBytes: number): void;
  /** Waits until the file's bytes are on the device. */
  syncData(fd: number): Promise<void>;
  /** Waits until the names in a folder are on the device. */
  syncFolder(path: string): Promise<void>;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Bytes an unprivileged process may still write to the file system `path` is on. */
  freeBytes(path: string): number;
}

const OPEN_FLAGS = { read: 'r', create: 'wx+', update: 'r+' } as const;

/** Buffers that one call of the system takes (`IOV_MAX` on Linux). */
const MAX_CHUNKS_PER_CALL = 1024;

/** The machine's disk. */
export const NODE_FILE_SYSTEM: FileSystem = {
  makeFolder: (path) => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  },
  list: (path) => readdirSync(path),
  stat: (path) => {
    const { size, mtimeMs } = statSync(path);
    return { sizeBytes: size, modifiedMs: mtimeMs };
  },
  open: (path, purpose) => openSync(path, OPEN_FLAGS[purpose], 0o600),
  close: closeSync,
  read: (fd, into, position) => {
    let done = 0;
    while (done < into.length) {
      const count = readSync(fd, into, done, into.length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  },
  readAsync: async (fd, into, position) => {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await readInto(fd, into, done, into.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  },
  write: (fd, chunk) => {
    for (let done = 0; done < chunk.length; ) done += writeSync(fd, chunk, done);
  },
  writeAsync: async (fd, chunks) => {
    let rest = chunks;
    while (rest.length > 0) rest = withoutFirst(rest, (await writeChunks(fd, rest)).bytesWritten);
  },
  writeAt: (fd, chunks, position) => {
    let rest = chunks;
    for (let at = position; rest.length > 0; ) {
      const count = writevSync(fd, rest.slice(0, MAX_CHUNKS_PER_CALL), at);
      rest = withoutFirst(rest, count);
      at += count;
    }
  },
  writeAtAsync: async (fd, chunks, position) => {
    let rest = chunks;
    for (let at = position; rest.length > 0; ) {
      const { bytesWritten } = await writeChunks(fd, rest.slice(0, MAX_CHUNKS_PER_CALL), at);
      rest = withoutFirst(rest, bytesWritten);
      at += bytesWritten;
    }
  },
  truncate: ftruncateSync,
  syncData: (fd) => syncFileData(fd),
  syncFolder: async (path) => {
    const fd = openSync(path, 'r');
    try {
      await syncEverything(fd);
    } finally {
      closeSync(fd);
    }
  },
  rename: renameSync,
  remove: unlinkSync,
  freeBytes: (path) => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  },
};

/** What is left of `chunks` after their first `sizeBytes` were written: a write may be short. */
export function withoutFirst(chunks: readonly Uint8Array[], sizeBytes: number): readonly Uint8Array[] {
  let left = sizeBytes;
  for (const [at, chunk] of chunks.entries()) {
    if (left < chunk.length) return [chunk.subarray(left), ...chunks.slice(at + 1)];
    left -= chunk.length;
  }
  return [];
}
