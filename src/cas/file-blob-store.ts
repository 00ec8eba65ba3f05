import { type Digest, digestPath, isEmptyBlob } from '../digest/digest.ts';
import { digestFunctionToWire } from '../digest/digest-function.ts';
import { createHasher, digestOf } from '../digest/hasher.ts';
import { invariant, isKind, ReapiError, throwIfAborted } from '../errors.ts';
import { abortable, discard, unlessAborted } from '../system/abortable.ts';
import {
  BoundedFolder,
  type BoundedFolderOptions,
  type FolderStats,
  type OpenedFile,
} from '../system/bounded-folder.ts';
import { type ByteRange, type ByteStream, collect, streamOf, WHOLE } from '../system/byte-stream.ts';
import type { EvictionBounds } from '../system/eviction.ts';
import { closeUnneeded, readError } from '../system/file-errors.ts';
import { FileReader, ownedHandle } from '../system/file-reader.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../system/file-system.ts';
import type { IndexedFile } from '../system/folder-index.ts';
import type { PendingFile } from '../system/pending-file.ts';
import { digestFromName, fileName, sizeFromName } from './blob-file-name.ts';
import { absentAmong, blobNotFound, boundsOf, sliceOf } from './blob-lookup.ts';
import type { BlobStore } from './blob-store.ts';
import type { EvictionGuard } from './segment/eviction-guard.ts';
import { RowKey } from './segment/record-index/row-key.ts';
import { verified, verifyBytes } from './verified-stream.ts';

/** Up to here a blob is read and written in one synchronous go: below about 30 µs of copying, hashing apart. */
const SMALL_BYTES = 128 * 1024;

/** Chunks of a stream are gathered up to this size before a write. */
const GATHER_BYTES = 512 * 1024;

/** Options of a file blob store: those of its folder, whose title and sizes it knows itself. */
export type FileBlobStoreOptions = Omit<BoundedFolderOptions, 'title' | 'fullAdvice' | 'sizeFromName' | 'mayEvict'> & {
  /** Holds blobs back from eviction. Default: none. */
  readonly guard?: EvictionGuard | undefined;
};

/** A blob as the store holds it. */
export interface StoredBlob {
  readonly digest: Digest;
  /** On disk, in whole blocks. */
  readonly diskBytes: number;
  /** When it was last used, on the monotonic clock; up to `touchIntervalMs` earlier than that. */
  readonly touchedMs: number;
}

/** Characters of a hash under which `digestsByHashStart` lists blobs. */
const HASH_START_LENGTH = 16;

/**
 * One file per blob, named after function, hash and size (docs/storage.md). Bytes are verified before they become visible
 * (R-CAS-09) and again when a whole blob is read (R-BS-19): small ones before the first byte, large ones before the last
 * chunk. Ranges of large blobs are read as they are.
 *
 * A damaged blob goes into quarantine and is missing from then on: before the first byte the error is `blob-not-found`, so that
 * clients upload it again, after it `data-loss`.
 */
export class FileBlobStore implements BlobStore {
  readonly #folder: BoundedFolder;
  readonly #files: FileSystem;
  /** The latest large upload of each blob that is under way, by file name; bounded by the uploads there are. */
  readonly #uploads = new Map<string, Promise<void>>();

  private constructor(folder: BoundedFolder, files: FileSystem) {
    this.#folder = folder;
    this.#files = files;
  }

