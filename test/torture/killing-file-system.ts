import { type FileSystem, NODE_FILE_SYSTEM } from '../../src/system/file-system.ts';

/**
 * The real disk, with a look-out: `before` is called before each call that changes something. Of a write it is given a way to do half
 * of it first. Whoever ends the process there leaves what a crash of the process at this very point leaves.
 */
export function watchedFileSystem(before: (writeHalf?: () => void) => void): FileSystem {
  const disk = NODE_FILE_SYSTEM;
  const half = (chunks: readonly Uint8Array[]): Uint8Array => {
    const all = Buffer.concat(chunks);
    return all.subarray(0, all.length >> 1);
  };
  return {
    ...disk,
    makeFolder: (path) => {
      before();
      disk.makeFolder(path);
    },
    open: (path, purpose) => {
      if (purpose === 'create') before();
      return disk.open(path, purpose);
    },
    write: (fd, chunk) => {
      before(() => disk.write(fd, half([chunk])));
      disk.write(fd, chunk);
    },
    writeAsync: async (fd, chunks) => {
      before(() => disk.write(fd, half(chunks)));
      await disk.writeAsync(fd, chunks);
    },
    writeAt: (fd, chunks, position) => {
      before(() => disk.writeAt(fd, [half(chunks)], position));
      disk.writeAt(fd, chunks, position);
    },
    writeAtAsync: async (fd, chunks, position) => {
      before(() => disk.writeAt(fd, [half(chunks)], position));
      await disk.writeAtAsync(fd, chunks, position);
    },
    truncate: (fd, sizeBytes) => {
      before();
      disk.truncate(fd, sizeBytes);
    },
    syncData: async (fd) => {
      before();
      await disk.syncData(fd);
    },
    syncFolder: async (path) => {
      before();
      await disk.syncFolder(path);
    },
    rename: (from, to) => {
      before();
      disk.rename(from, to);
    },
    remove: (path) => {
      before();
      disk.remove(path);
    },
  };
}
