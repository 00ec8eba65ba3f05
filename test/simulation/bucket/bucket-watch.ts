import { containerKey, parseContainerKey, parseWriterKey } from '../../../src/cas/s3/object-names.ts';
import { type Condemnation, decodeFooter, footerPlace, PACK_TRAILER_BYTES } from '../../../src/cas/s3/pack-format.ts';
import { ENTRY_KIND } from '../../../src/cas/segment/log/format.ts';
import type { SimTime } from './sim-time.ts';

interface CondemnationSeen {
  readonly writer: string;
  readonly writtenMs: number;
  /** When the state of its writer was next published: who refreshes from then on learns of it. */
  publishedMs: number | undefined;
}

/** Watches what arrives in the bucket and what is deleted from it, as no server can. */
export class BucketWatch {
  readonly #time: SimTime;
  readonly #graceMs: number;
  readonly #violated: (violation: string) => void;
  /** By the part of the key that all names of a container begin with. */
  readonly #condemned = new Map<string, CondemnationSeen[]>();
  readonly #unpublished: CondemnationSeen[] = [];
  /** When a blob last arrived in a container, by its hash, and in which. */
  readonly #blobs = new Map<string, { readonly ms: number; readonly key: string }>();
  /** When the state of a writer was last published. */
  readonly #published = new Map<string, number[]>();
  deletions = 0;

  constructor(time: SimTime, graceMs: number, violated: (violation: string) => void) {
    this.#time = time;
    this.#graceMs = graceMs;
    this.#violated = violated;
  }

  /** When a blob last arrived, in world milliseconds; undefined if it never did. */
  blobLandedMs(hash: string): number | undefined {
    return this.#blobs.get(hash)?.ms;
  }

  /** When the container in which a blob arrived last was condemned first: whoever lists it then learns of it, published or not. */
  blobCondemnedMs(hash: string): number | undefined {
    const key = this.#blobs.get(hash)?.key;
    return key === undefined ? undefined : this.#condemned.get(startOf(key))?.[0]?.writtenMs;
  }

  /** When a writer first published after `sinceMs`: what it had stored by then can be known to the others. */
  publishedAfter(writer: string, sinceMs: number): number | undefined {
    return this.#published.get(writer)?.find((ms) => ms >= sinceMs);
  }

  /** Keys that are condemned, and since when that is published. */
  condemnedSince(key: string): number | undefined {
    const seen = this.#condemned.get(startOf(key))?.flatMap(({ publishedMs }) => publishedMs ?? []) ?? [];
    return seen.length === 0 ? undefined : Math.min(...seen);
  }

  /** An object was stored. */
  landed(key: string, bytes: Uint8Array): void {
    const writer = parseWriterKey(key);
    if (writer !== undefined) this.#publish(writer);
    const name = parseContainerKey(key);
    if (name === undefined) return;
    if (name.digest !== undefined) {
      this.#blobs.set(name.digest.hash, { ms: this.#time.monotonicMs(), key });
      return;
    }
    const trailer = bytes.subarray(bytes.length - PACK_TRAILER_BYTES);
    const { offset, lengthBytes } = footerPlace(trailer, bytes.length);
    decodeFooter(bytes.subarray(offset, offset + lengthBytes), trailer, {
      condemned: (condemnation) => this.#condemn(name.id.writer, condemnation),
      record: (rowKey, { kind }) => {
        if (kind < ENTRY_KIND) this.#blobs.set(rowKey.hex(), { ms: this.#time.monotonicMs(), key });
      },
    });
  }

  /** An object that was there is deleted. */
  deleted(key: string): void {
    if (parseContainerKey(key) === undefined) return;
    this.deletions++;
    const sinceMs = this.condemnedSince(key);
    if (sinceMs === undefined) this.#violated(`${key} was deleted and no published condemnation names it`);
    else if (this.#time.monotonicMs() - sinceMs < this.#graceMs) {
      this.#violated(
        `${key} was deleted ${this.#time.monotonicMs() - sinceMs} ms after its condemnation was published, ${this.#graceMs} ms must pass`,
      );
    }
  }

  #condemn(writer: string, { id }: Condemnation): void {
    const start = containerKey({ id });
    const seen = this.#condemned.get(start) ?? [];
    const condemnation = { writer, writtenMs: this.#time.monotonicMs(), publishedMs: undefined };
    seen.push(condemnation);
    this.#unpublished.push(condemnation);
    this.#condemned.set(start, seen);
  }

  #publish(writer: string): void {
    const times = this.#published.get(writer) ?? [];
    times.push(this.#time.monotonicMs());
    this.#published.set(writer, times);
    const waiting = this.#unpublished.splice(0);
    for (const condemnation of waiting) {
      if (condemnation.writer === writer) condemnation.publishedMs = this.#time.monotonicMs();
      else this.#unpublished.push(condemnation);
    }
  }
}

/** Writer, number and nonce: a large blob's key goes on after that. */
function startOf(key: string): string {
  const name = parseContainerKey(key);
  return name === undefined ? key : containerKey({ id: name.id });
}
