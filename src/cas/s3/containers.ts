import type { Digest } from '../../digest/digest.ts';
import { type ContainerId, type ContainerName, containerKey, containerText } from './object-names.ts';

/** What a server knows of a condemned container. Times are monotonic milliseconds. */
export interface Condemned {
  readonly keepSinceSeconds: number;
  /** When this server learned of it: from then on nothing in it is promised for long. */
  readonly learnedMs: number;
  /** This process has written it into a pack of its own: whoever reads its next state finds it there. */
  isAnnounced: boolean;
  /** Since when every server that refreshes learns of it; undefined while that is not sure. */
  publishedMs: number | undefined;
  /** The state of this server that told of it first, as others name it in their `done`. */
  publishedState?: string;
}

/** An object under `packs/`: a pack, or one large blob. */
export interface Container {
  /** Stands for it in the rows of the index. Numbers are not used twice. */
  readonly local: number;
  readonly id: ContainerId;
  readonly key: string;
  /** Of a large blob. */
  readonly digest?: Digest;
  readonly sizeBytes: number;
  /** Seconds since 1970, by the clock of its writer (of the object store for a large blob). Only retention looks at it. */
  readonly createdSeconds: number;
  /** Bytes of it that rows refer to. */
  liveBytes: number;
  /** Rows that refer to it. */
  liveRows: number;
  condemned: Condemned | undefined;
  /** A snapshot said that it is condemned, and what is to be kept; it becomes `condemned` once the rows are there. */
  remembered: number | undefined;
  /** Its footer could not be read: nothing is known of what it holds. */
  isDamaged: boolean;
}

/**
 * All containers that are known to exist in the bucket. Nothing limits their number but the bucket: small packs are put together,
 * large blobs are above 1 MiB each.
 */
export class Containers {
  readonly #byLocal = new Map<number, Container>();
  readonly #byText = new Map<string, Container>();
  #nextLocal = 1;
  #bytes = 0;
  #maxNumber = -1;

  get count(): number {
    return this.#byLocal.size;
  }

  /** Bytes of all objects, condemned ones too. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The greatest number that was ever seen; -1 before the first. */
  get maxNumber(): number {
    return this.#maxNumber;
  }

  /** Adds one, or gives the one that is known. */
  add(name: ContainerName, sizeBytes: number, createdSeconds: number): Container {
    const text = containerText(name.id);
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const container: Container = {
      local: this.#nextLocal++,
      id: name.id,
      key: containerKey(name),
      ...(name.digest && { digest: name.digest }),
      sizeBytes,
      createdSeconds,
      liveBytes: 0,
      liveRows: 0,
      condemned: undefined,
      remembered: undefined,
      isDamaged: false,
    };
    this.#byLocal.set(container.local, container);
    this.#byText.set(text, container);
    this.#bytes += sizeBytes;
    this.#maxNumber = Math.max(this.#maxNumber, name.id.number);
    return container;
  }

  /** The container that rows call so. */
  at(local: number): Container | undefined {
    return this.#byLocal.get(local);
  }

  find(id: ContainerId): Container | undefined {
    return this.#byText.get(containerText(id));
  }

  /** Forgets one. No row refers to it any more. */
  remove(container: Container): void {
    if (!this.#byLocal.delete(container.local)) return;
    this.#byText.delete(containerText(container.id));
    this.#bytes -= container.sizeBytes;
  }

  /** All of them, in no particular order; the one visited may be removed. */
  [Symbol.iterator](): IterableIterator<Container> {
    return this.#byLocal.values();
  }
}
