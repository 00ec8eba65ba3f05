import { closeSync, constants, fstatSync, openSync, readFileSync, readSync, type Stats } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Digest, sameDigest } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { createHasher, digestOf } from '../../digest/hasher.ts';
import { ReapiError, systemCode, throwIfAborted } from '../../errors.ts';
import type { ByteStream } from '../../system/byte-stream.ts';
import { diskFailure } from '../exhaustion.ts';

/** Bytes read at a time from large files; with it one read takes well under a millisecond. */
const CHUNK_BYTES = 1024 * 1024;

/** No permission, or something else than there was: what actions and the processes they leave behind bring about. */
const DOING_OF_ACTIONS: ReadonlySet<string> = new Set([
  'EACCES',
  'ELOOP',
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'ENAMETOOLONG',
  'EAGAIN',
  'ENXIO',
]);

/** Something to upload: bytes in memory, or a file that is read again. */
export type OutputBlob =
  | { readonly digest: Digest; readonly bytes: Uint8Array }
  | { readonly digest: Digest; readonly path: string };

/** Computes the digest of a regular file without following a symlink. Small files come with their bytes. */
export async function digestFile(
  path: string,
  fn: DigestFunction,
  options: { readonly keepBelowBytes: number },
  signal: AbortSignal,
): Promise<{ readonly blob: OutputBlob; readonly stat: Stats }> {
  const fd = openForReading(path);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new ReapiError('precondition', 'an output changed its type while it was read');
    if (stat.size <= options.keepBelowBytes) {
      const bytes = readFileSync(fd);
      return { blob: { digest: digestOf(fn, bytes), bytes }, stat };
    }
    const hasher = createHasher(fn);
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (;;) {
      throwIfAborted(signal);
      const count = readSync(fd, buffer, 0, CHUNK_BYTES, null);
      if (count === 0) break;
      hasher.update(buffer.subarray(0, count));
      await nextTurn();
    }
    return { blob: { digest: hasher.finish(), path }, stat };
  } catch (error) {
    throw unreadable(error);
  } finally {
    closeSync(fd);
  }
}

/** The bytes of a small file, which never blocks, whatever has taken its place. @throws precondition if it changed. */
export function readSmallOutput(path: string, digest: Digest): Uint8Array {
  const fd = openForReading(path);
  try {
    const stat = fstatSync(fd);
    const bytes = stat.isFile() && stat.size === digest.sizeBytes ? readFileSync(fd) : undefined;
    if (bytes !== undefined && sameDigest(digestOf(digest.function, bytes), digest)) return bytes;
    throw new ReapiError('precondition', 'an output file changed while it was uploaded');
  } catch (error) {
    throw unreadable(error);
  } finally {
    closeSync(fd);
  }
}

/** The bytes of a file as it was when its digest was taken. @throws precondition if its size changed since. */
export async function* readOutput(path: string, sizeBytes: number): ByteStream {
  const fd = openForReading(path);
  let rest = sizeBytes;
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, rest + 1));
      const count = readInto(buffer, fd);
      if (count === 0) break;
      rest -= count;
      if (rest < 0) break;
      yield buffer.subarray(0, count);
    }
  } finally {
    closeSync(fd);
  }
  if (rest !== 0) throw new ReapiError('precondition', 'an output file changed while it was uploaded');
}

function readInto(buffer: Buffer, fd: number): number {
  try {
    return readSync(fd, buffer, 0, buffer.length, null);
  } catch (error) {
    throw unreadable(error);
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw unreadable(error);
  }
}

/** What the disk says of an output, as a failure of the action or of this worker. */
export function unreadable(error: unknown): ReapiError {
  if (error instanceof ReapiError) return error;
  const code = systemCode(error) ?? 'unknown';
  const what = 'an output cannot be read';
  if (!DOING_OF_ACTIONS.has(code)) return diskFailure(what, error);
  return new ReapiError('precondition', `${what} (${code})`, { cause: error });
}
