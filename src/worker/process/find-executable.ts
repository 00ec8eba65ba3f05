import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { ReapiError } from '../../errors.ts';

/** Where programs are looked for when the command's environment has no PATH; what `execvp` does as well. */
const DEFAULT_PATH = '/bin:/usr/bin';

/**
 * Checks that a command can be found: absolute, relative to the working directory if it has a slash, else in the PATH
 * of its own environment (R-CM-13).
 * @returns its path, absolute.
 * @throws invalid-argument, as Buildbarn does: the build cannot mend it by trying again.
 */
export function findExecutable(name: string, workingDirectory: string, path: string | undefined): string {
  if (name === '' || name.includes('\0')) throw wrong('the first argument names no program');
  if (name.includes('/')) {
    const at = resolve(workingDirectory, name);
    if (isExecutable(at)) return at;
    throw wrong(`"${name}" is not an executable file in the input root or on the worker`);
  }
  const folders = (path ?? DEFAULT_PATH).split(':');
  for (const folder of folders) {
    const at = resolve(workingDirectory, folder, name);
    if (isExecutable(at)) return at;
  }
  throw wrong(`"${name}" is not in any folder of PATH (${folders.join(':').slice(0, 500)})`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function wrong(what: string): ReapiError {
  return new ReapiError('invalid-argument', what, { field: 'arguments' });
}
