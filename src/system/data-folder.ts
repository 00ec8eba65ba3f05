import { closeSync, constants, fstatSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ReapiError, systemCode } from '../errors.ts';
import { writeError } from './file-errors.ts';
import { NODE_FILE_SYSTEM } from './file-system.ts';
import { FolderLock } from './folder-lock.ts';
import { claimFormat } from './format-marker.ts';

/**
 * Layout of the data folder as a whole; each store's folder has a version of its own. Version 1 kept entries as files;
 * version 2 keeps them, and small blobs, in the segment log (docs/storage.md).
 */
const FORMAT = {
  file: 'version',
  format: 'gantry-data',
  version: 2,
  ignoring: (name: string): boolean => name === 'lock' || name === 'lost+found',
};

/** `sun_path` has 108 bytes on Linux with the closing zero; the rest is for names in it. */
const MAX_FOLDER_BYTES = 80;

/**
 * The folder in which a server or worker keeps everything: created with mode 0700, owned by one process at a time, with a
 * version so that a later program migrates it or an older one refuses it. Sockets in it are addressed by `socketFolder`.
 */
export class DataFolder {
  readonly path: string;
  /**
   * The folder under a name short enough for unix sockets: `path`, or `/proc/self/fd/N` when that is too long. Good in this process
   * until `release`; another process needs a short path, or a descriptor of its own.
   */
  readonly socketFolder: string;
  readonly #fd: number;
  readonly #lock: FolderLock;

  private constructor(path: string, socketFolder: string, fd: number, lock: FolderLock) {
    this.path = path;
    this.socketFolder = socketFolder;
    this.#fd = fd;
    this.#lock = lock;
  }

  /** Creates or takes over the folder. @throws precondition: in use, foreign content, written by a newer program; unavailable. */
  static async open(path: string): Promise<DataFolder> {
    const fd = openFolder(path);
    let lock: FolderLock | undefined;
    try {
      const socketFolder = Buffer.byteLength(path) <= MAX_FOLDER_BYTES ? path : `/proc/self/fd/${fd}`;
      lock = await FolderLock.take(socketFolder, identityOf(fd));
      await claimFormat(NODE_FILE_SYSTEM, path, FORMAT);
      return new DataFolder(path, socketFolder, fd, lock);
    } catch (error) {
      await lock?.release();
      closeSync(fd);
      throw ReapiError.wrap(error, `the data folder "${path}" cannot be used`);
    }
  }

  /** The path of a part of it. */
  sub(name: string): string {
    return join(this.path, name);
  }

  /** Lets another process have the folder. */
  async release(): Promise<void> {
    await this.#lock.release();
    closeSync(this.#fd);
  }
}

/** Held open so that the folder stays the same one, and has a short name, whatever happens to its path. */
function openFolder(path: string): number {
  try {
    makeFolders(path);
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw writeError(error, `creating the data folder "${path}"`);
  }
}

/**
 * Level by level: Node's recursive way never ends where a folder exists that takes no children and calls that ENOENT,
 * as /proc does.
 */
function makeFolders(path: string): void {
  let error = makeFolder(path);
  if (systemCode(error) === 'ENOENT' && dirname(path) !== path) {
    makeFolders(dirname(path));
    error = makeFolder(path);
  }
  if (error !== undefined) throw error;
}

/** Why there is no such folder now, or undefined if there is. */
function makeFolder(path: string): unknown {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') return error;
  }
  return undefined;
}

/** The same for every path to the folder. */
function identityOf(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev}-${ino}`;
}
