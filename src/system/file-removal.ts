import { systemCode } from '../errors.ts';
import type { FileSystem } from './file-system.ts';

/** Removes a file that may be there. Throws system errors. */
export function removeIfThere(files: FileSystem, path: string): void {
  try {
    files.remove(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/** Removes a file that was given up after another error: one that stays is removed before the next attempt to write it. */
export function removeUnneeded(files: FileSystem, path: string): void {
  try {
    files.remove(path);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
  }
}
