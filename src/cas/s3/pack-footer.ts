import { ENTRY_KIND } from '../segment/log/format.ts';
import type { RowKey } from '../segment/record-index/row-key.ts';
import type { BucketIndex } from './bucket-index.ts';
import type { Container } from './containers.ts';
import type { ObjectStore } from './object-store.ts';
import { type Condemnation, decodeFooter, footerPlace, PACK_TRAILER_BYTES, tailBytes } from './pack-format.ts';
import { REMOVAL_RECORD_KIND } from './pack-record.ts';

/** The end of a pack as it was read. */
export interface PackFooter {
  readonly footer: Uint8Array;
  readonly trailer: Uint8Array;
}

/**
 * Reads what a pack says of itself; as a rule with one request.
 * @throws not-found if the object is gone; data-loss if it is no pack; precondition if a newer version wrote it; unavailable.
 */
export async function readFooter(
  objects: ObjectStore,
  { key, sizeBytes }: Pick<Container, 'key' | 'sizeBytes'>,
  signal: AbortSignal,
): Promise<PackFooter> {
  const guessBytes = tailBytes(sizeBytes);
  const tail =
    guessBytes === 0 ? new Uint8Array() : await objects.getRange(key, sizeBytes - guessBytes, guessBytes, signal);
  const trailer = tail.subarray(Math.max(0, tail.length - PACK_TRAILER_BYTES));
  const { offset, lengthBytes } = footerPlace(trailer, sizeBytes);
  const from = offset - (sizeBytes - guessBytes);
  if (from >= 0) return { footer: tail.subarray(from, from + lengthBytes), trailer };
  return { footer: await objects.getRange(key, offset, lengthBytes, signal), trailer };
}

/**
 * Enters the records of a pack into the index.
 * @param touched seconds since 1970 that count as their last use.
 * @returns whom the pack condemns.
 * @throws data-loss if the footer is damaged; then nothing has been entered.
 */
export function applyFooter(
  index: BucketIndex,
  container: Container,
  { footer, trailer }: PackFooter,
  touched: number,
): readonly Condemnation[] {
  const condemnations: Condemnation[] = [];
  decodeFooter(footer, trailer, {
    condemned: (condemnation) => condemnations.push(condemnation),
    record: (key, { kind, offset, lengthBytes, sequence, writer }) => {
      const place = { container, offset, lengthBytes };
      if (kind < ENTRY_KIND) index.putBlob(key, place, touched);
      else
        index.putEntry(
          asEntry(key),
          place,
          { version: { sequence, writer }, isRemoval: kind === REMOVAL_RECORD_KIND },
          touched,
        );
    },
  });
  return condemnations;
}

/** Values and removals of one entry are filed under one key. */
function asEntry(key: RowKey): RowKey {
  key.kind = ENTRY_KIND;
  return key;
}
