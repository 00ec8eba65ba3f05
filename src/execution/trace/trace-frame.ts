import { promisify } from 'node:util';
import { zstdCompress, zstdDecompressSync } from 'node:zlib';
import { ReapiError } from '../../errors.ts';
import { TraceFrame, type TraceRecord, TraceRecords } from '../../gen/gantry/v1/trace.ts';

/** Records after which a frame is written. */
export const RECORDS_PER_FRAME = 512;

/** Largest frame that is read, and largest content of one: far above what 512 records take, and it bounds a damaged file. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;

const compress = promisify(zstdCompress);

/** A frame of these records, with the length that precedes it in a file. Compressed on a thread of its own. */
export async function encodeFrame(records: readonly TraceRecord[]): Promise<Buffer> {
  const packed = await compress(TraceRecords.encode({ records: [...records] }).finish());
  const frame = TraceFrame.encode({ records: packed }).finish();
  return Buffer.concat([lengthPrefix(frame.length), frame]);
}

/**
 * The records of a file, frame by frame; ends quietly in front of a frame that is cut off.
 * @returns whether the last frame was cut off.
 * @throws invalid-argument: this is no trace.
 */
export function* decodeFrames(file: Uint8Array): Generator<readonly TraceRecord[], boolean> {
  let at = 0;
  while (at < file.length) {
    const length = readLength(file, at);
    if (length === undefined || length.end + length.value > file.length) return true;
    at = length.end + length.value;
    yield recordsOf(file.subarray(length.end, at));
  }
  return false;
}

function recordsOf(frame: Uint8Array): readonly TraceRecord[] {
  try {
    const packed = TraceFrame.decode(frame).records;
    return TraceRecords.decode(zstdDecompressSync(packed, { maxOutputLength: MAX_FRAME_BYTES })).records;
  } catch (error) {
    throw new ReapiError('invalid-argument', 'the file is not a trace, or damaged', { cause: error });
  }
}

function lengthPrefix(length: number): Buffer {
  const bytes: number[] = [];
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** A varint below `MAX_FRAME_BYTES`; undefined if the file ends in it. */
function readLength(file: Uint8Array, start: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = file[start + shift / 7];
    if (byte === undefined) return undefined;
    value |= (byte & 0x7f) << shift;
    if (byte >= 0x80) continue;
    if (value > MAX_FRAME_BYTES) break;
    return { value, end: start + shift / 7 + 1 };
  }
  throw new ReapiError('invalid-argument', 'the file is not a trace: it has a frame that is too large');
}
