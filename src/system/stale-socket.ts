import { lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { systemCode } from '../errors.ts';

/**
 * Removes the file of a unix socket that a process left behind when it was killed: as long as it is there, nobody can listen under that
 * name. One that somebody listens on stays, as does a file that is no socket.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return;
  if (await isAnswered(path)) return;
  rmSync(path, { force: true });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Only a refusal means that nobody is there; whatever else is wrong, listening will say.
    socket.once('error', (error) => resolve(systemCode(error) !== 'ECONNREFUSED'));
  });
}
