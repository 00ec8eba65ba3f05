import { type Authorizer, demand, type Permission } from '../auth/authorizer.ts';
import { type Digest, isEmptyBlob } from '../digest/digest.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import {
  type BlobName,
  formatUploadName,
  parseBlobName,
  parseUploadName,
  resourceKind,
  type UploadName,
} from '../digest/resource-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import type { ByteResource, WritePart, WriteStatus } from '../rpc/byte-resource.ts';
import type { Call } from '../rpc/call.ts';
import type { ByteRange, ByteStream } from '../system/byte-stream.ts';
import type { BlobStore } from './blob-store.ts';
import type { Feed, Uploads } from './uploads.ts';

/** Who may do what where, and how large a blob may be. */
export interface BlobBytesOptions {
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
  /** Largest blob that is accepted; 0 means no limit (R-CAS-13). */
  readonly maxBlobSizeBytes: number;
}

/** Blobs as ByteStream resources, uncompressed (R-BS). */
export class BlobBytes implements ByteResource {
  readonly #store: BlobStore;
  readonly #uploads: Uploads;
  readonly #options: BlobBytesOptions;

  constructor(store: BlobStore, uploads: Uploads, options: BlobBytesOptions) {
    this.#store = store;
    this.#uploads = uploads;
    this.#options = options;
  }

  claims(name: string): boolean {
    return resourceKind(name) === 'blob';
  }

  /** @throws out-of-range for an offset beyond the size (R-BS-11); blob-not-found before any data (R-BS-10). */
  async *read(name: string, range: ByteRange, call: Call): ByteStream {
    const blob = parseBlobName(name);
    await this.#admit(blob, 'cas:read', call);
    const { digest } = blob;
    if (range.offset > digest.sizeBytes) {
      const message = `offset ${range.offset} is beyond the ${digest.sizeBytes} bytes of the blob`;
      throw new ReapiError('out-of-range', message, { field: 'read_offset' });
    }
    if (isEmptyBlob(digest)) return;
    yield* await this.#store.open(digest, range, call.signal);
  }

  /**
   * Answers with the full size as soon as the blob is there, however much has come (R-BS-38); with what has come if the
   * client ends without `finish_write`, after which the upload can be resumed (R-BS-33).
   */
  async write(text: string, parts: AsyncGenerator<WritePart, void>, call: Call): Promise<number> {
    const name = parseUploadName(text);
    await this.#admit(name, 'cas:write', call);
    const { digest } = name;
    const { maxBlobSizeBytes } = this.#options;
    if (maxBlobSizeBytes > 0 && digest.sizeBytes > maxBlobSizeBytes) {
      const message = `a blob of ${digest.sizeBytes} bytes; at most ${maxBlobSizeBytes} are accepted`;
      throw new ReapiError('too-large', message, { field: 'resource_name' });
    }
    if (await this.#isPresent(digest, call.signal)) return digest.sizeBytes;
    return this.#receive(uploadKey(name), digest, { parts, signal: call.signal });
  }

  /** A blob that is there is complete under any name (R-BS-50); an unknown upload stands at 0 (R-BS-52). */
  async status(text: string, call: Call): Promise<WriteStatus> {
    const name = parseUploadName(text);
    await this.#admit(name, 'cas:write', call);
    if (await this.#isPresent(name.digest, call.signal)) {
      return { committedBytes: name.digest.sizeBytes, isComplete: true };
    }
    return { committedBytes: this.#uploads.receivedBytes(uploadKey(name)), isComplete: false };
  }

  async #receive(
    key: string,
    digest: Digest,
    from: { readonly parts: AsyncGenerator<WritePart, void>; readonly signal: AbortSignal },
  ): Promise<number> {
    const first = await from.parts.next();
    if (first.done === true) throw new ReapiError('invalid-argument', 'the call ended without a message');
    const feed = this.#uploads.open(key, digest, first.value.offset);
    try {
      const isFinished = await feedAll(feed, first.value, from);
      if (isFinished) this.#uploads.drop(key, feed.upload);
      else this.#uploads.suspend(key, feed);
      return isFinished ? digest.sizeBytes : feed.upload.receivedBytes;
    } catch (error) {
      // Only a broken connection leaves something to go on with; a wrong message makes the whole upload wrong.
      if (isKind(error, 'cancelled')) this.#uploads.suspend(key, feed);
      else if (feed.upload.isAttached(feed.feeder)) this.#uploads.drop(key, feed.upload);
      throw error;
    }
  }

  async #isPresent(digest: Digest, signal: AbortSignal): Promise<boolean> {
    return isEmptyBlob(digest) || (await this.#store.findMissing([digest], signal)).length === 0;
  }

  async #admit(blob: BlobName, permission: Permission, call: Call): Promise<void> {
    const instance = this.#options.instances.resolve(blob.instance);
    await demand(this.#options.authorizer, call.principal, permission, instance);
    if (blob.compressor === undefined) return;
    throw new ReapiError('invalid-argument', `the compressor ${blob.compressor} is not supported here`, {
      field: 'resource_name',
    });
  }
}

/** Gives all parts to the upload. True if the blob is stored; false if the client stopped before the end. */
async function feedAll(
  { upload, feeder }: Feed,
  first: WritePart,
  from: { readonly parts: AsyncGenerator<WritePart, void>; readonly signal: AbortSignal },
): Promise<boolean> {
  for (let part: WritePart | undefined = first; part !== undefined; part = await nextPart(from.parts)) {
    if (!upload.isSettled) await upload.push(feeder, part.data, from.signal);
    if (upload.isSettled) {
      await upload.outcome();
      return true;
    }
    if (!part.isLast) continue;
    // Waits for the client to end its side: a message that follows would make the upload invalid (R-BS-34).
    await nextPart(from.parts);
    await upload.finish(feeder);
    return true;
  }
  return false;
}

async function nextPart(parts: AsyncGenerator<WritePart, void>): Promise<WritePart | undefined> {
  const next = await parts.next();
  return next.done === true ? undefined : next.value;
}

/** One key for all spellings of a name; metadata is no part of it. */
function uploadKey(name: UploadName): string {
  const { instance, upload, digest } = name;
  return formatUploadName({ instance, upload, digest });
}
