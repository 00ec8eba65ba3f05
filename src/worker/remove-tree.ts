import { chmodSync, type Dirent, lstatSync, readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ReapiError, systemCode } from '../errors.ts';

/** Entries removed before other slots get a turn: an action may leave a million. */
const ENTRIES_PER_TURN = 200;

/** Longer paths are not descended into, far below the 4,096 bytes at which system calls refuse them. */
const MAX_PATH_BYTES = 3000;

/** Directories that fill up again while they are emptied are given up after so many looks. */
const MAX_LOOKS = 10;

const SLASH = Buffer.from('/');

/**
 * Removes a folder with all an action may have left in it: directories without write permission, names that are not
 * UTF-8, trees nested deeper than a path can say or a stack can hold. Never follows a symlink. Nothing there is a success.
 * @throws unavailable if something stays.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await new Removal(Buffer.from(path)).run();
  } catch (error) {
    throw new ReapiError('unavailable', `a build directory cannot be removed (${systemCode(error) ?? 'unknown'})`, {
      cause: error,
    });
  }
}

class Removal {
  readonly #top: Buffer;
  /** Directories to be emptied, the innermost last. */
  readonly #stack: { readonly path: Buffer; looks: number }[];
  #moved = 0;
  #removed = 0;

  constructor(top: Buffer) {
    this.#top = top;
    this.#stack = [{ path: top, looks: 0 }];
  }

  async run(): Promise<void> {
    for (let at = this.#stack.at(-1); at !== undefined; at = this.#stack.at(-1)) {
      const children = await this.#empty(at.path);
      const isGone = children.length === 0 && remove(at.path, rmdirSync);
      if (isGone) this.#stack.pop();
      else if (++at.looks > MAX_LOOKS) throw new ReapiError('unavailable', 'something goes on writing there');
      for (const child of children) this.#stack.push({ path: this.#shortened(child), looks: 0 });
    }
  }

  /** Removes all but the directories in it, and returns those. */
  async #empty(folder: Buffer): Promise<Buffer[]> {
    const children: Buffer[] = [];
    for (const entry of list(folder)) {
      const path = Buffer.concat([folder, SLASH, entry.name]);
      if (entry.isDirectory()) children.push(path);
      else remove(path, unlinkSync);
      if (++this.#removed % ENTRIES_PER_TURN === 0) await nextTurn();
    }
    return children;
  }

  /** Moves a directory to the top if its path is too long to go on below it. */
  #shortened(path: Buffer): Buffer {
    if (path.length <= MAX_PATH_BYTES) return path;
    for (;;) {
      const shorter = Buffer.concat([this.#top, Buffer.from(`/~${this.#moved++}`)]);
      try {
        insist(path, () => renameSync(path, shorter));
        return shorter;
      } catch (error) {
        // The action had used that name itself.
        if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error;
      }
    }
  }
}

/** Entries of a directory. What is none, or a symlink to one, is removed on the spot. */
function list(path: Buffer): Dirent<Buffer>[] {
  const stat = insist(path, () => lstatSync(path, { throwIfNoEntry: false }));
  if (stat?.isDirectory()) return insist(path, () => readdirSync(path, { withFileTypes: true, encoding: 'buffer' }));
  if (stat !== undefined) remove(path, unlinkSync);
  return [];
}

/** False if it is a directory that has something in it again. */
function remove(path: Buffer, how: (path: Buffer) => void): boolean {
  try {
    insist(path, () => how(path));
  } catch (error) {
    if (systemCode(error) === 'ENOTEMPTY') return false;
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  return true;
}

/** An action may have taken the permissions of a directory, or of the one around it; they are given back. */
function insist<T>(path: Buffer, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(systemCode(error) ?? '')) throw error;
    for (const folder of [path.subarray(0, path.lastIndexOf(SLASH)), path]) open(folder);
    return act();
  }
}

function open(path: Buffer): void {
  try {
    // Of a symlink, this would change what it leads to.
    if (lstatSync(path).isDirectory()) chmodSync(path, 0o700);
  } catch {
    // Then the second attempt says what is wrong.
  }
}
