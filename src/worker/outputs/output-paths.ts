import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { ReapiError, systemCode } from '../../errors.ts';

/**
 * A path a command names, relative to the root: lexically cleaned, `..` resolved.
 * @returns '' for the root itself.
 * @throws invalid-argument: absolute, NUL, or above the root (R-CM-03).
 */
export function resolveInRoot(workingDirectory: string, path: string, field: string): string {
  if (path.startsWith('/') || path.includes('\0')) throw wrong(path, field, 'is not a relative path');
  const parts: string[] = [];
  for (const segment of `${workingDirectory}/${path}`.split('/')) {
    if (segment === '' || segment === '.') continue;
    if (segment !== '..') parts.push(segment);
    else if (parts.pop() === undefined) throw wrong(path, field, 'leaves the input root');
  }
  return parts.join('/');
}

/**
 * Where the parent of an output really is, following symlinks that stay below `root`.
 * @returns undefined if it does not exist.
 * @throws invalid-argument if a symlink leads out of the root, so that an action cannot have host files collected.
 */
export function realParent(root: string, path: string, field: string): string | undefined {
  const slash = path.lastIndexOf('/');
  return realInside(root, slash < 0 ? '' : path.slice(0, slash), field);
}

/** The real path of `path` below `root`, or undefined if it does not exist. @throws invalid-argument if it lies outside. */
export function realInside(root: string, path: string, field: string): string | undefined {
  let real: string;
  try {
    real = realpathSync(join(root, path));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCode(error) ?? '')) return undefined;
    throw new ReapiError('unavailable', 'an output cannot be looked at', { cause: error });
  }
  const realRoot = realpathSync(root);
  if (real !== realRoot && !real.startsWith(`${realRoot}/`)) throw wrong(path, field, 'leads out of the input root');
  return real;
}

/**
 * Makes the directory of an output, one segment at a time, so that a symlink in the input tree cannot make us create
 * directories elsewhere (R-CM-20).
 * @throws invalid-argument: a parent is a file, or leads out of the root.
 */
export function makeParents(root: string, path: string, field: string): void {
  const segments = path.split('/').slice(0, -1);
  let below = '';
  for (const segment of segments) {
    below = below === '' ? segment : `${below}/${segment}`;
    const at = join(root, below);
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) mkdirSync(at, 0o755);
    else if (stat.isSymbolicLink()) {
      const real = realInside(root, below, field);
      if (real === undefined || !lstatSync(real).isDirectory())
        throw wrong(path, field, 'has a parent that is no directory');
    } else if (!stat.isDirectory()) throw wrong(path, field, 'has a parent that is a file');
  }
}

function wrong(path: string, field: string, what: string): ReapiError {
  const shown = JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
  return new ReapiError('invalid-argument', `${field}: ${shown} ${what}`, { field });
}
