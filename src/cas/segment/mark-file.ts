import { join } from 'node:path';
import { systemCode } from '../../errors.ts';
import { closeUnneeded } from '../../system/file-errors.ts';
import { removeIfThere } from '../../system/file-removal.ts';
import type { FileSystem } from '../../system/file-system.ts';
import type { Random } from '../../system/random.ts';
import { MARK_BYTES, RecordMark } from './log/format.ts';
import { readMark, segmentIdOf } from './log/segment-file.ts';

/*
 * The mark of a store stands in the header of each of its segments, and by itself in the file `mark`: 16 hex characters. So no
 * single damaged place makes records unreadable.
 */

const FILE = 'mark';

/**
 * The mark of the store in a folder: that of its file, else that of a segment, else a new one. Afterwards the file has it.
 * Throws system errors.
 */
export async function openMark(files: FileSystem, folder: string, random: Random): Promise<RecordMark> {
  const kept = readFile(files, folder);
  if (kept !== undefined) return kept;
  const mark = markOfSegments(files, folder) ?? new RecordMark(Buffer.from(random.token(MARK_BYTES), 'hex'));
  await writeFile(files, folder, mark);
  return mark;
}

function readFile(files: FileSystem, folder: string): RecordMark | undefined {
  let fd: number;
  try {
    fd = files.open(join(folder, FILE), 'read');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const text = Buffer.alloc(2 * MARK_BYTES + 1);
    const hex = text.toString('latin1', 0, files.read(fd, text, 0));
    return /^[0-9a-f]{16}$/.test(hex) ? new RecordMark(Buffer.from(hex, 'hex')) : undefined;
  } finally {
    closeUnneeded(files, fd);
  }
}

function markOfSegments(files: FileSystem, folder: string): RecordMark | undefined {
  for (const name of files.list(folder)) {
    const id = segmentIdOf(name);
    const mark = id === undefined ? undefined : readMark(files, folder, id);
    if (mark !== undefined) return mark;
  }
  return undefined;
}

async function writeFile(files: FileSystem, folder: string, mark: RecordMark): Promise<void> {
  const temporary = join(folder, `${FILE}.new`);
  removeIfThere(files, temporary);
  const fd = files.open(temporary, 'create');
  try {
    files.writeAt(fd, [Buffer.from(mark.bytes.toString('hex'))], 0);
    await files.syncData(fd);
  } finally {
    closeUnneeded(files, fd);
  }
  files.rename(temporary, join(folder, FILE));
  await files.syncFolder(folder);
}