  /** Opens or creates the store in a folder of its own. @throws precondition for a foreign or newer format; unavailable. */
  static async open(path: string, options: FileBlobStoreOptions): Promise<FileBlobStore> {
    const fullAdvice = 'this build needs a larger store (--max-size)';
    const { guard, ...given } = options;
    const guarded = guard === undefined ? {} : { mayEvict: mayEvictFile(guard) };
    const all = { ...given, ...guarded, title: 'blob store', fullAdvice, sizeFromName };
    return new FileBlobStore(await BoundedFolder.open(path, all), options.files ?? NODE_FILE_SYSTEM);
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    this.#begin(signal);
    return absentAmong(digests, (digest) => this.#folder.touch(fileName(digest)));
  }

  async open(digest: Digest, range: ByteRange, signal: AbortSignal): Promise<ByteStream> {
    this.#begin(signal);
    if (digest.sizeBytes <= SMALL_BYTES) return streamOf(sliceOf(this.#readSmall(digest), range));
    return this.#stream(digest, range, signal);
  }

  async getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    this.#begin(signal);
    if (digest.sizeBytes <= SMALL_BYTES) return this.#readSmall(digest);
    return collect(this.#stream(digest, WHOLE, signal), digest.sizeBytes);
  }

  async putBytes(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#begin(signal);
    if (this.#touch(digest)) return;
    verifyBytes(digest, bytes);
    await this.#putVerified(digest, bytes, signal);
  }

  async put(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    this.#begin(signal);
    if (this.#touch(digest)) {
      discard(bytes);
    } else if (digest.sizeBytes <= SMALL_BYTES) {
      const whole = await collect(verified(digest, abortable(bytes, signal)), digest.sizeBytes);
      await this.#putVerified(digest, whole, signal);
    } else {
      await this.#putLarge(digest, bytes, signal);
    }
  }

  /** Whether the blob has a file here; its age stays. */
  has(digest: Digest): boolean {
    return this.#folder.has(fileName(digest));
  }

  /** Whether the blob has a file here; it is now the most recently used one, as far as `touchIntervalMs` lets it. */
  touch(digest: Digest): boolean {
    return this.#folder.touch(fileName(digest));
  }

  /** When the blob was last used, on the monotonic clock, up to `touchIntervalMs` too early; undefined if it has no file here. */
  touchedMs(digest: Digest): number | undefined {
    return this.#folder.touchedMs(fileName(digest));
  }

  /** Restores a time of use, at start: see `BoundedFolder.touchAt`. */
  touchAt(digest: Digest, monotonicMs: number): boolean {
    return this.#folder.touchAt(fileName(digest), monotonicMs);
  }

  /**
   * All blobs, each with the first 16 characters of its hash, in no particular order: for restoring times of use that are kept
   * under these. Lazy; a blob that stays is given once, whatever happens in between.
   */
  *digestsByHashStart(): Generator<readonly [start: string, digest: Digest], void> {
    for (const { name } of this.#folder.all()) {
      const digest = digestOfFile(name);
      yield [digest.hash.slice(0, HASH_START_LENGTH), digest];
    }
  }

  /** All blobs, from the least to the most recently used. Lazy; blobs may change in between: see `UseOrder`. */
  *inOrder(): Generator<StoredBlob, void> {
    for (const file of this.#folder.inOrder()) yield this.#stored(file);
  }

  /**
   * Blobs that are within the retention time now, from the most to the least recently used. Lazy; blobs may change in between: one
   * that stays unused is given once, one that is used, or added, meanwhile is not given if it was not yet.
   */
  *heldNewestFirst(): Generator<StoredBlob, void> {
    for (const file of this.#folder.heldNewestFirst()) yield this.#stored(file);
  }

  /**
   * Reads a whole blob and compares it with its digest; its age stays, and if it is damaged its file goes into quarantine.
   * @returns what is wrong with the file that was here at the call; undefined if nothing is, or there was none.
   * @throws unavailable; cancelled.
   */
  async damageOf(digest: Digest, signal: AbortSignal): Promise<string | undefined> {
    this.#begin(signal);
    const name = fileName(digest);
    if (!this.#folder.has(name)) return undefined;
    try {
      const file = this.#folder.open(name, 'inspection');
      if (file === undefined) return 'its file has vanished';
      let readBytes = 0;
      for await (const chunk of this.#reader(digest, file, WHOLE, signal)) readBytes += chunk.length;
      invariant(readBytes === digest.sizeBytes, 'a reader gives all bytes or fails');
      return undefined;
    } catch (error) {
      if (isKind(error, 'data-loss')) return error.message;
      throw error;
    }
  }

  /** Removes the least recently used blob, if it may go: see `BoundedFolder.evictOldest`. @throws unavailable. */
  evictOldest(bounds?: EvictionBounds): StoredBlob | undefined {
    const evicted = this.#folder.evictOldest(bounds);
    if (evicted === undefined) return undefined;
    return { digest: digestOfFile(evicted.name), diskBytes: evicted.sizeBytes, touchedMs: evicted.touchedMs };
  }

  /** How many blobs the last `evictOldest` passed over because they are pinned. */
  get passedOver(): number {
    return this.#folder.passedOver;
  }

  /** When the least recently used blob was last used, on the monotonic clock; undefined if there is none. */
  oldestTouchMs(): number | undefined {
    return this.#folder.oldestTouchMs();
  }

  /** Bytes on disk of blobs within the retention time: see `BoundedFolder.bytesHeld`. */
  bytesHeld(nowMs: number): number {
    return this.#folder.bytesHeld(nowMs);
  }

  /** What the store takes on disk: files, reservations, quarantine. */
  get diskBytes(): number {
    return this.#folder.diskBytes;
  }

  /** How many blobs there are of at most `smallBytes`. */
  get smallFiles(): number {
    return this.#folder.smallFiles;
  }

  stats(): FolderStats {
    return this.#folder.stats();
  }

  /**
   * Refuses further calls, and uploads under way at their next chunk; waits until these have left and what is complete is stored;
   * keeps the order of use.
   */
  close(): Promise<void> {
    return this.#folder.close();
  }

  #begin(signal: AbortSignal): void {
    throwIfAborted(signal);
    this.#folder.throwIfClosed();
  }

  /** Whether the blob is here already, so that nothing needs to be written. @throws unavailable once the store is closed. */
  #touch(digest: Digest): boolean {
    this.#folder.throwIfClosed();
    return isEmptyBlob(digest) || this.#folder.touch(fileName(digest));
  }

  #stored({ name, sizeBytes, touchedMs }: IndexedFile): StoredBlob {
    return { digest: digestOfFile(name), diskBytes: this.#folder.blocksOf(sizeBytes), touchedMs };
  }

  /** The whole blob, verified. */
  #readSmall(digest: Digest): Uint8Array {
    if (isEmptyBlob(digest)) return new Uint8Array();
    const name = fileName(digest);
    const file = this.#folder.open(name);
    if (file === undefined) throw blobNotFound(digest);
    const { fd, generation } = file;
    const bytes = Buffer.allocUnsafe(digest.sizeBytes);
    let count: number;
    try {
      count = this.#files.read(fd, bytes, 0);
    } catch (error) {
      throw this.#damaged(digest, generation, readError(error, 'reading a stored blob'));
    } finally {
      closeUnneeded(this.#files, fd);
    }
    if (count === bytes.length && digestOf(digest.function, bytes).hash === digest.hash) return bytes;
    this.#folder.quarantine(name, generation, `${count} bytes do not have the digest ${digestPath(digest)}`);
    throw blobNotFound(digest);
  }

  #stream(digest: Digest, range: ByteRange, signal: AbortSignal): ByteStream {
    const file = this.#folder.open(fileName(digest));
    if (file === undefined) throw blobNotFound(digest);
    return this.#reader(digest, file, range, signal);
  }

  #reader(digest: Digest, { fd, generation }: OpenedFile, range: ByteRange, signal: AbortSignal): ByteStream {
    const bounds = boundsOf(range, digest.sizeBytes);
    const isWhole = bounds.startBytes === 0 && bounds.endBytes === digest.sizeBytes;
    const reading = {
      ...bounds,
      ...(isWhole && { inspect: wholeBlobCheck(digest) }),
      onDamage: (error: ReapiError) => {
        if (error.kind === 'data-loss') this.#folder.quarantine(fileName(digest), generation, error.message);
      },
    };
    return new FileReader(this.#files, ownedHandle(this.#files, fd), reading, signal);
  }

  /** An unreadable file is put aside, a busy machine's refusal is not held against it. */
  #damaged(digest: Digest, generation: number, error: ReapiError): ReapiError {
    if (error.kind !== 'data-loss') return error;
    this.#folder.quarantine(fileName(digest), generation, error.message);
    return blobNotFound(digest);
  }

  async #putVerified(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const pending = await this.#folder.begin(fileName(digest), digest.sizeBytes, signal);
    try {
      if (bytes.length <= SMALL_BYTES) pending.write(bytes);
      else await pending.writeAsync([bytes]);
      await this.#publish(pending, digest);
    } finally {
      pending.abandon();
    }
  }

  /** When room is short because the same blob is being uploaded already, that upload may be ours too (R-CAS-20). */
  async #putLarge(digest: Digest, bytes: ByteStream, signal: AbortSignal): Promise<void> {
    const name = fileName(digest);
    for (;;) {
      let pending: PendingFile;
      try {
        pending = await this.#folder.begin(name, digest.sizeBytes, signal);
      } catch (error) {
        const other = this.#uploads.get(name);
        if (other === undefined || !isKind(error, 'quota-exceeded')) throw error;
        await unlessAborted(other, signal);
        if (!this.#touch(digest)) continue;
        discard(bytes);
        return;
      }
      const upload = this.#upload(pending, digest, abortable(bytes, signal));
      const settled = upload.then(noResult, noResult);
      this.#uploads.set(name, settled);
      try {
        return await upload;
      } finally {
        if (this.#uploads.get(name) === settled) this.#uploads.delete(name);
      }
    }
  }

  async #upload(pending: PendingFile, digest: Digest, bytes: ByteStream): Promise<void> {
    try {
      let gathered: Uint8Array[] = [];
      let gatheredBytes = 0;
      for await (const chunk of verified(digest, bytes)) {
        if (this.#touch(digest)) return;
        gathered.push(chunk);
        gatheredBytes += chunk.length;
        if (gatheredBytes < GATHER_BYTES) continue;
        await pending.writeAsync(gathered);
        gathered = [];
        gatheredBytes = 0;
      }
      await pending.writeAsync(gathered);
      await this.#publish(pending, digest);
    } finally {
      pending.abandon();
    }
  }

  /** Another upload of the same blob may have been faster. */
  async #publish(pending: PendingFile, digest: Digest): Promise<void> {
    if (!this.#touch(digest)) await pending.publish();
  }
}

/** Fails at the last chunk if the chunks together are not the blob. */
function wholeBlobCheck(digest: Digest): (chunk: Uint8Array, isLast: boolean) => void {
  const hasher = createHasher(digest.function);
  return (chunk, isLast) => {
    hasher.update(chunk);
    if (!isLast || hasher.finish().hash === digest.hash) return;
    throw new ReapiError('data-loss', `the stored bytes of ${digestPath(digest)} are damaged`, { expected: digest });
  };
}

/** The names in the index were made, or accepted at start, by blob-file-name.ts. */
function digestOfFile(name: string): Digest {
  const digest = digestFromName(name);
  invariant(digest !== undefined, 'every file of a blob store is named after a digest');
  return digest;
}

function mayEvictFile(guard: EvictionGuard): (name: string) => boolean {
  const key = new RowKey();
  return (name) => {
    const digest = digestOfFile(name);
    return guard.mayEvict(key.setHex(digestFunctionToWire(digest.function), digest.hash));
  };
}

function noResult(): undefined {
  return undefined;
}
