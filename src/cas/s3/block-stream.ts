import { crc32 } from 'node:zlib';
import { invariant, ReapiError } from '../../errors.ts';

/*
 * A stream of blocks: the outer form of a snapshot of the index, in a file or in the bucket. Numbers are little-endian.
 *
 *     block: header of 12 bytes, then its payload
 *        0  1  type: 0 = start, 255 = end; those between belong to whoever writes the stream
 *        1  3  reserved, 0
 *        4  4  bytes of the payload
 *        8  4  CRC-32 of the 8 bytes before and the payload, begun with the checksum of the block before (0 for the first)
 *
 *     payload of the start, which comes first
 *        0  8  "GANTRYBS"
 *        8  4  version, 1
 *
 *     payload of the end, which comes last; nothing follows
 *        0  4  number of blocks between start and end
 *
 * As each checksum goes on from the one before, a block that is missing, repeated or of another stream shows.
 */

/** Version of the layout of a stream of blocks; what blocks hold is told by their types. */
export const BLOCK_STREAM_VERSION = 1;

/** Longest payload of a block. A reader holds one. */
export const MAX_BLOCK_BYTES = 8 * 1024 * 1024;

const START = 0;
const END = 255;
const HEADER_BYTES = 12;
const MAGIC = Buffer.from('GANTRYBS');
const START_BYTES = MAGIC.length + 4;
const END_BYTES = 4;

/** A block as it is read. */
export interface Block {
  /** From 1 to 254. */
  readonly type: number;
  readonly payload: Uint8Array;
}

/** Makes the bytes of a stream of blocks; whatever it returns is to be written, in order. */
export class BlockWriter {
  #crc = 0;
  #count = 0;
  #state: 'new' | 'open' | 'ended' = 'new';

