import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { ReapiError, systemCode } from '../../../errors.ts';
import { closeUnneeded } from '../../../system/file-errors.ts';
import { removeIfThere, removeUnneeded } from '../../../system/file-removal.ts';
import type { FileSystem } from '../../../system/file-system.ts';
import { SEGMENT_FORMAT_VERSION } from '../log/format.ts';
import { type DigestTable, decodePage, isPage, MAX_PAGE_BYTES, type Place } from './digest-table.ts';
import type { RowKey } from './row-key.ts';

/*
 * The snapshot of the index, file `index`. Numbers are little-endian.
 *
 *     header, 40 bytes
 *        0  8  "GANTRYIX"
 *        8  4  version, 1
 *       12  4  log position: segment
 *       16  6  log position: offset in it
 *       22  6  sequence number of the next record
 *       28  4  store seconds
 *       32  1  1 = written by a clean stop
 *       33  3  reserved, 0
 *       36  4  CRC-32 of the 36 bytes before
 *
 *     page: a block header of 12 bytes, then rows (49 bytes each, see DigestTable.encodePage)
 *        0  4  0x45474150 ("PAGE")
 *        4  4  bytes of its rows
 *        8  4  CRC-32 of the 8 bytes before and the rows, begun with the checksum in the page (or file header) before
 *
 *     end: a block header alone; nothing follows
 *        0  4  0x21444e45 ("END!")
 *        4  4  number of pages
 *        8  4  CRC-32 of the 8 bytes before, begun likewise
 *
 * Pages are taken one after the other while the store goes on. So a row is as it was at some moment after the log position was
 * taken, and replaying the log from there brings all of them up to date: a row keeps its page for as long as it exists. A key that was removed and came back
 * meanwhile may be in two rows, or in none if the log has it.
 */

/** Name of the snapshot in its folder; while it is written it is called this with `.new`. */
export const INDEX_FILE = 'index';
const MAGIC = Buffer.from('GANTRYIX');
const HEADER_BYTES = 40;
const BLOCK_HEADER_BYTES = 12;
const PAGE_MAGIC = 0x45474150;
const END_MAGIC = 0x21444e45;

/** What a snapshot says beside its rows. */
export interface IndexFacts {
  /** Log position from which to replay: everything before it is in the rows. */
  readonly segment: number;
  readonly offset: number;
  /** Seconds the store had been running. */
  readonly storeSeconds: number;
  /** Sequence number of the record after the log position. */
  readonly nextSequence: number;
  /** Whether the store was stopped in order after it: then there is nothing to replay. */
  readonly isClean: boolean;
}

/** Where a snapshot goes. */
export interface IndexTarget {
  readonly files: FileSystem;
  readonly folder: string;
  /** Has to succeed before the snapshot takes the place of the old one. */
  readonly beforeRename: () => Promise<void>;
}

/**
 * Writes the snapshot as `index.new` and renames it to `index`. The table may change meanwhile; `facts` are from before the call.
 * One call at a time. Throws system errors; then the snapshot is the old one, or the new one that was not synced.
 * @returns its bytes.
 */
export async function writeIndexFile(target: IndexTarget, table: DigestTable, facts: IndexFacts): Promise<number> {
  const { files, folder, beforeRename } = target;
  const temporary = join(folder, `${INDEX_FILE}.new`);
  removeIfThere(files, temporary);
  try {
    const sizeBytes = await writePages(files, temporary, table, facts);
    await beforeRename();
    files.rename(temporary, join(folder, INDEX_FILE));
    await files.syncFolder(folder);
    return sizeBytes;
  } catch (error) {
    removeUnneeded(files, temporary);
    throw error;
  }
}

async function writePages(files: FileSystem, path: string, table: DigestTable, facts: IndexFacts): Promise<number> {
  const fd = files.open(path, 'create');
  try {
    const header = encodeHeader(facts);
    files.writeAt(fd, [header], 0);
    let crc = header.readUInt32LE(36);
    let position = HEADER_BYTES;
    // Rows in pages that are added from now on are in the log behind the position.
    const pages = table.pageCount;
    for (let page = 0; page < pages; page++) {
      const rows = table.encodePage(page);
      const start = encodeBlockHeader(PAGE_MAGIC, rows.length);
      crc = sealBlock(start, rows, crc);
      await files.writeAtAsync(fd, [start, rows], position);
      position += BLOCK_HEADER_BYTES + rows.length;
    }
    const end = encodeBlockHeader(END_MAGIC, pages);
    sealBlock(end, NO_ROWS, crc);
    files.writeAt(fd, [end], position);
    await files.syncData(fd);
    return position + BLOCK_HEADER_BYTES;
  } finally {
    files.close(fd);
  }
}

