import { BugError, ReapiError, systemCode } from '../errors.ts';
import type { FileSystem } from './file-system.ts';

/** Codes of a disk that has no room left. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** Codes of a device or file system that lost what it was given. */
const DAMAGED: ReadonlySet<string> = new Set(['EIO', 'EBADMSG', 'EUCLEAN']);

/**
 * Our error for one that writing to disk met. Paths stay in `cause`, which goes to the log and never to clients.
 * @returns quota-exceeded for a full disk, else unavailable; a `ReapiError` as it is. A broken invariant is thrown on.
 */
export function writeError(error: unknown, doing: string): ReapiError {
  if (error instanceof ReapiError) return error;
  if (error instanceof BugError) throw error;
  const code = systemCode(error) ?? 'unknown error';
  if (FULL.has(code)) return new ReapiError('quota-exceeded', `${doing}: the disk is full (${code})`, { cause: error });
  return new ReapiError('unavailable', `${doing} failed (${code})`, { cause: error });
}

/**
 * Our error for one that reading from disk met.
 * @returns data-loss for a damaged device, else unavailable; a `ReapiError` as it is. A broken invariant is thrown on.
 */
export function readError(error: unknown, doing: string): ReapiError {
  if (error instanceof ReapiError) return error;
  if (error instanceof BugError) throw error;
  const code = systemCode(error) ?? 'unknown error';
  return new ReapiError(DAMAGED.has(code) ? 'data-loss' : 'unavailable', `${doing} failed (${code})`, { cause: error });
}

/**
 * Closes a descriptor that was read from, or whose file is given up. The system releases it even when closing reports an
 * error, and an error is no loss: nothing that was written through it is kept.
 */
export function closeUnneeded(files: FileSystem, fd: number): void {
  try {
    files.close(fd);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
  }
}
