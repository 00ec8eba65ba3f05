import { ReapiError } from '../../errors.ts';
import { SEGMENT_HEADER_BYTES } from './log/format.ts';
import { FILE_OVERHEAD_BYTES } from './log/segment-file.ts';

const MIB = 1024 * 1024;

/** A store has about this many segments: one of them is the reserve. */
export const SEGMENTS_PER_STORE = 64;

/** No store has smaller ones, unless it is told to. */
export const MIN_SEGMENT_BYTES = 256 * 1024;
const MAX_SEGMENT_BYTES = 128 * MIB;

/**
 * Records are no dearer than files of their own up to 4 MiB, where measuring ended (bench/README.md). But a record is gathered and
 * read as a whole: this bounds the memory of each upload and each reader.
 */
const MAX_RECORD_BLOB_BYTES = MIB;

/** Room beyond the reserve of one segment: its header, and the index growing between two looks at it. */
export const RESERVE_SLACK_BYTES = 256 * 1024;

/** Sizes that follow from the limit. */
export interface StoreSizes {
  readonly segmentBytes: number;
  /** Blobs up to this size are records of segments. */
  readonly maxRecordBlobBytes: number;
  readonly maxLeasedBytes: number;
  /** What a segment takes beside its records. */
  readonly overheadBytes: number;
}

/** What sizes follow from. */
export interface SizeOptions {
  readonly maxBytes: number;
  readonly maxLeasedShare: number;
  /** Default: by `maxBytes`. */
  readonly segmentBytes?: number;
  /** Largest blob that is a record. Default 1 MiB, or a quarter of a segment if that is less. */
  readonly maxRecordBlobBytes?: number;
}

/** @throws precondition for a limit that is too small to rotate in. */
export function sizesOf(options: SizeOptions): StoreSizes {
  const { maxBytes, maxLeasedShare } = options;
  const segmentBytes =
    options.segmentBytes ??
    Math.min(MAX_SEGMENT_BYTES, Math.max(MIN_SEGMENT_BYTES, Math.floor(maxBytes / SEGMENTS_PER_STORE)));
  if (segmentBytes * 8 > maxBytes) {
    throw new ReapiError(
      'precondition',
      `a store of ${maxBytes} bytes is too small; it needs 8 segments of ${segmentBytes} bytes`,
    );
  }
  return {
    segmentBytes,
    maxRecordBlobBytes: Math.min(options.maxRecordBlobBytes ?? MAX_RECORD_BLOB_BYTES, Math.floor(segmentBytes / 4)),
    maxLeasedBytes: Math.floor(maxBytes * maxLeasedShare),
    overheadBytes: FILE_OVERHEAD_BYTES + SEGMENT_HEADER_BYTES,
  };
}

/**
 * What is kept free for rotation: as much as one segment may take, and a little more. Segments of a run with a larger limit are
 * larger. @param largestBytes of the segments there are.
 */
export function reserveFor(largestBytes: number, sizes: StoreSizes, maxBytes: number): number {
  return Math.min(Math.max(largestBytes, sizes.segmentBytes) + RESERVE_SLACK_BYTES, maxBytes / 2);
}
