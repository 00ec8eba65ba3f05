import { chmodSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ReapiError, systemCode } from '../errors.ts';

/** Levels an action may nest its directories; deeper ones end in an error rather than in an overflow of the stack. */
const MAX_DEPTH = 10_000;

/**
 * Removes a folder with all an action may have left in it, such as directories without write permission. Never follows
 * a symlink. Nothing there is a success.
 * @throws unavailable if something stays.
 */
export function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (!['EACCES', 'EPERM', 'ENOTEMPTY'].includes(systemCode(error) ?? '')) throw stuck(error);
    try {
      openUp(path, 0);
      rmSync(path, { recursive: true, force: true, maxRetries: 3 });
    } catch (again) {
      throw stuck(again);
    }
  }
}

function openUp(path: string, depth: number): void {
  if (depth > MAX_DEPTH || !lstatSync(path).isDirectory()) return;
  chmodSync(path, 0o700);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) openUp(join(path, entry.name), depth + 1);
  }
}

function stuck(error: unknown): ReapiError {
  return new ReapiError('unavailable', `a build directory cannot be removed (${systemCode(error) ?? 'unknown'})`, {
    cause: error,
  });
}
