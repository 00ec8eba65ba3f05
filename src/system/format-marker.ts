import { join } from 'node:path';
import { ReapiError } from '../errors.ts';
import { writeError } from './file-errors.ts';
import type { FileSystem } from './file-system.ts';

/** A marker is one short line of JSON; more than this is none. */
const MAX_MARKER_BYTES = 4096;

/** What a folder holds, in which version of its layout. */
export interface FolderFormat {
  /** Name of the marker file. */
  readonly file: string;
  readonly format: string;
  /** The version this program writes, and the highest it reads. */
  readonly version: number;
  /** Names that may stand in a folder that has no marker yet. */
  readonly ignoring?: (name: string) => boolean;
}

/**
 * Makes sure that `folder` has the format: writes the marker into an empty folder, reads it in any other.
 * A folder with other content is refused, so that a mistyped path never has its files taken for ours. The marker of an older
 * version is replaced, so that the program that wrote it refuses the folder from now on; what it marks is the caller's to migrate,
 * and to recognise on its own: after a crash in the middle the marker is new already.
 * @returns the version that was found; `wanted.version` for a new folder.
 * @throws precondition: foreign content, another format, a newer version; unavailable if the folder cannot be used.
 */
export async function claimFormat(files: FileSystem, folder: string, wanted: FolderFormat): Promise<number> {
  const text = readMarker(files, folder, wanted);
  if (text === undefined) {
    const isOurs = (name: string): boolean => name === `${wanted.file}.new` || (wanted.ignoring?.(name) ?? false);
    const other = list(files, folder).find((name) => !isOurs(name));
    if (other !== undefined) {
      throw new ReapiError('precondition', `"${folder}" has no ${wanted.file} file and is not empty ("${other}")`);
    }
    await writeMarker(files, folder, wanted);
    return wanted.version;
  }
  const found = parseMarker(text);
  if (found === undefined || found.format !== wanted.format) {
    throw new ReapiError('precondition', `"${folder}" is no ${wanted.format} folder: see its ${wanted.file} file`);
  }
  if (found.version > wanted.version) {
    const versions = `version ${found.version}, this program knows up to ${wanted.version}`;
    throw new ReapiError('precondition', `"${folder}" was written by a newer program: ${wanted.format} ${versions}`);
  }
  if (found.version < wanted.version) await writeMarker(files, folder, wanted);
  return found.version;
}

function list(files: FileSystem, folder: string): readonly string[] {
  try {
    return files.list(folder);
  } catch (error) {
    throw writeError(error, 'reading the data folder');
  }
}

function readMarker(files: FileSystem, folder: string, wanted: FolderFormat): string | undefined {
  if (!list(files, folder).includes(wanted.file)) return undefined;
  try {
    const fd = files.open(join(folder, wanted.file), 'read');
    try {
      const buffer = Buffer.alloc(MAX_MARKER_BYTES);
      return buffer.subarray(0, files.read(fd, buffer, 0)).toString('utf8');
    } finally {
      files.close(fd);
    }
  } catch (error) {
    throw writeError(error, `reading the ${wanted.file} file`);
  }
}

/**
 * By temporary file and rename: a crash leaves the marker that was there, or a folder that counts as empty. Synced whatever the
 * configuration says: a marker that lost its bytes makes the whole folder useless.
 */
async function writeMarker(files: FileSystem, folder: string, wanted: FolderFormat): Promise<void> {
  const temporary = join(folder, `${wanted.file}.new`);
  const text = `${JSON.stringify({ format: wanted.format, version: wanted.version })}\n`;
  try {
    if (files.list(folder).includes(`${wanted.file}.new`)) files.remove(temporary);
    const fd = files.open(temporary, 'create');
    try {
      files.write(fd, Buffer.from(text));
      await files.syncData(fd);
    } finally {
      files.close(fd);
    }
    files.rename(temporary, join(folder, wanted.file));
    await files.syncFolder(folder);
  } catch (error) {
    throw writeError(error, `writing the ${wanted.file} file`);
  }
}

function parseMarker(text: string): { readonly format: string; readonly version: number } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('format' in value) || !('version' in value)) return undefined;
    const { format, version } = value;
    if (typeof format !== 'string' || !Number.isSafeInteger(version)) return undefined;
    return { format, version: Number(version) };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
