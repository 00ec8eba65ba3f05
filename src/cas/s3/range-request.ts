import type { ReadAheadItem } from './read-ahead.ts';
import type { Span } from './read-batch.ts';

/** A read without an answer: in a queue until its request begins. */
export interface Read extends Span {
  readonly objectKey: string;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
  request: RangeRequest | undefined;
}

/** A request under way. */
export interface RangeRequest extends Span {
  readonly objectKey: string;
  /** Moves on when something is read ahead. */
  endOffset: number;
  /** Those that wait for it, all of their bytes within it. */
  readonly reads: Set<Read>;
  ahead: readonly ReadAheadItem[];
  readonly abort: AbortController;
}

/** Lets a read wait for a request that covers it. */
export function join(request: RangeRequest, read: Read): void {
  read.request = request;
  request.reads.add(read);
}

/** Where the last byte is that somebody waits for; at least one does. */
export function endOfReads(request: RangeRequest): number {
  let endOffset = request.offset;
  for (const read of request.reads) endOffset = Math.max(endOffset, read.endOffset);
  return endOffset;
}

/** Gives everybody what is theirs of the bytes of a request. */
export function deliver(request: RangeRequest, bytes: Uint8Array): void {
  for (const read of request.reads) read.resolve(partOf(bytes, request, read));
  for (const item of request.ahead) {
    const part = partOf(bytes, request, spanOf(item));
    try {
      item.take(part);
    } catch {
      // Failing to use what nobody asked for is no failure: whoever wants it later reads it.
    }
  }
}

/** Where an item is. */
export function spanOf({ offset, lengthBytes }: ReadAheadItem): Span {
  return { offset, endOffset: offset + lengthBytes };
}

/**
 * A span out of the bytes of its request: a copy if it is less than half of them, so that nobody who keeps 300 bytes keeps 4 MiB
 * with them; a view keeps at most twice its size.
 */
function partOf(bytes: Uint8Array, request: Span, { offset, endOffset }: Span): Uint8Array {
  const view = bytes.subarray(offset - request.offset, endOffset - request.offset);
  return view.length * 2 < bytes.length ? new Uint8Array(view) : view;
}
