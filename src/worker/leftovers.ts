import { mkdirSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { removeTree } from './remove-tree.ts';

/**
 * Ends what an earlier worker of this folder left behind and empties the folder. A process counts as left behind if its
 * working directory or its output lies in the folder, which no process of anybody else's does, so that a reused
 * process id is never killed.
 * @returns how many processes were killed.
 * @throws unavailable if the folder cannot be emptied.
 */
export async function clearLeftovers(folder: string): Promise<number> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const killed = killProcessesIn(join(realpathSync(dirname(folder)), basename(folder)));
  await removeTree(folder);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return killed;
}

/**
 * Kills every process whose working directory, stdout or stderr lies in the folder. Does nothing where there is no /proc.
 * @param folder a real path. It is not resolved here: an action may have put a symlink to anywhere in its place.
 * @param spared name of a folder in it whose processes may go on.
 */
export function killProcessesIn(folder: string, spared?: string): number {
  const inside = `${folder}/`;
  let killed = 0;
  for (const pid of processIds()) {
    if (pid === process.pid) continue;
    const links = ['cwd', 'fd/1', 'fd/2'].map((link) => linkTarget(`/proc/${pid}/${link}`));
    const found = links.filter((path) => path.startsWith(inside)).map((path) => firstName(path.slice(inside.length)));
    if (found.length > 0 && !found.some((name) => name === spared) && kill(pid)) killed++;
  }
  return killed;
}

/** The system says of what was removed, in the path itself, that it was. */
function firstName(path: string): string {
  const [name = ''] = path.split('/', 1);
  return name.replace(/ \(deleted\)$/, '');
}

function processIds(): number[] {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isInteger(pid));
  } catch {
    // Not Linux: nothing to look at.
    return [];
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // It has ended meanwhile, or is another user's and so not ours.
    return '';
  }
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    // It has ended meanwhile.
    return false;
  }
}
