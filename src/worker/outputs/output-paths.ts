import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ReapiError, systemCode, throwIfAborted } from '../../errors.ts';
import { diskFailure } from '../exhaustion.ts';

/** Longest name of a file system entry, in bytes, on every file system in use. */
const MAX_NAME_BYTES = 255;

/** Paths looked at before other slots get a turn: a command may name hundreds of thousands. */
export const PATHS_PER_TURN = 200;

/**
 * A path a command names, relative to the root: lexically cleaned, `..` resolved.
 * @returns '' for the root itself.
 * @throws invalid-argument: absolute, NUL, or above the root (R-CM-03), a name no file system takes.
 */
export function resolveInRoot(workingDirectory: string, path: string, field: string): string {
  if (path.startsWith('/') || path.includes('\0')) throw wrong(path, field, 'is not a relative path');
  const parts: string[] = [];
  for (const segment of `${workingDirectory}/${path}`.split('/')) {
    if (segment === '' || segment === '.') continue;
    if (Buffer.byteLength(segment) > MAX_NAME_BYTES) throw wrong(path, field, 'has a name that is too long');
    if (segment !== '..') parts.push(segment);
    else if (parts.pop() === undefined) throw wrong(path, field, 'leaves the input root');
  }
  return parts.join('/');
}

/**
 * Where `path` really is, following symlinks that stay below `root`.
 * @param root a real path. It is not resolved here: the action may have put a symlink in its place.
 * @returns undefined if it does not exist.
 * @throws invalid-argument if it lies outside, so that an action cannot have host files collected; precondition;
 * unavailable.
 */
export function realInside(root: string, path: string, field: string): string | undefined {
  let real: string;
  try {
    real = realpathSync.native(join(root, path));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCode(error) ?? '')) return undefined;
    throw pathError(path, field, error);
  }
  if (real !== root && !real.startsWith(`${root}/`)) throw wrong(path, field, 'leads out of the input root');
  return real;
}

/**
 * Makes the directories of outputs, one segment at a time, so that a symlink in the input tree cannot make us create
 * directories elsewhere (R-CM-20).
 * @throws invalid-argument: a parent is a file, or leads out of the root; `diskFailure`; cancelled.
 */
export async function makeParents(
  root: string,
  outputs: Iterable<{ readonly inRoot: string; readonly field: string }>,
  signal: AbortSignal,
): Promise<void> {
  const made = new Set<string>(['']);
  let done = 0;
  for (const { inRoot, field } of outputs) {
    const parent = inRoot.slice(0, Math.max(0, inRoot.lastIndexOf('/')));
    if (!made.has(parent)) makeFolder(root, parent, field, made);
    if (++done % PATHS_PER_TURN !== 0) continue;
    await nextTurn();
    throwIfAborted(signal);
  }
}

function makeFolder(root: string, path: string, field: string, made: Set<string>): void {
  let below = '';
  for (const segment of path.split('/')) {
    below = below === '' ? segment : `${below}/${segment}`;
    if (made.has(below)) continue;
    try {
      makeOne(root, below, field);
    } catch (error) {
      throw pathError(below, field, error);
    }
    made.add(below);
  }
}

function makeOne(root: string, path: string, field: string): void {
  const at = join(root, path);
  const stat = lstatSync(at, { throwIfNoEntry: false });
  if (stat === undefined) mkdirSync(at, 0o755);
  else if (stat.isSymbolicLink()) {
    const real = realInside(root, path, field);
    if (real === undefined || !lstatSync(real).isDirectory()) throw wrong(path, field, 'is to be a directory');
  } else if (!stat.isDirectory()) throw wrong(path, field, 'is to be a directory and is a file');
}

/** What the disk says of a path that a command chose. */
function pathError(path: string, field: string, error: unknown): ReapiError {
  if (error instanceof ReapiError) return error;
  const code = systemCode(error) ?? 'unknown';
  if (code === 'ENAMETOOLONG') return wrong(path, field, 'is too long for this worker');
  const what = `${field}: a path cannot be used on this worker`;
  if (code !== 'EACCES') return diskFailure(what, error);
  // Without permission: the action has taken it away.
  return new ReapiError('precondition', `${what} (${code})`, { field, cause: error });
}

function wrong(path: string, field: string, what: string): ReapiError {
  const shown = JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
  return new ReapiError('invalid-argument', `${field}: ${shown} ${what}`, { field });
}
