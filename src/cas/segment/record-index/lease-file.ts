import { crc32 } from 'node:zlib';
import { invariant, systemCode } from '../../../errors.ts';
import { closeUnneeded } from '../../../system/file-errors.ts';
import { removeIfThere, removeUnneeded } from '../../../system/file-removal.ts';
import type { FileSystem } from '../../../system/file-system.ts';
import { SEGMENT_FORMAT_VERSION } from '../log/format.ts';

/*
 * The lease log: what was promised or used since the index was last written. Numbers are little-endian.
 *
 *     header, 16 bytes
 *        0  8  "GANTRYLS"
 *        8  4  version, 1
 *       12  4  CRC-32 of the 12 bytes before
 *
 *     block: its header of 16 bytes, then the first 8 bytes of each hash as two numbers, the first four bytes in the first one
 *        0  4  0x534c5247 ("GRLS")
 *        4  4  number of hashes, at most 65,536
 *        8  4  store seconds at which they were touched
 *       12  4  CRC-32 of the 12 bytes before and the hashes, begun with the checksum in the block (or file header) before
 *
 * Checksums that go on from each other keep what is left of a longer torn block from being read as part of the log.
 */

const MAGIC = Buffer.from('GANTRYLS');
const HEADER_BYTES = 16;
const BLOCK_MAGIC = 0x534c5247;
const BLOCK_HEADER_BYTES = 16;
const HASH_BYTES = 8;

/** Most hashes of one block. */
export const MAX_LEASES_PER_BLOCK = 65_536;

/** Writes a lease log. */
export class LeaseFile {
  readonly #files: FileSystem;
  readonly #fd: number;
  #sizeBytes = HEADER_BYTES;
  #crc: number;

  private constructor(files: FileSystem, fd: number, crc: number) {
    this.#files = files;
    this.#fd = fd;
    this.#crc = crc;
  }

  /**
   * An empty log in place of the one at `path`, by a new file and rename. Throws system errors; then the old one is still there,
   * and open descriptors of it still write to it.
   */
  static create(files: FileSystem, path: string): LeaseFile {
    const temporary = `${path}.new`;
    removeIfThere(files, temporary);
    const fd = files.open(temporary, 'create');
    try {
      const header = encodeHeader();
      files.writeAt(fd, [header], 0);
      files.rename(temporary, path);
      return new LeaseFile(files, fd, header.readUInt32LE(12));
    } catch (error) {
      closeUnneeded(files, fd);
      removeUnneeded(files, temporary);
      throw error;
    }
  }

  /**
   * Adds a block in one write. Throws system errors; then the log is what it was, and the next block overwrites what came of this
   * one.
   * @param keys words 0 and 1 of each key in turn. @param count how many pairs of them count.
   */
  append(keys: Uint32Array, count: number, storeSeconds: number): void {
    invariant(count * 2 <= keys.length && count <= MAX_LEASES_PER_BLOCK, 'a block holds the hashes it is given');
    const block = Buffer.allocUnsafe(BLOCK_HEADER_BYTES + count * HASH_BYTES);
    block.writeUInt32LE(BLOCK_MAGIC, 0);
    block.writeUInt32LE(count, 4);
    block.writeUInt32LE(storeSeconds, 8);
    for (let index = 0; index < count * 2; index++) {
      block.writeUInt32LE(keys[index] ?? 0, BLOCK_HEADER_BYTES + index * 4);
    }
    const crc = checksum(block, this.#crc);
    block.writeUInt32LE(crc, 12);
    this.#files.writeAt(this.#fd, [block], this.#sizeBytes);
    this.#sizeBytes += block.length;
    this.#crc = crc;
  }

  /** Of what was added without an error, with the header. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  close(): void {
    closeUnneeded(this.#files, this.#fd);
  }
}

/**
 * Visits what a lease log holds, in its order; nothing if there is no log. Throws system errors of reading.
 *
 * At the first block that is torn or damaged it stops and says nothing: no promise was given on a torn block, as answers go out
 * after it is written; and what is lost with a damaged one is made good at every start after an unclean stop, when all records
 * count as touched at the last snapshot.
 */
export function readLeaseFile(
  files: FileSystem,
  path: string,
  visit: (word0: number, word1: number, storeSeconds: number) => void,
): void {
  const fd = openIfThere(files, path);
  if (fd === undefined) return;
  try {
    readBlocks(files, fd, visit);
  } finally {
    closeUnneeded(files, fd);
  }
}

function readBlocks(files: FileSystem, fd: number, visit: Parameters<typeof readLeaseFile>[2]): void {
  const buffer = Buffer.allocUnsafeSlow(BLOCK_HEADER_BYTES + MAX_LEASES_PER_BLOCK * HASH_BYTES);
  const header = encodeHeader();
  const read = (sizeBytes: number, position: number): Buffer => {
    const into = buffer.subarray(0, sizeBytes);
    return into.subarray(0, files.read(fd, into, position));
  };
  if (!read(HEADER_BYTES, 0).equals(header)) return;
  let crc = header.readUInt32LE(12);
  for (let position = HEADER_BYTES; ; ) {
    const start = read(BLOCK_HEADER_BYTES, position);
    if (start.length < BLOCK_HEADER_BYTES || start.readUInt32LE(0) !== BLOCK_MAGIC) return;
    const count = start.readUInt32LE(4);
    if (count > MAX_LEASES_PER_BLOCK) return;
    const sizeBytes = BLOCK_HEADER_BYTES + count * HASH_BYTES;
    const block = read(sizeBytes, position);
    if (block.length < sizeBytes) return;
    crc = checksum(block, crc);
    if (block.readUInt32LE(12) !== crc) return;
    const storeSeconds = block.readUInt32LE(8);
    for (let at = BLOCK_HEADER_BYTES; at < sizeBytes; at += HASH_BYTES) {
      visit(block.readUInt32LE(at), block.readUInt32LE(at + 4), storeSeconds);
    }
    position += sizeBytes;
  }
}

function encodeHeader(): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(SEGMENT_FORMAT_VERSION, 8);
  header.writeUInt32LE(crc32(header.subarray(0, 12)), 12);
  return header;
}

function checksum(block: Buffer, before: number): number {
  return crc32(block.subarray(BLOCK_HEADER_BYTES), crc32(block.subarray(0, 12), before));
}

function openIfThere(files: FileSystem, path: string): number | undefined {
  try {
    return files.open(path, 'read');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
