import { unlinkSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { ReapiError, systemCode } from '../errors.ts';
import { writeError } from './file-errors.ts';

/**
 * Lets one process at a time own a folder, by two listening unix sockets. The system closes them when the process dies, however
 * it dies, and no process id can be mistaken.
 *
 * The first has a name in Linux's abstract namespace, made of the folder's device and inode: it leaves nothing behind and taking
 * it is atomic, but another container does not see it. The second is the file `lock` in the folder, which every container
 * sees: one that answers belongs to a living owner, one that refuses was left by a dead one and is replaced. Only two
 * containers that find the same dead owner's file in the same instant could both succeed.
 */
export class FolderLock {
  readonly #sockets: readonly Server[];

  private constructor(sockets: readonly Server[]) {
    this.#sockets = sockets;
  }

  /**
   * @param folder a path short enough for a socket in it (see `DataFolder.socketFolder`).
   * @param identity what names this folder and no other on this machine.
   * @throws precondition if another process holds the lock; unavailable.
   */
  static async take(folder: string, identity: string): Promise<FolderLock> {
    const guard = await listen(`\0gantry-data-${identity}`);
    try {
      const path = join(folder, 'lock');
      if (await answers(path)) throw inUse();
      removeIfThere(path);
      return new FolderLock([await listen(path), guard]);
    } catch (error) {
      await close(guard);
      throw writeError(error, 'locking the data folder');
    }
  }

  /** Gives the folder free; the file goes with its socket. */
  async release(): Promise<void> {
    for (const socket of this.#sockets) await close(socket);
  }
}

function inUse(): ReapiError {
  return new ReapiError('precondition', 'another process is using it');
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      reject(systemCode(error) === 'EADDRINUSE' ? inUse() : writeError(error, 'locking the data folder'));
    });
    server.listen(path, () => resolve(server));
    // Holding a lock is no reason for a process to go on.
    server.unref();
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/** Whether a process listens there. Anything but a clear no counts as yes: two owners would be worse than a refusal. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      const code = systemCode(error);
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