  /** The bytes of a block. @param type from 1 to 254. @param payload at most `MAX_BLOCK_BYTES`, not copied. */
  block(type: number, payload: Uint8Array): Uint8Array[] {
    invariant(type > START && type < END, 'a block has a type from 1 to 254');
    invariant(payload.length <= MAX_BLOCK_BYTES, 'a block has a limit of bytes');
    const start = this.#begin();
    this.#count++;
    return [...start, ...this.#seal(type, payload)];
  }

  /** The bytes that end the stream, after which it takes no more. */
  end(): Uint8Array[] {
    const start = this.#begin();
    this.#state = 'ended';
    const payload = Buffer.alloc(END_BYTES);
    payload.writeUInt32LE(this.#count);
    return [...start, ...this.#seal(END, payload)];
  }

  #begin(): Uint8Array[] {
    invariant(this.#state !== 'ended', 'an ended stream of blocks goes on');
    if (this.#state === 'open') return [];
    this.#state = 'open';
    const payload = Buffer.alloc(START_BYTES);
    MAGIC.copy(payload);
    payload.writeUInt32LE(BLOCK_STREAM_VERSION, MAGIC.length);
    return this.#seal(START, payload);
  }

  #seal(type: number, payload: Uint8Array): Uint8Array[] {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(type, 0);
    header.writeUInt32LE(payload.length, 4);
    this.#crc = blockCrc(header, payload, this.#crc);
    header.writeUInt32LE(this.#crc, 8);
    return payload.length === 0 ? [header] : [header, payload];
  }
}

/**
 * Reads a stream of blocks in chunks of any size, holding one block and one chunk. Each block is verified before it is yielded;
 * but whether the stream is whole only its end shows: if this throws, what was yielded must be forgotten. A payload may be a view
 * of a chunk: it is valid until the next block is asked for, and so `chunks` may use its buffer again.
 * @param options maxBlockBytes: a longer block counts as damage, and is not read.
 * @throws data-loss for damage, a missing end, bytes after the end, another version; what `chunks` throws.
 */
export async function* readBlocks(
  chunks: AsyncIterable<Uint8Array>,
  options: { readonly maxBlockBytes: number },
): AsyncGenerator<Block, void, undefined> {
  const parser = new BlockParser(options.maxBlockBytes);
  for await (const chunk of chunks) yield* parser.push(chunk);
  parser.assertEnded();
}

class BlockParser {
  readonly #maxBlockBytes: number;
  readonly #gatherer = new Gatherer();
  /** A copy, as its chunk may be gone by then: of the block whose payload is awaited. */
  #header: Buffer | undefined;
  #state: 'new' | 'open' | 'ended' = 'new';
  #crc = 0;
  #count = 0;

  constructor(maxBlockBytes: number) {
    this.#maxBlockBytes = maxBlockBytes;
  }

  *push(chunk: Uint8Array): Generator<Block, void, undefined> {
    this.#gatherer.chunk = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    while (this.#state !== 'ended') {
      const wanted = this.#header === undefined ? HEADER_BYTES : this.#header.readUInt32LE(4);
      const bytes = this.#gatherer.take(wanted);
      if (bytes === undefined) return;
      if (this.#header === undefined) {
        this.#checkHeader(bytes);
        this.#header = Buffer.from(bytes);
      } else {
        const block = this.#takeBlock(this.#header, bytes);
        this.#header = undefined;
        if (block !== undefined) yield block;
      }
    }
    if (this.#gatherer.chunk.length > 0) throw this.#damaged('something follows its end');
  }

  assertEnded(): void {
    if (this.#state !== 'ended') throw this.#damaged(`it ends after ${this.#count} blocks, too early`);
  }

  /** Before as many bytes are gathered as it says. */
  #checkHeader(header: Buffer): void {
    const type = header.readUInt8(0);
    const payloadBytes = header.readUInt32LE(4);
    if ((type === START) !== (this.#state === 'new')) throw this.#damaged(`block ${this.#count} is of type ${type}`);
    const isFitting =
      type === START
        ? payloadBytes === START_BYTES
        : type === END
          ? payloadBytes === END_BYTES
          : payloadBytes <= this.#maxBlockBytes;
    if (!isFitting) throw this.#damaged(`block ${this.#count} has ${payloadBytes} bytes`);
  }

  /** @returns undefined for start and end. */
  #takeBlock(header: Buffer, payload: Buffer): Block | undefined {
    this.#crc = blockCrc(header, payload, this.#crc);
    if (header.readUInt32LE(8) !== this.#crc) throw this.#damaged(`block ${this.#count} does not have its checksum`);
    const type = header.readUInt8(0);
    if (type === START) this.#begin(payload);
    else if (type === END) this.#end(payload);
    else {
      this.#count++;
      return { type, payload };
    }
    return undefined;
  }

  #begin(payload: Buffer): void {
    if (!payload.subarray(0, MAGIC.length).equals(MAGIC)) throw this.#damaged('it does not begin like one');
    const version = payload.readUInt32LE(MAGIC.length);
    if (version !== BLOCK_STREAM_VERSION) throw this.#damaged(`it is of version ${version}`);
    this.#state = 'open';
  }

  #end(payload: Buffer): void {
    const count = payload.readUInt32LE(0);
    if (count !== this.#count) throw this.#damaged(`it has ${this.#count} blocks and should have ${count}`);
    this.#state = 'ended';
  }

  #damaged(what: string): ReapiError {
    return new ReapiError('data-loss', `the stream of blocks is damaged: ${what}`);
  }
}

/** Makes pieces of wanted lengths out of chunks of any. */
class Gatherer {
  /** What is left of the last chunk; the next one may be set when `take` gave nothing. */
  chunk: Buffer = Buffer.alloc(0);
  #piece: Buffer | undefined;
  #pieceBytes = 0;

  /** The next piece, or undefined if the chunk ends before; then to be asked again for as many. */
  take(lengthBytes: number): Buffer | undefined {
    if (this.#piece === undefined && this.chunk.length >= lengthBytes) return this.#cut(lengthBytes);
    this.#piece ??= Buffer.allocUnsafe(lengthBytes);
    const part = this.#cut(Math.min(lengthBytes - this.#pieceBytes, this.chunk.length));
    this.#piece.set(part, this.#pieceBytes);
    this.#pieceBytes += part.length;
    if (this.#pieceBytes < lengthBytes) return undefined;
    const piece = this.#piece;
    this.#piece = undefined;
    this.#pieceBytes = 0;
    return piece;
  }

  #cut(lengthBytes: number): Buffer {
    const part = this.chunk.subarray(0, lengthBytes);
    this.chunk = this.chunk.subarray(lengthBytes);
    return part;
  }
}

function blockCrc(header: Buffer, payload: Uint8Array, before: number): number {
  return crc32(payload, crc32(header.subarray(0, 8), before));
}
