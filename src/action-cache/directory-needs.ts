import { LRUCache } from 'lru-cache';
import { type Digest, digestKey, isEmptyBlob } from '../digest/digest.ts';
import { type DigestFunction, hexLength } from '../digest/digest-function.ts';

/** The blobs an output directory consists of, beside the one that names it. */
export interface DirectoryNeeds {
  /** Each once, none empty. */
  readonly digests: readonly Digest[];
  /** Directory messages that were read for them: what a later use counts against the limit on directories. */
  readonly directories: number;
}

interface Packed {
  readonly bytes: Buffer;
  readonly directories: number;
}

/** Bytes of a size in a packed list: a double holds every size exactly. */
const SIZE_BYTES = 8;

/** What an entry takes beside its list: key, objects, links. */
const OVERHEAD_BYTES = 512;

/**
 * Remembers what output directories consist of, so that the next hit on one reads and decodes nothing. Never wrong:
 * what a digest names does not change; whether its parts are still there is asked every time. The least recently used
 * goes first. Lists are packed: digests as objects take three times the memory and are work for the garbage collector.
 */
export class DirectoryNeedsCache {
  readonly #packed: LRUCache<string, Packed> | undefined;
  readonly #maxBytes: number;

  /** @param maxBytes for all lists and their bookkeeping; 0 remembers nothing. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    if (maxBytes === 0) return;
    this.#packed = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: ({ bytes }) => bytes.length + OVERHEAD_BYTES,
    });
  }

  /** What the lists take, bookkeeping included. */
  get bytes(): number {
    return this.#packed?.calculatedSize ?? 0;
  }

  /** What the directory consists of, if it is remembered. The two kinds read the same blob differently. */
  get(kind: 'tree' | 'root-directory', digest: Digest): DirectoryNeeds | undefined {
    const packed = this.#packed?.get(`${kind}/${digestKey(digest)}`);
    return packed && { digests: unpack(digest.function, packed.bytes), directories: packed.directories };
  }

  /** A list that is larger than the whole cache is not kept. */
  set(kind: 'tree' | 'root-directory', digest: Digest, needs: DirectoryNeeds): void {
    const bytes = pack(needs.digests);
    if (bytes.length + OVERHEAD_BYTES > this.#maxBytes) return;
    this.#packed?.set(`${kind}/${digestKey(digest)}`, { bytes, directories: needs.directories });
  }
}

/** The digests that have to be stored: each once, without the empty blob. */
export function distinctBlobs(digests: Iterable<Digest>): Digest[] {
  const distinct = new Map<string, Digest>();
  for (const digest of digests) if (!isEmptyBlob(digest)) distinct.set(`${digest.hash}/${digest.sizeBytes}`, digest);
  return [...distinct.values()];
}

function pack(digests: readonly Digest[]): Buffer {
  const [first] = digests;
  if (first === undefined) return Buffer.alloc(0);
  const hashBytes = first.hash.length / 2;
  const bytes = Buffer.allocUnsafeSlow(digests.length * (hashBytes + SIZE_BYTES));
  let at = 0;
  for (const { hash, sizeBytes } of digests) {
    bytes.write(hash, at, 'hex');
    bytes.writeDoubleLE(sizeBytes, at + hashBytes);
    at += hashBytes + SIZE_BYTES;
  }
  return bytes;
}

function unpack(fn: DigestFunction, bytes: Buffer): Digest[] {
  const hashBytes = hexLength(fn) / 2;
  const digests: Digest[] = [];
  for (let at = 0; at < bytes.length; at += hashBytes + SIZE_BYTES) {
    const hash = bytes.toString('hex', at, at + hashBytes);
    digests.push({ function: fn, hash, sizeBytes: bytes.readDoubleLE(at + hashBytes) });
  }
  return digests;
}
