/** Bytes of one object that are wanted. */
export interface Span {
  readonly offset: number;
  readonly endOffset: number;
}

/** Spans that one request serves, and what it asks for. */
export interface Batch<S extends Span> extends Span {
  /** At least one, in order of offset. */
  readonly spans: readonly S[];
}

/** When two spans are joined. */
export interface BatchLimits {
  /** Bytes between them that are read in vain. */
  readonly maxGapBytes: number;
  /** From the first to the last byte; a single span may be longer. */
  readonly maxRequestBytes: number;
}

/**
 * The oldest span (the first of `queued`, which is not empty) and those that are joined with it, going through all of them in
 * order of offset: so nobody waits for ever, and all requests together are as few as the limits allow. O(n log n).
 */
export function oldestBatch<S extends Span>(queued: Iterable<S>, limits: BatchLimits): Batch<S> {
  const all = [...queued];
  const oldest = all[0];
  let batch: { offset: number; endOffset: number; spans: S[] } = { offset: 0, endOffset: 0, spans: [] };
  let hasOldest = false;
  for (const span of all.sort((a, b) => a.offset - b.offset || b.endOffset - a.endOffset)) {
    if (batch.spans.length > 0 && joins(batch, span, limits)) {
      batch.spans.push(span);
      batch.endOffset = Math.max(batch.endOffset, span.endOffset);
    } else if (hasOldest) {
      break;
    } else {
      batch = { offset: span.offset, endOffset: span.endOffset, spans: [span] };
    }
    hasOldest ||= span === oldest;
  }
  return batch;
}

/** Whether `outer` has all bytes of `inner`. */
export function covers(outer: Span, inner: Span): boolean {
  return inner.offset >= outer.offset && inner.endOffset <= outer.endOffset;
}

function joins(batch: Span, span: Span, limits: BatchLimits): boolean {
  if (covers(batch, span)) return true;
  if (span.offset - batch.endOffset > limits.maxGapBytes) return false;
  return Math.max(batch.endOffset, span.endOffset) - batch.offset <= limits.maxRequestBytes;
}
