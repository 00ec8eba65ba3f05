import type { Digest } from '../../digest/digest.ts';
import { digestOf } from '../../digest/hasher.ts';
import { isKind } from '../../errors.ts';
import type { Log } from '../../system/log.ts';
import { blobNotFound } from '../blob-lookup.ts';
import type { BucketIndex, BucketPlace } from './bucket-index.ts';
import type { ObjectStore } from './object-store.ts';
import type { RangeReader } from './range-reader.ts';

/** What reading from packs stands on. */
export interface FetchParts {
  readonly objects: Pick<ObjectStore, 'getRange'>;
  readonly index: BucketIndex;
  readonly reader: RangeReader;
  readonly log: Log;
}

/**
 * The bytes of a small blob, verified.
 * @throws blob-not-found if it turns out to be gone or damaged: from then on the index knows; unavailable; cancelled.
 */
export async function fetchBlob(
  parts: FetchParts,
  digest: Digest,
  place: BucketPlace,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { index, log } = parts;
  const { container, offset } = place;
  try {
    const bytes = await readPlace(parts, place, signal);
    if (digestOf(digest.function, bytes).hash === digest.hash) return bytes;
    log.error({ key: container.key, offset, hash: digest.hash }, 'a blob in the bucket is damaged');
  } catch (error) {
    if (!isKind(error, 'not-found') && !isKind(error, 'data-loss')) throw error;
    log.error({ err: error, key: container.key, hash: digest.hash }, 'a blob is not where the bucket should have it');
  }
  index.dropBlob(digest, container);
  throw blobNotFound(digest);
}

/**
 * The bytes at a place in a pack. A read that was joined with others may have failed because of those: it is made once more alone.
 * @throws not-found; data-loss; unavailable; cancelled.
 */
export async function readPlace(
  { reader, objects }: Pick<FetchParts, 'reader' | 'objects'>,
  { container, offset, lengthBytes }: BucketPlace,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await reader.read({ objectKey: container.key, offset, lengthBytes }, signal);
  } catch (error) {
    if (!isKind(error, 'data-loss')) throw error;
    return objects.getRange(container.key, offset, lengthBytes, signal);
  }
}