/**
 * Reads the snapshot twice: the first pass verifies every byte, the second visits the rows, so that none is visited of a file that
 * is not whole. Key and place are valid during the visit only.
 * @returns `damage`, for people, also if it cannot be read: the segments hold all that it does.
 * @throws data-loss or a system error if the file was whole in the first pass only; what was visited must be forgotten then.
 */
export function readIndexFile(
  files: FileSystem,
  folder: string,
  visit: (key: RowKey, place: Place) => void,
): IndexFacts | 'absent' | { readonly damage: string } {
  let fd: number;
  try {
    fd = files.open(join(folder, INDEX_FILE), 'read');
  } catch (error) {
    return systemCode(error) === 'ENOENT' ? 'absent' : unreadable(error);
  }
  try {
    const found = verify(files, fd);
    if ('damage' in found) return found;
    const again = readPages(files, fd, (rows) => decodePage(rows, visit));
    if ('damage' in again) throw new ReapiError('data-loss', `the index changed while it was read: ${again.damage}`);
    return found;
  } finally {
    closeUnneeded(files, fd);
  }
}

type Found = IndexFacts | { readonly damage: string };

function verify(files: FileSystem, fd: number): Found {
  try {
    return readPages(files, fd, isPage);
  } catch (error) {
    return unreadable(error);
  }
}

function unreadable(error: unknown): { readonly damage: string } {
  const code = systemCode(error);
  if (code === undefined) throw error;
  return { damage: `it cannot be read (${code})` };
}

/** One pass. @param take is given the rows of each page, in a buffer that is used again, and says whether they are any. */
function readPages(files: FileSystem, fd: number, take: (rows: Buffer) => boolean): Found {
  const buffer = Buffer.allocUnsafeSlow(MAX_PAGE_BYTES);
  const read = (sizeBytes: number, position: number): Buffer => {
    const into = buffer.subarray(0, sizeBytes);
    return into.subarray(0, files.read(fd, into, position));
  };
  const header = Buffer.from(read(HEADER_BYTES, 0));
  const facts = decodeHeader(header);
  if ('damage' in facts) return facts;
  let crc = header.readUInt32LE(36);
  let position = HEADER_BYTES;
  for (let page = 0; ; page++) {
    const start = Buffer.from(read(BLOCK_HEADER_BYTES, position));
    position += BLOCK_HEADER_BYTES;
    if (start.length < BLOCK_HEADER_BYTES) return { damage: `it ends before page ${page}` };
    const magic = start.readUInt32LE(0);
    const size = start.readUInt32LE(4);
    const isEnd = magic === END_MAGIC;
    if ((magic !== PAGE_MAGIC && !isEnd) || (!isEnd && size > MAX_PAGE_BYTES)) return { damage: `no page ${page}` };
    const rows = isEnd ? NO_ROWS : read(size, position);
    const written = start.readUInt32LE(8);
    crc = sealBlock(start, rows, crc);
    if (written !== crc) return { damage: `page ${page} does not have its checksum` };
    if (isEnd) return size === page && read(1, position).length === 0 ? facts : { damage: 'its end is not the end' };
    if (!take(rows)) return { damage: `page ${page} has no rows` };
    position += size;
  }
}

function encodeHeader(facts: IndexFacts): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(SEGMENT_FORMAT_VERSION, 8);
  header.writeUInt32LE(facts.segment, 12);
  header.writeUIntLE(facts.offset, 16, 6);
  header.writeUIntLE(facts.nextSequence, 22, 6);
  header.writeUInt32LE(facts.storeSeconds, 28);
  header.writeUInt8(facts.isClean ? 1 : 0, 32);
  header.writeUInt32LE(crc32(header.subarray(0, 36)), 36);
  return header;
}

function decodeHeader(header: Buffer): Found {
  if (header.length < HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC))
    return { damage: 'it has no header' };
  if (header.readUInt32LE(36) !== crc32(header.subarray(0, 36)))
    return { damage: 'its header does not have its checksum' };
  const version = header.readUInt32LE(8);
  if (version !== SEGMENT_FORMAT_VERSION) return { damage: `it is of version ${version}` };
  return {
    segment: header.readUInt32LE(12),
    offset: header.readUIntLE(16, 6),
    storeSeconds: header.readUInt32LE(28),
    nextSequence: header.readUIntLE(22, 6),
    isClean: header.readUInt8(32) === 1,
  };
}

const NO_ROWS = Buffer.alloc(0);

function encodeBlockHeader(magic: number, value: number): Buffer {
  const start = Buffer.alloc(BLOCK_HEADER_BYTES);
  start.writeUInt32LE(magic, 0);
  start.writeUInt32LE(value, 4);
  return start;
}

/** Puts the checksum into a block header and returns it. @param before the checksum that it goes on from. */
function sealBlock(start: Buffer, rows: Buffer, before: number): number {
  const crc = crc32(rows, crc32(start.subarray(0, 8), before));
  start.writeUInt32LE(crc, 8);
  return crc;
}
