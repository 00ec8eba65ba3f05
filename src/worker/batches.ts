/**
 * Cuts a list into runs of at most `maxItems` whose sizes add up to at most `maxBytes`, keeping the order. An item larger than that is a run
 * of its own: whoever made the item knows whether it can be sent.
 */
export function* batchesOf<T>(
  items: Iterable<T>,
  sizeOf: (item: T) => number,
  maxBytes: number,
  maxItems = Number.POSITIVE_INFINITY,
): Iterable<T[]> {
  let batch: T[] = [];
  let sizeBytes = 0;
  for (const item of items) {
    const itemBytes = sizeOf(item);
    if (batch.length > 0 && (sizeBytes + itemBytes > maxBytes || batch.length >= maxItems)) {
      yield batch;
      batch = [];
      sizeBytes = 0;
    }
    batch.push(item);
    sizeBytes += itemBytes;
  }
  if (batch.length > 0) yield batch;
}
