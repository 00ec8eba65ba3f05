import type { BlobStore } from '../../cas/blob-store.ts';
import type { Digest } from '../../digest/digest.ts';
import { isKind, throwIfAborted } from '../../errors.ts';
import type { DifferenceList } from './difference-list.ts';

/** Reads messages for a comparison; what cannot be read becomes part of its outcome. */
export class MessageReader {
  readonly #store: BlobStore;
  readonly #list: DifferenceList;
  readonly #maxMessageBytes: number;
  readonly #signal: AbortSignal;

  constructor(
    store: BlobStore,
    list: DifferenceList,
    options: { readonly maxMessageBytes: number; readonly signal: AbortSignal },
  ) {
    this.#store = store;
    this.#list = list;
    this.#maxMessageBytes = options.maxMessageBytes;
    this.#signal = options.signal;
  }

  /** The message, or undefined if it is gone, damaged, larger than the limit or something else. @throws unavailable; cancelled. */
  async read<T>(
    side: 'before' | 'after',
    what: string,
    codec: { decode(bytes: Uint8Array): T },
    digest: Digest,
  ): Promise<T | undefined> {
    throwIfAborted(this.#signal);
    const bytes = digest.sizeBytes <= this.#maxMessageBytes ? await this.#bytes(digest) : undefined;
    if (bytes !== undefined) {
      try {
        return codec.decode(bytes);
      } catch {
        // Not the message it is taken for: reported below as what cannot be read.
      }
    }
    this.#list.addUnavailable(side, what, digest);
    return undefined;
  }

  async #bytes(digest: Digest): Promise<Uint8Array | undefined> {
    try {
      return await this.#store.getBytes(digest, this.#signal);
    } catch (error) {
      if (isKind(error, 'blob-not-found') || isKind(error, 'data-loss')) return undefined;
      throw error;
    }
  }
}
